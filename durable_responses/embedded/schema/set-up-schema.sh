#!/bin/sh
# Creates Temporal's two databases in PostgreSQL, or brings their schema up to date. The schema files are inside the tool.
# Reads SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD; SQL_TOOL names the tool where it is not on the PATH.
set -eu

tool=${SQL_TOOL:-temporal-sql-tool}

set_up() { # database, schema
  "$tool" --database "$1" create-database --defaultdb postgres
  "$tool" --database "$1" setup-schema --version 0.0
  "$tool" --database "$1" update-schema --schema-name "postgresql/v12/$2"
}

set_up temporal temporal
set_up temporal_visibility visibility

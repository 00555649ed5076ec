"""The Temporal server, built from its Go modules, and its schema in PostgreSQL.

The server's image and this program read the same variables into the same template, which is inside the binary; so
docker-compose.yml and `make stack` are set up alike (`ENVIRONMENT`, `DYNAMIC_CONFIG`, `SCHEMA_SCRIPT`).
"""

from pathlib import Path

from durable_responses.embedded import readiness
from durable_responses.embedded.go_programs import GoProgram, last_words, output_of
from durable_responses.embedded.parts import bare_environment
from durable_responses.embedded.postgres import USER, PostgresCluster
from durable_responses.settings import SetupError

_INSTEAD = "run the images of docker-compose.yml instead"
SERVER = GoProgram(
    title="Temporal server",
    binary="temporal-server",
    version="1.32.1",  # the newest that Go 1.26.8 builds
    folder="temporal-server",
    requires="go.temporal.io/server",
    package="go.temporal.io/server/cmd/server",
    takes="about nine minutes",
    instead=_INSTEAD,
)
SQL_TOOL = GoProgram(
    title="Temporal SQL tool",
    binary="temporal-sql-tool",
    version=SERVER.version,
    folder="temporal-server",
    requires="go.temporal.io/server",
    package="go.temporal.io/server/cmd/tools/sql",
    takes="a few seconds after the server",
    instead=_INSTEAD,
)

_HERE = Path(__file__).parent
DYNAMIC_CONFIG = _HERE / "temporal-dynamic-config.yaml"
SCHEMA_SCRIPT = _HERE / "schema" / "set-up-schema.sh"
# The number of history shards is fixed by the first start.
ENVIRONMENT = {"DB": "postgres12_pgx", "NUM_HISTORY_SHARDS": "16", "LOG_LEVEL": "warn"}
# Each service listens for requests and, for the ring of services, for its peers; the frontend for HTTP too.
_LISTENERS = (
    "FRONTEND_GRPC_PORT",
    "FRONTEND_HTTP_PORT",
    "HISTORY_GRPC_PORT",
    "MATCHING_GRPC_PORT",
    "WORKER_GRPC_PORT",
    "FRONTEND_MEMBERSHIP_PORT",
    "HISTORY_MEMBERSHIP_PORT",
    "MATCHING_MEMBERSHIP_PORT",
    "WORKER_MEMBERSHIP_PORT",
)
PORTS = len(_LISTENERS)
"""How many ports the server listens on, from the frontend's on."""


def server_environment(cluster: PostgresCluster, port: int) -> dict[str, str]:
    """All of the server's environment; it listens on 127.0.0.1, from `port` on."""
    return bare_environment(
        **ENVIRONMENT,
        POSTGRES_SEEDS=readiness.HOST,
        DB_PORT=str(cluster.port),
        POSTGRES_USER=USER,
        POSTGRES_PWD=cluster.password,
        BIND_ON_IP=readiness.HOST,
        DYNAMIC_CONFIG_FILE_PATH=str(DYNAMIC_CONFIG),
        **{name: str(port + number) for number, name in enumerate(_LISTENERS)},
    )


async def set_up_schema(sql_tool: Path, cluster: PostgresCluster) -> bool:
    """Create Temporal's databases, or bring them up to date.

    False while PostgreSQL does not accept connections. Raises `SetupError`.
    """
    if not await cluster.accepts():
        return False
    code, text = await output_of(
        ["/bin/sh", str(SCHEMA_SCRIPT)],
        SQL_TOOL=str(sql_tool),
        SQL_PLUGIN=ENVIRONMENT["DB"],
        SQL_HOST=readiness.HOST,
        SQL_PORT=str(cluster.port),
        SQL_USER=USER,
        SQL_PASSWORD=cluster.password,
    )
    if code and await cluster.accepts():
        raise SetupError(f"Temporal's schema could not be set up in PostgreSQL ({last_words(text)}).")
    return code == 0

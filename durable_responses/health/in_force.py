"""The settings that are in force, and where each comes from."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic_core import to_json

from durable_responses.connection import temporal_address
from durable_responses.durations import in_one_unit
from durable_responses.health.checks import Check, note, ok
from durable_responses.mcp_tools.configuration import McpServers
from durable_responses.project_file import NAME
from durable_responses.responses_api.redaction import MASK, Secrets, masked, names_a_secret
from durable_responses.settings import (
    Origin,
    Settings,
    Source,
    configured_address,
    nearest_setting,
    opentelemetry_variables,
    origin_of,
    temporal_namespace,
    unknown_variables,
)
from durable_responses.tools.approvals import Approvals


class SettingInForce(BaseModel):
    """A setting: `value` as the environment would have it, None if it is not set; `place` is a line of the file.

    Secrets are masked.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: str | None
    source: Source
    place: str | None = None


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """Every setting of ours, Temporal's address and namespace, and what there is of OpenTelemetry's."""
    secrets = Secrets(settings.secrets())
    ours = {Settings.variable(field): _text_of(getattr(settings, field)) for field in type(settings).model_fields}
    # The file is in the settings already, and stands there for what it says.
    said = [_said(name, value, origin_of(name), secrets) for name, value in ours.items()]
    return [*said, *_of_temporal(settings, secrets), *_of_opentelemetry(secrets)]


def check_project(settings: Settings) -> Check:
    """Which folder is the project, and which file says so."""
    file = settings.project_file
    if file is None:
        return ok("project", f"{settings.project_folder}, without a {NAME}")
    return ok("project", f"{settings.project_folder}, with {file}")


def check_names() -> list[Check]:
    """Variables that look like settings and are none: probably they were meant to be."""
    return [
        note("settings", f"{name} is no setting", f"correct its name, or remove it.{nearest_setting(name)}")
        for name in unknown_variables()
    ]


def _said(name: str, value: str | None, origin: Origin, secrets: Secrets) -> SettingInForce:
    shown = None if value is None else secrets.mask(masked(value))
    return SettingInForce(name=name, value=shown, source=origin.source, place=origin.place)


def _of_temporal(settings: Settings, secrets: Secrets) -> list[SettingInForce]:
    address, namespace = origin_of("TEMPORAL_ADDRESS"), origin_of("TEMPORAL_NAMESPACE")
    theirs = Origin(Source.TEMPORAL)
    if address.source is Source.DEFAULT and configured_address():
        address = theirs
    if namespace.source is Source.DEFAULT and temporal_namespace() != "default":
        namespace = theirs
    return [
        _said("TEMPORAL_ADDRESS", temporal_address(settings), address, secrets),
        _said("TEMPORAL_NAMESPACE", temporal_namespace(), namespace, secrets),
    ]


def _of_opentelemetry(secrets: Secrets) -> list[SettingInForce]:
    return [
        _said(name, MASK if "HEADERS" in name or names_a_secret(name) else value, origin_of(name), secrets)
        for name, value in opentelemetry_variables().items()
    ]


def _text_of(value: Any) -> str | None:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, timedelta):
        return in_one_unit(value)
    if isinstance(value, Approvals):
        return None if value.allow_all else value.model_dump_json()
    if isinstance(value, McpServers):  # their names: addresses, headers and variables are nobody's business
        return ",".join(value.servers) or None
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_defaults=True) if value != type(value)() else None
    if isinstance(value, dict):
        return to_json(value).decode() if value else None
    if isinstance(value, list):
        return ",".join(map(str, value)) or None
    return None if value is None else str(value)

"""What every process does first: read the settings, set up telemetry, connect to Temporal.

The only module that reads the environment.
"""

import os
from pathlib import Path
from typing import Any

import temporalio.envconfig
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter


class SetupError(Exception):
    """Something around the program is missing or wrong. The message is one sentence for the user."""


def _xdg_folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    # The XDG rules: a relative path in one of these variables is to be ignored.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / default) / "durable-responses"


class Settings(BaseSettings):
    """Our settings, from the environment: `AGENT_` and the field's name, except where a name is given."""

    model_config = SettingsConfigDict(env_prefix="AGENT_", env_ignore_empty=True, protected_namespaces=())

    openai_api_key: SecretStr | None = Field(None, validation_alias=AliasChoices("OPENAI_API_KEY"))
    openai_base_url: str = Field("https://api.openai.com/v1", validation_alias=AliasChoices("OPENAI_BASE_URL"))

    model: str = "gpt-5.4"
    workspace: Path = Path("workspace")
    files_root: Path = Path()
    output_root: Path = Path()
    tool_modules: list[str] = []

    max_responses_in_flight: int = Field(100, ge=1)
    max_waiting: int = Field(5000, ge=1)
    max_tools: int = Field(50, ge=1)
    gets_per_second: float = Field(200, gt=0)

    temporal_cli: Path | None = Field(None, validation_alias=AliasChoices("TEMPORAL_CLI"))
    state_folder: Path = Field(default_factory=lambda: _xdg_folder("XDG_STATE_HOME", ".local/state"))
    cache_folder: Path = Field(default_factory=lambda: _xdg_folder("XDG_CACHE_HOME", ".cache"))


async def connect(**overrides: Any) -> Client:
    """A client for the server that Temporal's own configuration names (`TEMPORAL_*`, or its TOML file)."""
    config = temporalio.envconfig.ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    return await Client.connect(**{**config, "data_converter": pydantic_data_converter, **overrides})


def child_environment(**changes: str | None) -> dict[str, str]:
    """This process's environment for a child, with `changes` on top; None removes a variable."""
    environment = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    return {name: value for name, value in environment.items() if changes.get(name, value) is not None}

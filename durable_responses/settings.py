"""The settings of every program here, read from the environment and, beneath it, from the project file.

No other module reads the environment. What a project file may set, and what only in a project that somebody has
vouched for, is in `project_rules.py`.

Whatever is wrong around a program is a `SetupError`, one sentence for the user:

    SetupError
    ├── SettingsError         a variable, or the project file, says something that cannot be used
    ├── TemporalUnreachable   no Temporal server answers                        (connection.py)
    └── ProviderMissing       no key, no base URL, and no emulator is running   (provider.py)
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Collection
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies_environment

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from durable_responses import project_file, project_rules
from durable_responses.errors import DurableResponsesError
from durable_responses.json_text import read_json
from durable_responses.mcp_tools.configuration import McpServer, McpServers, without_comments
from durable_responses.nearest_name import did_you_mean
from durable_responses.pricing.rates import PriceList
from durable_responses.pricing.tenant_budgets import TenantBudgets
from durable_responses.project_file import ProjectFile, ProjectFileError
from durable_responses.responses_api.redaction import proxy_secrets, query_secrets
from durable_responses.telemetry.export import Content, Export, Protocol, SdkMetrics
from durable_responses.telemetry.log_lines import LogFormat
from durable_responses.tools.approvals import Action, Approvals

if TYPE_CHECKING:
    from temporalio.envconfig import ClientConnectConfig

OPENAI_BASE_URL = "https://api.openai.com/v1"
PROGRAM = Path(__file__).parent
"""The folder of our own code."""
NOT_OF_THE_WORKER = object()
"""Marks a setting that a worker does not read, or that makes no difference to its runs."""


class SetupError(DurableResponsesError):
    """Something around the program is missing or wrong. The message is one sentence for the user."""


class SettingsError(SetupError):
    """A variable of the environment, or the project file, says something that cannot be used."""


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _read_duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    said = "" if isinstance(value, bool) else str(value).strip().lower()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", said)
    if not match:
        raise ValueError("must be a time such as 90s, 15m, 72h or 3d")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    except OverflowError:
        raise ValueError("is longer than any time that can be waited for") from None


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _is_web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or any(map(str.isspace, url)):
        raise ValueError("must be an address such as https://host/v1")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has a port that there is not: it is a number up to 65535") from None
    # One spelling for each address: by it OpenAI is known, and what was learned of a server.
    user, at, host = parts.netloc.rpartition("@")
    host = host.lower().removesuffix(f":{port}" if port == _DEFAULT_PORTS[parts.scheme] else "")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}", path=parts.path.rstrip("/"), fragment=""))


_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _is_header(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("holds characters that an HTTP header cannot have")
    return text


def _split_names(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _read_object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        read = read_json(value) if value.strip() else {}
    except ValueError as error:
        raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(read, dict):
        raise ValueError('must be an object, such as {"service_tier": "flex"}')
    return read


def _check_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, if a run can have them. Raises ValueError."""
    if fields:
        from durable_responses.workflows.rules import parse_input  # takes a moment to load

        try:
            parse_input({"task": "any", **fields})
        except ValueError as error:
            raise ValueError(str(error).removeprefix("The input cannot be used: ").rstrip(".")) from None
    return fields


def _read_approvals(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in list(Action):
        return Approvals(default=Action(value.strip().lower()))
    return _read_table(value, Approvals, "a file of rules, allow, ask or deny")


def _read_mcp_servers(value: Any) -> Any:
    return _read_table(
        value, McpServers, "a JSON or TOML file with mcpServers", lambda text: read_json(without_comments(text))
    )


def _read_prices(value: Any) -> Any:
    return _read_table(value, PriceList, "a TOML file of prices")


def _read_budgets(value: Any) -> Any:
    return _read_table(value, TenantBudgets, "a TOML file of budgets")


Table = TypeVar("Table", bound=BaseModel)


def _read_table(value: Any, table: type[Table], wanted: str, reader: Callable[[str], Any] = read_json) -> Table:
    """A table from a file, or as it stands in the project file, or in JSON as it is handed to a child.

    `reader` reads JSON. Raises `ValueError`.
    """
    if not isinstance(value, str):
        return _usable(table, value)
    said = value.strip()
    if said.startswith(("[", "{")):
        try:
            return _usable(table, _without_twins(reader(said), said))
        except ValueError as error:
            raise ValueError(f"is not valid: {error}") from None
    import tomllib  # only here: it takes its time to load, and few have such a file

    path = Path(said).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
        is_json = path.suffix == ".json" or text.lstrip().startswith("{")
        if is_json and not text.strip():
            raise ValueError("it is empty")
        return _usable(table, _without_twins(reader(text), text) if is_json else tomllib.loads(text))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); give {wanted}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid: {error}") from None


def _without_twins(read: Any, text: str) -> Any:
    """What was read, unless a name stands twice in an object: TOML refuses that, and JSON takes the last."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise ValueError(f"{name!r} stands there twice; one of them has to go")
            found[name] = value
        return found

    json.loads(without_comments(text.lstrip("\ufeff")), object_pairs_hook=once)
    return read


def _plainly(error: Any) -> str:
    """What is wrong with a value of a table, in words for people who write files."""
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"].startswith("decimal_"):
        return "must be a number"
    if error["type"] in ("model_type", "dict_type"):
        return "must be an object"
    return str(error["msg"]).removeprefix("Value error, ")


def _usable(table: type[Table], value: Any) -> Table:
    try:
        return table.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        problem = _plainly(first)
        raise ValueError(f"{place.removeprefix('.')}: {problem}" if place else problem) from None


Duration = Annotated[timedelta, BeforeValidator(_read_duration)]
"""A time such as `90s`, `15m`, `72h` or `3d`; a bare number means seconds."""
Folder = Annotated[Path, AfterValidator(_absolute)]
"""A folder; relative ones are resolved where the program was started, in a project file from its folder."""
WebAddress = Annotated[str, AfterValidator(_is_web_address)]
HeaderText = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_is_header)]
"""The value of an HTTP header."""


def _xdg_folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    # XDG: a relative path in one of these variables is ignored.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / default) / "durable-responses"


def copied_workspace(state_folder: Path) -> Path:
    """Where the copy of the example is, for programs that find no workspace."""
    return state_folder / "workspace"


def _default_workspace(project: Path, state_folder: Path) -> Path:
    here = project / "workspace"
    return here if here.is_dir() else copied_workspace(state_folder)


def _project_folder(read: dict[str, Any]) -> Path:
    file: Path | None = read["project_file"]
    return file.parent if file else Path()


def _of_the_project(read: dict[str, Any]) -> Path:
    folder: Path = read["project_folder"]
    return folder


class Settings(BaseSettings):
    """The settings, from the environment: `AGENT_` and the field's name, unless an alias is given.

    Where the environment says nothing, `durable-responses.toml` may, under the same names. Of the fields about it,
    `project_file` is the file in force, and None if there is none.
    """

    model_config = SettingsConfigDict(
        env_prefix="AGENT_",
        env_ignore_empty=True,
        populate_by_name=True,
        protected_namespaces=(),
        validate_default=True,
        frozen=True,
        allow_inf_nan=False,
    )

    project_file: Annotated[Folder | None, NOT_OF_THE_WORKER] = Field(
        None,
        description=f"The project file, or `none`; if unset, the nearest `{project_file.NAME}` from the current folder "
        "upwards.",
    )
    project_folder: Annotated[Folder, NOT_OF_THE_WORKER] = Field(
        default_factory=_project_folder,
        description="The project's folder: where its workspace and tool modules are looked for.",
    )
    trusted_projects: Annotated[list[Folder], NoDecode, BeforeValidator(_split_names), NOT_OF_THE_WORKER] = Field(
        [],
        description="Folders, separated by commas, whose project files, and those below, may set what runs code or "
        "leads elsewhere.",
    )

    openai_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("OPENAI_API_KEY"), description="The provider's key; never logged or stored."
    )
    openai_base_url: WebAddress | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description=f"Base URL of a Responses API server. With a key alone: `{OPENAI_BASE_URL}`.",
    )
    openai_websocket_base_url: WebAddress | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_WEBSOCKET_BASE_URL"),
        description="Its WebSocket URL; derived from the base URL if unset.",
    )
    openai_org_id: HeaderText | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_ORG_ID"),
        description="The organization that pays, for keys of several: sent as `OpenAI-Organization`.",
    )
    openai_project_id: HeaderText | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_PROJECT_ID"),
        description="The project that pays, for keys of several: sent as `OpenAI-Project`.",
    )

    model: str = Field("gpt-5.4", description="The model of runs that do not name one.")
    state_folder: Annotated[Folder, NOT_OF_THE_WORKER] = Field(
        default_factory=lambda: _xdg_folder("XDG_STATE_HOME", ".local/state"),
        description="Database, logs and addresses of the embedded stack.",
    )
    cache_folder: Annotated[Folder, NOT_OF_THE_WORKER] = Field(
        default_factory=lambda: _xdg_folder("XDG_CACHE_HOME", ".cache"),
        description="Binaries that were built or downloaded.",
    )
    workspace: Folder = Field(
        default_factory=lambda read: _default_workspace(read["project_folder"], read["state_folder"]),
        description="The folder that the file tools may read and write.",
    )
    files_root: Folder = Field(
        default_factory=_of_the_project, description="Files given to a run must lie under this folder."
    )
    output_root: Folder = Field(default_factory=_of_the_project, description="Results are saved under this folder.")
    tool_modules: Annotated[list[str], NoDecode, BeforeValidator(_split_names)] = Field(
        [], description="Python modules with tools of your own, separated by commas."
    )

    allow_private_addresses: bool = Field(
        False,
        description="Whether `fetch_url` may connect to private, loopback and other special addresses.",
    )

    allow_hidden_files: bool = Field(
        False,
        description="Whether `write_file` may write, and results may be saved, under names that begin with a dot.",
    )

    allow_websocket: Annotated[bool, NOT_OF_THE_WORKER] = Field(
        False,
        description="Whether `auto` may use the WebSocket for runs with function tools that would otherwise stream.",
    )

    approvals: Annotated[Approvals, NoDecode, BeforeValidator(_read_approvals)] = Field(
        Approvals(),
        description="Which function calls wait for their run's owner, or never run: a TOML file of rules, or `ask` for "
        "all but pure tools. [Approvals](approvals.md).",
    )

    run_fields: Annotated[dict[str, Any], NoDecode, BeforeValidator(_read_object), AfterValidator(_check_fields)] = (
        Field(
            {},
            description='Fields of all runs that do not say otherwise, such as `{ service_tier = "flex" }`; in the '
            "environment in JSON. [Fields](fields.md).",
        )
    )
    run_secrets: Annotated[list[str], NoDecode, BeforeValidator(_split_names)] = Field(
        [],
        validation_alias=AliasChoices("AGENT_SECRETS"),
        description="Names of variables that runs may use as `${NAME}` in `hosted_tools` and `extra_body`, with commas "
        "between them.",
    )
    mcp_servers: Annotated[McpServers, NoDecode, BeforeValidator(_read_mcp_servers)] = Field(
        McpServers(),
        description="MCP servers whose tools runs may use: a JSON or TOML file with `mcpServers`, as other clients "
        "have it. [MCP servers](tools.md#mcp-servers).",
    )
    prices: Annotated[PriceList, NoDecode, BeforeValidator(_read_prices)] = Field(
        PriceList(),
        description="What models cost where the known prices do not hold: a TOML file with `[models]`, and `[hosts]` "
        "that bill as a known provider. [Costs](costs.md).",
    )
    budgets: Annotated[TenantBudgets, NoDecode, BeforeValidator(_read_budgets)] = Field(
        TenantBudgets(),
        description="What the runs of a tenant may cost together: a TOML file with `[tenants]`. "
        "[Budgets of tenants](costs.md#the-budgets-of-tenants).",
    )

    task_queue: str = Field(
        "agents", description="Task queue of the workflows; those of the activities are named after it."
    )
    deployment_name: str | None = Field(
        None, description="Temporal worker deployment that a worker belongs to; requires a build id."
    )
    build_id: str | None = Field(
        None, description="Version within that deployment. A new one gets no work until it is made the current one."
    )
    max_responses_in_flight: int = Field(100, ge=1, description="Responses that one worker has in flight at once.")
    max_waiting: int = Field(5000, ge=1, description="Responses that one worker waits for at once.")
    max_tools: int = Field(
        50, ge=1, description="Function calls that one worker executes at once, without those in MCP sessions of runs."
    )
    max_calls_per_response: int = Field(
        128,
        ge=1,
        le=1000,
        description="Function calls of one response that are executed; the others are refused.",
    )
    tool_output_bytes: int = Field(
        32 * 1024,
        ge=1024,
        le=256 * 1024,
        description="Bytes of a tool's answer beyond which the model is given its beginning and its end; the whole of "
        "it is kept in the workspace, under `.outputs`. [Long answers](tools.md#long-answers).",
    )
    conversation_memory: int = Field(
        256, ge=0, description="MiB of conversations that one worker remembers, where they are sent in full."
    )
    gets_per_second: float = Field(200, gt=0, description="GETs that one worker sends to the provider per second.")

    connection_age: float = Field(
        30, gt=0, description="Seconds that a connection to the provider is reused for; gateways cut older ones."
    )

    poll_first: float = Field(0.4, gt=0, description="Seconds between the first two GETs of a response.")
    poll_factor: float = Field(1.35, ge=1, description="Factor by which each further interval grows.")
    poll_cap: float = Field(2.5, gt=0, description="Longest interval, in seconds, during a response's first minute.")
    max_cached_workflows: int = Field(500, ge=0, description="Runs that a worker keeps in memory; others are replayed.")

    health_host: str = Field("127.0.0.1", description="Address of a worker's health endpoints.")
    health_port: int | None = Field(
        None, ge=0, le=65535, description="Port of a worker's health endpoints, `/livez` and `/readyz`; off if unset."
    )

    mcp_wait: Annotated[Duration, NOT_OF_THE_WORKER] = Field(
        timedelta(seconds=45), gt=timedelta(0), description="How long the MCP tool `gpt5_agent` waits for its result."
    )
    mcp_wait_without_progress: Annotated[Duration, NOT_OF_THE_WORKER] = Field(
        timedelta(seconds=15),
        gt=timedelta(0),
        description="The same for clients that ask for no progress: several give up after 20 s.",
    )
    mcp_cancel_with_request: Annotated[bool, NOT_OF_THE_WORKER] = Field(
        False, description="Whether a client that cancels its request to `gpt5_agent` cancels the run as well."
    )
    mcp_host: Annotated[str, NOT_OF_THE_WORKER] = Field("127.0.0.1", description="Address of the MCP server over HTTP.")
    mcp_port: Annotated[int, NOT_OF_THE_WORKER] = Field(
        8390, ge=0, le=65535, description="Port of the MCP server over HTTP."
    )
    mcp_token: Annotated[SecretStr | None, NOT_OF_THE_WORKER] = Field(
        None,
        description="Bearer token of the MCP server over HTTP; required unless it listens on loopback, and then 16 "
        "characters or more.",
    )

    temporal_cli: Annotated[Folder | None, NOT_OF_THE_WORKER] = Field(
        None,
        validation_alias=AliasChoices("TEMPORAL_CLI"),
        description="The `temporal` binary; found or built if unset.",
    )
    retention: Annotated[Duration, NOT_OF_THE_WORKER] = Field(
        timedelta(days=30), ge=timedelta(hours=24), description="How long the embedded Temporal keeps finished runs."
    )
    idle_stop: Annotated[Duration, NOT_OF_THE_WORKER] = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="A background stack stops after this time without runs.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_lower), NOT_OF_THE_WORKER] = Field(
        LogLevel.INFO, description="Lowest level that is logged: debug, info, warning or error."
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower), NOT_OF_THE_WORKER] = Field(
        LogFormat.TEXT, description="Format of log lines: text, or json for one object each."
    )

    @field_validator("build_id")
    @classmethod
    def _with_a_deployment(cls, build_id: str | None, read: ValidationInfo) -> str | None:
        # Half of it would be an unversioned worker, which takes the runs of every version.
        if (build_id is None) != (read.data.get("deployment_name") is None):
            raise ValueError("AGENT_DEPLOYMENT_NAME and AGENT_BUILD_ID must be set together or not at all")
        return build_id

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 not used here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 not used here
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """As pydantic-settings asks: what was given in Python, the environment, the project file."""
        given = {
            cls.variable(name) if name in cls.model_fields else name
            for name, value in init_settings().items()
            if value is not None
        }
        project = current_project(given)
        fields = {cls.variable(name): name for name in cls.model_fields}
        said = {fields[name]: value for name, value in project.values.items() if name in fields} if project else {}
        found = {"project_file": project.path if project else None}
        return (
            init_settings,
            InitSettingsSource(settings_cls, found),
            env_settings,
            InitSettingsSource(settings_cls, {name: value for name, value in said.items() if value != ""}),
        )

    @classmethod
    def load(cls) -> Self:
        """Read the environment and the project file.

        Raises `SettingsError`, which names the variable of an unusable value, and its line in the file.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(_first_problem(error)) from None

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        alias = cls.model_fields[field].validation_alias
        return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"AGENT_{field.upper()}"

    def fingerprints(self, program: Path = PROGRAM) -> dict[str, str]:
        """What a worker is started with: a hash by variable, so that differences can be named without values.

        `program` is the folder of our own code, which counts as well: an edit or an update changes it.
        """
        fields = [name for name, field in type(self).model_fields.items() if NOT_OF_THE_WORKER not in field.metadata]
        told = {self.variable(name): self._told(name) for name in fields}
        told |= {"TEMPORAL_ADDRESS": configured_address() or "", "TEMPORAL_NAMESPACE": temporal_namespace()}
        told |= {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
        told["version of this program"] = str(_last_edit(program))
        return {name: hashlib.sha256(value.encode()).hexdigest()[:16] for name, value in told.items()}

    def secrets(self) -> tuple[str, ...]:
        """The values of the settings that nobody may read, those in base URLs, and the passwords of proxies."""
        held = [value for name in type(self).model_fields if isinstance(value := getattr(self, name), SecretStr)]
        proxies = [secret for proxy in getproxies_environment().values() for secret in proxy_secrets(proxy)]
        return (
            *(value.get_secret_value().strip() for value in held),
            *proxies,
            *query_secrets(self.openai_base_url or ""),
            *query_secrets(self.openai_websocket_base_url or ""),
            *self.secrets_of_runs().values(),
            *self.secrets_of_servers(),
        )

    def secrets_of_runs(self) -> dict[str, str]:
        """The secrets that runs may use, by name: those of them that the environment has."""
        return {name: value for name in self.run_secrets if (value := os.environ.get(name))}

    def secrets_of_servers(self) -> tuple[str, ...]:
        """The secrets of the MCP servers."""
        return self.mcp_servers.secrets(os.environ)

    def resolved_server(self, server: McpServer) -> McpServer:
        """An MCP server with the variables that it refers to, in the project's folder. Raises `UnresolvedError`."""
        resolved = server.resolved(os.environ)
        if resolved.command is None:
            return resolved
        folder = self.project_folder / Path(resolved.cwd or "").expanduser()
        return resolved.model_copy(update={"cwd": str(folder)})

    def _told(self, field: str) -> str:
        value = getattr(self, field)
        if isinstance(value, McpServers):
            named = {name: os.environ.get(name) for name in sorted(value.references)}
            return f"{value.model_dump_json()} {named}"
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if field == "tool_modules":
            return repr([(name, _last_change(name, self.project_folder)) for name in self.tool_modules])
        return repr(value)


def _last_change(module: str, project: Path) -> int | None:
    # A worker in the background runs the tools as they were when it started: an edited file makes a difference.
    inside = Path(*module.split("."))
    candidates = [
        Path(base) / name
        for base in (str(project), *sys.path)
        for name in (inside.with_suffix(".py"), inside / "__init__.py")
    ]
    return next((path.stat().st_mtime_ns for path in candidates if path.is_file()), None)


def _last_edit(program: Path) -> int:
    # After an update, or an edit, the worker in the background still runs the program as it was.
    # Before Python 3.13 `rglob` does not enter links, and two of the packages are links in a checkout.
    entries = (entry.resolve() for entry in program.iterdir() if entry.name not in _OF_CLIENTS)
    files = (file for entry in entries for file in (entry.rglob("*.py") if entry.is_dir() else [entry]))
    return max(file.stat().st_mtime_ns for file in files)


_OF_CLIENTS = {"cli", "mcp_server"}


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    field = str(problem["loc"][0])
    variable = Settings.variable(field) if field in Settings.model_fields else field
    project = current_project()
    is_of_the_file = project and variable in project.values and variable not in project_file.names_given(os.environ)
    place = f"{project.place(variable)}: " if project and is_of_the_file else ""
    return f"{place}{variable} cannot be used: {_reason(problem)}"


def _reason(problem: Any) -> str:
    """What pydantic says of a value, and the nearest one that is right. The value itself may be a secret."""
    from durable_responses.workflows.rules import plainly_expected  # takes a moment to load, and most are right

    said = plainly_expected(problem) or problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if problem["type"] == "path_type":
        return "must be the path of a folder, as text."
    right = {"enum": re.findall(r"'([^']*)'", said), "bool_parsing": ["true", "false"]}.get(problem["type"], [])
    value = problem["input"]
    return f"{said}.{did_you_mean(value, right) if isinstance(value, str) else ''}"


class Source(StrEnum):
    """Where a setting comes from."""

    ENVIRONMENT = "environment"
    FILE = "file"
    """The project file."""
    TEMPORAL = "temporal"
    """Temporal's own configuration file."""
    DEFAULT = "default"


class Origin(NamedTuple):
    """Where one setting comes from; `place` is its line of the project file."""

    source: Source
    place: str | None = None


def origin_of(variable: str) -> Origin:
    """Where the value of a variable comes from. Raises `SettingsError`."""
    if variable in project_file.names_given(os.environ):
        return Origin(Source.ENVIRONMENT)
    project = current_project()
    if project is not None and project.values.get(variable, "") != "":
        return Origin(Source.FILE, project.place(variable))
    return Origin(Source.DEFAULT)


def unknown_variables() -> list[str]:
    """The variables of the environment that are called like settings of ours, and are none."""
    ours = {Settings.variable(name) for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.upper().startswith("AGENT_") and name.upper() not in ours)


def opentelemetry_variables() -> dict[str, str]:
    """What the environment has of OpenTelemetry's."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith("OTEL_") and value}


def nearest_setting(name: str) -> str:
    """` Did you mean 'AGENT_MODEL'?`; empty if no setting is called nearly so."""
    return project_rules.nearest_setting(name, _names().settings)


def is_set(variable: str) -> bool:
    """Whether a variable has a value, in the environment or in the project file."""
    return variable in project_file.names_given(_environment())


def child_environment(**changes: str | None) -> dict[str, str]:
    """This process's environment for a child, with `changes` on top; None removes a variable.

    What the project file says is in it: a child that starts later, or elsewhere, has the same settings.
    """
    environment = {**_environment(), **{name: value for name, value in changes.items() if value is not None}}
    return {name: value for name, value in environment.items() if changes.get(name, value) is not None}


def _environment() -> dict[str, str]:
    return project_file.beneath(os.environ, current_project())


# --- the project file ---------------------------------------------------------------------------------------------


def current_project(given: Collection[str] = ()) -> ProjectFile | None:
    """The project file in force, judged; `given` are variables that it does not decide, beside the environment's.

    Raises `SettingsError`, which names the line: for a file that cannot be read, for a name that is no setting, and for
    what the file of a project that nobody has vouched for may not set.
    """
    try:
        project = project_file.find(os.environ)
    except ProjectFileError as error:
        raise SettingsError(str(error)) from None
    except FileNotFoundError:
        raise SettingsError("The current folder does not exist any more: change to another one.") from None
    if project:
        _refuse(project_rules.unusable_name(project, _names()))
        _vet(project, {*given, *project_file.names_given(os.environ)})
    return project


def _names() -> project_rules.Names:
    fields = Settings.model_fields
    secrets = [Settings.variable(name) for name in fields if "SecretStr" in str(fields[name].annotation)]
    return project_rules.Names([Settings.variable(name) for name in fields], secrets)


def _vet(project: ProjectFile, given: Collection[str]) -> None:
    named = next((value for name, value in os.environ.items() if name.upper() == "AGENT_TRUSTED_PROJECTS"), "")
    _refuse(
        project_rules.unvouched(
            project, given, trusted=_split_names(named), user=os.geteuid(), usual_server=OPENAI_BASE_URL
        )
    )


def _refuse(why: str | None) -> None:
    if why is not None:
        raise SettingsError(why)


# --- other programs' settings -------------------------------------------------------------------------------------


def temporal_config() -> "ClientConnectConfig":
    """Temporal's own configuration (`TEMPORAL_*`, or its TOML file); empty if there is none."""
    # Only here: it loads much of Temporal's client, and not every program needs one.
    from temporalio.envconfig import ClientConfig

    project = current_project()
    said = (
        {name: project.values[name] for name in project_rules.OF_TEMPORAL if project.values.get(name)}
        if project
        else {}
    )
    beneath = {**said, **{name: value for name, value in os.environ.items() if value or name not in said}}
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=beneath if said else None)
    except RuntimeError as error:
        raise SettingsError(f"Temporal's configuration cannot be read: {error}.") from None
    if project and "TEMPORAL_ADDRESS" in said and config.get("api_key"):
        # The key of a profile in Temporal's own file.
        _vet(project, {"TEMPORAL_API_KEY", *project_file.names_given(os.environ)})
    return config


def configured_address() -> str | None:
    """The address in Temporal's own configuration; None if there is none, and the embedded stack is used."""
    return temporal_config().get("target_host")


def temporal_namespace() -> str:
    """The configured namespace, or Temporal's default."""
    return temporal_config().get("namespace", "default")


class OtelSettings(BaseSettings):
    """OpenTelemetry's standard variables, except those that its own exporters read.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and, for content, the GenAI semantic conventions.
    """

    model_config = SettingsConfigDict(env_prefix="OTEL_", env_ignore_empty=True, frozen=True)

    sdk_disabled: bool = False
    traces_exporter: str = "otlp"
    metrics_exporter: str = "otlp"
    exporter_otlp_endpoint: WebAddress | None = None
    exporter_otlp_traces_endpoint: WebAddress | None = None
    exporter_otlp_metrics_endpoint: WebAddress | None = None
    exporter_otlp_protocol: Protocol = Protocol.HTTP
    exporter_otlp_traces_protocol: Protocol | None = None
    exporter_otlp_metrics_protocol: Protocol | None = None
    exporter_otlp_headers: SecretStr = SecretStr("")
    exporter_otlp_metrics_headers: SecretStr | None = None
    metric_export_interval: float = Field(60_000, gt=0, description="Milliseconds.")
    instrumentation_genai_capture_message_content: Annotated[str, BeforeValidator(_lower)] = ""

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises `SettingsError`, which names the variable of an unusable value."""
        try:
            return cls()
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            variable = f"OTEL_{str(problem['loc'][0]).upper()}"
            raise SettingsError(f"{variable} cannot be used: {_reason(problem)}") from None

    def export(self) -> Export | None:
        """What is to be exported; None unless an endpoint is set."""
        traces, metrics = self._protocol_of_traces(), self._protocol_of_metrics()
        if self.sdk_disabled or (traces is None and metrics is None):
            return None
        shown = self.instrumentation_genai_capture_message_content in ("true", "span_only", "span_and_event")
        return Export(
            traces=traces,
            metrics=metrics,
            sdk_metrics=self._sdk_metrics(metrics) if metrics else None,
            content=Content.SPANS if shown else Content.NONE,
        )

    def _protocol_of_traces(self) -> Protocol | None:
        endpoint = self.exporter_otlp_traces_endpoint or self.exporter_otlp_endpoint
        wanted = endpoint is not None and self.traces_exporter != "none"
        return (self.exporter_otlp_traces_protocol or self.exporter_otlp_protocol) if wanted else None

    def _protocol_of_metrics(self) -> Protocol | None:
        endpoint = self.exporter_otlp_metrics_endpoint or self.exporter_otlp_endpoint
        wanted = endpoint is not None and self.metrics_exporter != "none"
        return (self.exporter_otlp_metrics_protocol or self.exporter_otlp_protocol) if wanted else None

    def _sdk_metrics(self, protocol: Protocol) -> SdkMetrics:
        # Over HTTP each signal has a path of its own below the common endpoint.
        below = "/v1/metrics" if protocol is Protocol.HTTP else ""
        return SdkMetrics(
            url=self.exporter_otlp_metrics_endpoint or f"{self.exporter_otlp_endpoint}{below}",
            protocol=protocol,
            headers=self.exporter_otlp_metrics_headers or self.exporter_otlp_headers,
            interval=timedelta(milliseconds=self.metric_export_interval),
        )

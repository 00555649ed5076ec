"""What every process does first: read the settings, set up telemetry, connect to Temporal.

The only module that reads the environment. Whatever is wrong around the program is a `SetupError`, one sentence for the
user:

    SetupError
    ├── SettingsError         a variable has a value that cannot be used
    ├── TemporalUnreachable   no Temporal server answers
    └── ProviderMissing       no key, no base URL, and no emulator runs
"""

import asyncio
import hashlib
import logging
import os
import re
import sys
import time
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self
from urllib.parse import urlsplit

import temporalio.envconfig
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.plugin import SimplePlugin

from durable_responses.telemetry.export import Content, Export, Protocol, SdkMetrics
from durable_responses.telemetry.log_lines import LogFormat, log_handler

OPENAI_BASE_URL = "https://api.openai.com/v1"
USUAL_TEMPORAL_ADDRESS = "localhost:7233"
# One attempt to connect. A host that drops packets would otherwise hold a command for minutes.
CONNECT_TIMEOUT = 5.0


class SetupError(Exception):
    """Something around the program is missing or wrong. The message is one sentence for the user."""


class SettingsError(SetupError):
    """A variable of the environment has a value that cannot be used."""


class TemporalUnreachable(SetupError):
    """No Temporal server answers at the address."""


class ProviderMissing(SetupError):
    """Nothing serves the Responses API: no key, no base URL, and no emulator runs."""


# --- settings ----------------------------------------------------------------------------------------------------


class LogLevel(StrEnum):
    """The least serious messages that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _read_duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip().lower())
    if not match:
        raise ValueError("must be a time such as 90s, 15m, 72h or 3d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _is_web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError("must be an address such as https://host/v1")
    return url.rstrip("/")


def _split_names(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_read_duration)]
"""A time such as `90s`, `15m`, `72h` or `3d`; a bare number means seconds."""
Folder = Annotated[Path, AfterValidator(_absolute)]
"""A folder; relative ones are resolved where the program was started."""
WebAddress = Annotated[str, AfterValidator(_is_web_address)]


def _xdg_folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    # The XDG rules: a relative path in one of these variables is to be ignored.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / default) / "durable-responses"


class Settings(BaseSettings):
    """Our settings, from the environment: `AGENT_` and the field's name, except where a name is given."""

    model_config = SettingsConfigDict(
        env_prefix="AGENT_",
        env_ignore_empty=True,
        populate_by_name=True,
        protected_namespaces=(),
        validate_default=True,
        frozen=True,
    )

    openai_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("OPENAI_API_KEY"), description="The provider's key; never logged or stored."
    )
    openai_base_url: WebAddress | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description=f"A server of the Responses API. With a key alone: `{OPENAI_BASE_URL}`.",
    )
    openai_websocket_base_url: WebAddress | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_WEBSOCKET_BASE_URL"),
        description="Its WebSocket address; derived from the base URL when not given.",
    )

    model: str = Field("gpt-5.4", description="The model of runs that name none.")
    workspace: Folder = Field(Path("workspace"), description="The folder that the file tools may read and write.")
    files_root: Folder = Field(Path(), description="Files given to a run must lie under this folder.")
    output_root: Folder = Field(Path(), description="Results are saved under this folder.")
    tool_modules: Annotated[list[str], NoDecode, BeforeValidator(_split_names)] = Field(
        [], description="Python modules with tools of your own, separated by commas."
    )

    allow_private_addresses: bool = Field(
        False, description="Whether `fetch_url` may connect to private and loopback addresses."
    )

    allow_websocket: bool = Field(
        False, description="Whether runs with function tools may use the WebSocket when nothing else is asked for."
    )

    task_queue: str = Field("agents", description="Queue of the workflows; those of the activities are named after it.")
    deployment_name: str | None = Field(
        None, description="Name of the Temporal worker deployment that a worker belongs to; with a build id."
    )
    build_id: str | None = Field(
        None, description="Version of that deployment. A new one gets no work until it is made the current one."
    )
    max_responses_in_flight: int = Field(100, ge=1, description="Responses that one worker has under way at once.")
    max_waiting: int = Field(5000, ge=1, description="Responses that one worker waits for at once.")
    max_tools: int = Field(50, ge=1, description="Function calls that one worker executes at once.")
    gets_per_second: float = Field(200, gt=0, description="GETs that one worker sends to the provider in a second.")

    connection_age: float = Field(
        30, gt=0, description="Seconds for which a connection to the provider is used; gateways cut older ones."
    )

    poll_first: float = Field(0.4, gt=0, description="Seconds between the first two GETs of a response.")
    poll_factor: float = Field(1.35, ge=1, description="By how much each further wait is longer.")
    poll_cap: float = Field(2.5, gt=0, description="The longest wait in a response's first minute.")
    max_cached_workflows: int = Field(500, ge=0, description="Runs that a worker keeps in memory; others are replayed.")

    health_host: str = Field("127.0.0.1", description="Address of a worker's health over HTTP.")
    health_port: int | None = Field(
        None, ge=0, le=65535, description="Port of a worker's health over HTTP, `/livez` and `/readyz`; off if unset."
    )

    mcp_wait: Duration = Field(
        timedelta(seconds=45), gt=timedelta(0), description="How long the MCP tool `gpt5_agent` waits for its result."
    )
    mcp_cancel_with_request: bool = Field(
        False, description="Whether a client that cancels its request to `gpt5_agent` cancels the run as well."
    )
    mcp_host: str = Field("127.0.0.1", description="Address of the MCP server over HTTP.")
    mcp_port: int = Field(8390, ge=0, le=65535, description="Port of the MCP server over HTTP.")
    mcp_token: SecretStr | None = Field(
        None, description="Bearer token of the MCP server over HTTP; required unless it listens on loopback."
    )

    temporal_cli: Folder | None = Field(
        None,
        validation_alias=AliasChoices("TEMPORAL_CLI"),
        description="The `temporal` binary; found or built if unset.",
    )
    retention: Duration = Field(
        timedelta(hours=72), ge=timedelta(hours=24), description="How long the embedded Temporal keeps finished runs."
    )
    idle_stop: Duration = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="A stack in the background ends after this time without runs.",
    )
    state_folder: Folder = Field(
        default_factory=lambda: _xdg_folder("XDG_STATE_HOME", ".local/state"),
        description="Database, logs and addresses of the embedded stack.",
    )
    cache_folder: Folder = Field(
        default_factory=lambda: _xdg_folder("XDG_CACHE_HOME", ".cache"),
        description="Binaries that were built or fetched.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(
        LogLevel.INFO, description="Least serious messages in the logs: debug, info, warning or error."
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        LogFormat.TEXT, description="How log lines look: text, or json for one object each."
    )

    @field_validator("build_id")
    @classmethod
    def _with_a_deployment(cls, build_id: str | None, read: ValidationInfo) -> str | None:
        # Half of it would be an unversioned worker, which takes the runs of every version.
        if (build_id is None) != (read.data.get("deployment_name") is None):
            raise ValueError("AGENT_DEPLOYMENT_NAME and AGENT_BUILD_ID are set together or not at all")
        return build_id

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises `SettingsError`, which names the variable, for a value that cannot be used."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(_first_problem(error)) from None

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        alias = cls.model_fields[field].validation_alias
        return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"AGENT_{field.upper()}"

    def fingerprints(self) -> dict[str, str]:
        """What a worker is started with: a hash by variable, so that differences can be named without their values."""
        fields = [name for name in type(self).model_fields if not _NOT_OF_THE_WORKER.fullmatch(name)]
        told = {self.variable(name): self._told(name) for name in fields}
        told |= {"TEMPORAL_ADDRESS": configured_address() or "", "TEMPORAL_NAMESPACE": temporal_namespace()}
        told |= {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
        told["version of this program"] = str(_last_edit())
        return {name: hashlib.sha256(value.encode()).hexdigest()[:16] for name, value in told.items()}

    def _told(self, field: str) -> str:
        value = getattr(self, field)
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if field == "tool_modules":
            return repr([(name, _last_change(name)) for name in self.tool_modules])
        return repr(value)


_NOT_OF_THE_WORKER = re.compile(
    "temporal_cli|retention|idle_stop|state_folder|cache_folder|log_level|log_format|allow_websocket|mcp_.*"
)


def _last_change(module: str) -> int | None:
    # A worker in the background runs the tools as they were when it started: an edited file makes a difference.
    inside = Path(*module.split("."))
    candidates = [
        Path(base) / name for base in ("", *sys.path) for name in (inside.with_suffix(".py"), inside / "__init__.py")
    ]
    return next((path.stat().st_mtime_ns for path in candidates if path.is_file()), None)


def _last_edit() -> int:
    # After an update, or an edit, the worker in the background still runs the program as it was.
    root = Path(__file__).parent
    # Before Python 3.13 `rglob` does not enter links, and two of the packages are links in a checkout.
    packages = ((root / name).resolve() for name in _PACKAGES)
    files = [root / "runtime.py", *(path for package in packages for path in package.rglob("*.py"))]
    return max(path.stat().st_mtime_ns for path in files)


_PACKAGES = (
    *("workflows", "activities", "tools", "responses_api", "emulator", "embedded", "telemetry", "health", "worker"),
)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    field = str(problem["loc"][0])
    variable = Settings.variable(field) if field in Settings.model_fields else field
    return f"{variable} cannot be used: {problem['msg'].removeprefix('Value error, ')}."


def child_environment(**changes: str | None) -> dict[str, str]:
    """This process's environment for a child, with `changes` on top; None removes a variable."""
    environment = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    return {name: value for name, value in environment.items() if changes.get(name, value) is not None}


# --- telemetry ---------------------------------------------------------------------------------------------------


class OtelSettings(BaseSettings):
    """OpenTelemetry's standard variables, as far as we do not leave them to its own exporters.

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
        """Read the environment. Raises `SettingsError`, which names the variable, for a value that cannot be used."""
        try:
            return cls()
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            variable = f"OTEL_{str(problem['loc'][0]).upper()}"
            raise SettingsError(f"{variable} cannot be used: {problem['msg']}.") from None

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


def setup_logs(settings: Settings) -> None:
    """Log to standard error, from `AGENT_LOG_LEVEL` on, in the form of `AGENT_LOG_FORMAT`."""
    logging.basicConfig(
        level=settings.log_level.upper(),
        handlers=[log_handler(settings.log_format)],
        force=True,
    )
    # One line for each request: thousands of waiting responses would write nothing else.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # They tell every message that they carry, and with it what users, models and tools said.
    for library in ("temporalio", "websockets"):
        logging.getLogger(library).setLevel(max(logging.getLogger().level, logging.INFO))


def setup_export(service: str) -> None:
    """Send traces and metrics where OpenTelemetry's variables say, if they do; `service` is the name of this program.

    Once in a process, and before `connect`. Raises `SettingsError`.
    """
    export = OtelSettings.load().export()
    if export is None:
        return
    from durable_responses.telemetry import providers

    try:
        providers.begin(export, service)
    except providers.ExporterMissing as error:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error}.") from None


def setup_telemetry(settings: Settings, service: str = "durable-responses") -> None:
    """Logs, traces and metrics of this process. Raises `SettingsError`."""
    setup_logs(settings)
    setup_export(service)


def end_telemetry() -> None:
    """Send what has not been sent yet; takes at most a few seconds."""
    if providers := sys.modules.get(
        "durable_responses.telemetry.providers"
    ):  # where it was not needed, nothing is to be sent
        providers.end()


def leave(code: int, last_words: str = "") -> NoReturn:
    """End the process with that exit code, after a last line on standard error. For programs that use Temporal.

    The interpreter's own shutdown waits for threads that read standard input, and Temporal's SDK can abort in it, after
    all is done and well (https://github.com/temporalio/sdk-python/issues/300).
    """
    if last_words:
        sys.stderr.write(f"{last_words}\n")
    end_telemetry()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watching() -> SimplePlugin:
    """What a client is given: spans where this process exports, else only the ids for its log lines."""
    export = OtelSettings.load().export()
    if export is not None:
        from durable_responses.telemetry import plugin, providers

        if providers.is_tracing():
            return plugin.tracing_plugin(export.content)
    from durable_responses.telemetry.activities import ActivityTelemetry

    return SimplePlugin("durable_responses.log_ids", interceptors=[ActivityTelemetry()])


# --- the embedded stack, as others see it ------------------------------------------------------------------------


class StackMode(StrEnum):
    """Whether somebody watches the stack."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"


class PartName(StrEnum):
    """The processes of the stack. PostgreSQL and a Web UI of its own are there with `make stack` only."""

    POSTGRES = "postgres"
    TEMPORAL = "temporal"
    WEB_UI = "web-ui"
    EMULATOR = "emulator"
    WORKER = "worker"


class PartStatus(StrEnum):
    """Where a part stands."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class PartState(BaseModel):
    """One process of the stack: `restarts` counts how often it had to be started again."""

    status: PartStatus = PartStatus.STARTING
    pid: int | None = None
    restarts: int = 0


class Ports(BaseModel):
    """The ports of 127.0.0.1 that the parts listen on: the usual ones, unless they are taken."""

    model_config = ConfigDict(frozen=True)

    temporal: int = 7233
    web_ui: int = 8233
    emulator: int = 8484
    postgres: int = 5432


class StackFile(BaseModel):
    """Where the embedded stack is. Its supervisor writes this; every command, of every terminal, reads it.

    `temporal_address` is the configured server's where one is configured, and then there is no `web_ui`; `emulator_url`
    is None where a provider is configured. `settings` are the worker's (`Settings.fingerprints`). `parts` by name: a
    `PartName`, and from the second of its kind on its number, as in `worker-2`.
    """

    pid: int
    mode: StackMode
    started_at: datetime
    temporal_address: str
    namespace: str
    ports: Ports
    web_ui: str | None = None
    emulator_url: str | None = None
    settings: dict[str, str] = {}
    parts: dict[str, PartState] = {}

    @property
    def is_ready(self) -> bool:
        """Whether every part serves."""
        return bool(self.parts) and all(part.status is PartStatus.RUNNING for part in self.parts.values())

    def run_url(self, workflow_id: str) -> str | None:
        """The Web UI's page of a run; None when the stack has no Web UI."""
        return f"{self.web_ui}/namespaces/{self.namespace}/workflows/{workflow_id}" if self.web_ui else None

    @staticmethod
    def path(settings: Settings) -> Path:
        """The file of a state folder."""
        return settings.state_folder / "stack.json"

    @classmethod
    def read(cls, settings: Settings) -> "StackFile | None":
        """The stack of the state folder; None when there is none. It may be a dead one's: its lock tells."""
        path = cls.path(settings)
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise SetupError(
                f"{path} was written by another version of this program: run `durable-responses down` first."
            ) from None


# --- the provider ------------------------------------------------------------------------------------------------


class ProviderKind(StrEnum):
    """Who serves the Responses API."""

    OPENAI = "openai"
    COMPATIBLE = "compatible"
    EMULATOR = "emulator"


class Provider(BaseModel):
    """The server of the Responses API: base addresses without a slash at the end, and its key if there is one."""

    model_config = ConfigDict(frozen=True)

    kind: ProviderKind
    base_url: str
    websocket_base_url: str
    api_key: SecretStr | None = None

    @property
    def sentence(self) -> str:
        """One sentence that says who answers."""
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        return {
            ProviderKind.OPENAI: "Responses come from OpenAI, because OPENAI_API_KEY is set.",
            ProviderKind.COMPATIBLE: f"Responses come from {host}, because OPENAI_BASE_URL is set.",
            ProviderKind.EMULATOR: "Responses come from the emulator (a script, no model): OPENAI_API_KEY is not set.",
        }[self.kind]


def configured_provider(settings: Settings) -> ProviderKind:
    """Who serves the Responses API by these settings: the emulator when neither key nor base URL is given."""
    if settings.openai_base_url and settings.openai_base_url != OPENAI_BASE_URL:
        return ProviderKind.COMPATIBLE
    return ProviderKind.OPENAI if settings.openai_api_key else ProviderKind.EMULATOR


def find_provider(settings: Settings) -> Provider:
    """The provider, with its addresses. Raises `ProviderMissing` when it should be an emulator and none is running."""
    kind = configured_provider(settings)
    base_url = settings.openai_base_url or OPENAI_BASE_URL
    if kind is ProviderKind.EMULATOR:
        stack = StackFile.read(settings)
        if stack is None or stack.emulator_url is None:
            raise ProviderMissing(
                "No provider: set OPENAI_API_KEY or OPENAI_BASE_URL, or start the emulator with `durable-responses up`."
            )
        base_url = stack.emulator_url
    websocket = settings.openai_websocket_base_url or re.sub("^http", "ws", base_url)
    return Provider(kind=kind, base_url=base_url, websocket_base_url=websocket, api_key=settings.openai_api_key)


# --- Temporal ----------------------------------------------------------------------------------------------------


def temporal_config() -> temporalio.envconfig.ClientConnectConfig:
    """What Temporal's own configuration says (`TEMPORAL_*`, or its TOML file); empty when there is none."""
    try:
        return temporalio.envconfig.ClientConfig.load_client_connect_config()
    except RuntimeError as error:
        raise SettingsError(f"Temporal's configuration cannot be read: {error}.") from None


def configured_address() -> str | None:
    """The address in Temporal's own configuration; None when there is none, and the embedded stack is used."""
    return temporal_config().get("target_host")


def temporal_namespace() -> str:
    """The configured namespace, or Temporal's default."""
    return temporal_config().get("namespace", "default")


def temporal_address(settings: Settings) -> str:
    """The configured address, else the embedded stack's, else Temporal's usual one."""
    if address := configured_address():
        return address
    stack = StackFile.read(settings)
    return stack.temporal_address if stack else USUAL_TEMPORAL_ADDRESS


async def connect(settings: Settings | None = None, *, patience: float = 0, **overrides: Any) -> Client:
    """A client for the configured server, else for the embedded stack's.

    A server that does not answer is tried again for `patience` seconds; the last try may take 5 s more. Then
    `TemporalUnreachable` says so. `overrides` go to `Client.connect`.
    """
    settings = settings or Settings.load()
    give_up = time.monotonic() + patience
    while True:
        address = temporal_address(settings)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                config = {
                    **temporal_config(),
                    "target_host": address,
                    "data_converter": pydantic_data_converter,
                    "plugins": [_watching()],
                }
                return await Client.connect(**{**config, **overrides})
        except (RuntimeError, TimeoutError) as error:
            if time.monotonic() >= give_up:
                raise TemporalUnreachable(_unreachable(address)) from error
        except ValueError as error:
            raise SettingsError(f"TEMPORAL_ADDRESS {address!r} cannot be used: {error}.") from None
        await asyncio.sleep(0.1)


def _unreachable(address: str) -> str:
    ours, theirs = "`durable-responses up` starts one", "start that server, or check TEMPORAL_ADDRESS"
    cure = theirs if configured_address() else ours
    return f"No Temporal server answers at {address}: {cure}; the runs on it are not lost and go on when it is back."

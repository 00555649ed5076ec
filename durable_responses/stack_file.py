"""The file in which the embedded stack's supervisor says where everything is."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from durable_responses.settings import Settings, SetupError


class StackMode(StrEnum):
    """Whether somebody watches the stack, and what it is for."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"
    READING = "reading"
    """In the background, without a worker: enough to look at runs."""
    PROJECT = "project"
    """In the background, the worker of a project beside those that the stack has already."""


class PartName(StrEnum):
    """The processes of the stack. PostgreSQL is there with `make stack` only."""

    POSTGRES = "postgres"
    TEMPORAL = "temporal"
    WEB_UI = "web-ui"
    EMULATOR = "emulator"
    WORKER = "worker"


class PartStatus(StrEnum):
    """The state of a part."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class PartState(BaseModel):
    """One process of the stack: `restarts` counts how often it was restarted."""

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
    is None where a provider is configured. `settings` are the worker's (`Settings.fingerprints`), which serves the
    `project`, with this `workspace` and this `task_queue`. `parts` by name: a `PartName`, and from the second of its
    kind on its number, as in `worker-2`. One that is `ending` may still answer, and is of no use to anybody any more.
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
    project: str | None = None
    workspace: Path | None = None
    task_queue: str | None = None
    parts: dict[str, PartState] = {}
    ending: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether every part is up."""
        return (
            bool(self.parts)
            and not self.ending
            and all(part.status is PartStatus.RUNNING for part in self.parts.values())
        )

    @property
    def can_be_read(self) -> bool:
        """Whether Temporal answers."""
        temporal = self.parts.get(PartName.TEMPORAL)
        return bool(self.parts) and not self.ending and (temporal is None or temporal.status is PartStatus.RUNNING)

    @property
    def emulator_serves(self) -> bool:
        """Whether there is an emulator, and it is up."""
        emulator = self.parts.get(PartName.EMULATOR)
        return emulator is not None and emulator.status is PartStatus.RUNNING

    def run_url(self, workflow_id: str) -> str | None:
        """The Web UI's page of a run; None when the stack has no Web UI."""
        page = f"namespaces/{self.namespace}/workflows/{quote(workflow_id, safe='')}"
        return f"{self.web_ui}/{page}" if self.web_ui else None

    @staticmethod
    def path(settings: Settings) -> Path:
        """The file of a state folder."""
        return settings.state_folder / "stack.json"

    @classmethod
    def read(cls, settings: Settings) -> "StackFile | None":
        """The stack of the state folder; None if there is none. It may be a dead one's: its lock tells."""
        return cls.read_from(cls.path(settings))

    @classmethod
    def read_from(cls, path: Path) -> "StackFile | None":
        """The stack that a file describes; None if there is no file. Raises `SetupError` for one that is not ours."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise SetupError(
                f"{path} was written by another version of this program: run `durable-responses down` first."
            ) from None

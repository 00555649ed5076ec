"""The state file: everything that happened, one line of JSON each, written before the client is told.

The state of the emulator is what you get by replaying it. Lines go to the kernel at once, so SIGKILL loses nothing
(a power cut may); a line that was cut off in the middle was never confirmed to anyone and is dropped.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, field_serializer, model_validator

from durable_responses.emulator.faults import Fault
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script
from durable_responses.emulator.objects.request_bodies import CompactBody, CreateBody
from durable_responses.emulator.state.billing import Rejection
from durable_responses.emulator.state.lifecycle import Stop, Transport


class Created(BaseModel):
    """A response was accepted."""

    entry: Literal["created"] = "created"
    id: str
    at: float
    request: CreateBody
    script: Script
    transport: Transport = Transport.HTTP
    generate: bool = True
    context_window: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, given: Any) -> Any:
        """Files of version 0.1 call the script `turn`."""
        return {"script": given["turn"], **given} if isinstance(given, dict) and "turn" in given else given

    @field_serializer("request")
    def _as_sent(self, request: CreateBody) -> dict[str, Any]:
        return request.model_dump(mode="json", by_alias=True, exclude_none=True)


class Compacted(BaseModel):
    """A conversation was compacted by `POST /responses/compact`."""

    entry: Literal["compacted"] = "compacted"
    id: str
    at: float
    request: CompactBody

    @field_serializer("request")
    def _as_sent(self, request: CompactBody) -> dict[str, Any]:
        return request.model_dump(mode="json", by_alias=True, exclude_none=True)


class Rejected(BaseModel):
    """A create was refused."""

    entry: Literal["rejected"] = "rejected"
    rejection: Rejection


class Stopped(BaseModel):
    """A response was ended before its time."""

    entry: Literal["stopped"] = "stopped"
    id: str
    at: float
    how: Stop


class Finished(BaseModel):
    """The client of a WebSocket was told that a response has ended: a kill of the emulator no longer ends it."""

    entry: Literal["finished"] = "finished"
    id: str
    at: float


class Deleted(BaseModel):
    """A response was deleted."""

    entry: Literal["deleted"] = "deleted"
    id: str


class Read(BaseModel):
    """How often responses have been read, in all."""

    entry: Literal["read"] = "read"
    gets: dict[str, int]


class ScenarioRegistered(BaseModel):
    """A scenario was registered."""

    entry: Literal["scenario"] = "scenario"
    scenario: Scenario


class FaultQueued(BaseModel):
    """A fault was queued."""

    entry: Literal["fault"] = "fault"
    fault: Fault


class FaultUsed(BaseModel):
    """A request has met a fault."""

    entry: Literal["fault_used"] = "fault_used"
    fault_id: str


class FaultsCleared(BaseModel):
    """All queued faults were removed."""

    entry: Literal["faults_cleared"] = "faults_cleared"


class ContainerUsed(BaseModel):
    """A client has looked into a container."""

    entry: Literal["container_used"] = "container_used"
    id: str
    at: float


class ContextWindowSet(BaseModel):
    """The models whose names match a pattern have room for so many tokens, None for any number."""

    entry: Literal["context_window"] = "context_window"
    model: str
    tokens: int | None


class ClockAdvanced(BaseModel):
    """The clock was pushed forward."""

    entry: Literal["clock"] = "clock"
    seconds: float


Entry = Annotated[
    Created
    | Compacted
    | Rejected
    | Stopped
    | Finished
    | Deleted
    | Read
    | ScenarioRegistered
    | FaultQueued
    | FaultUsed
    | FaultsCleared
    | ContainerUsed
    | ContextWindowSet
    | ClockAdvanced,
    Field(discriminator="entry"),
]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


class Journal:
    """The open state file. Raises: RuntimeError when another emulator has it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise RuntimeError(f"The state file {path} is in use by another emulator: stop that one first.") from error

    def replay(self) -> Iterator[Entry]:
        """Every entry so far, oldest first; cuts off an unfinished last line."""
        complete = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                yield self._read(line, number)
                complete += len(line)
        self._file.truncate(complete)

    def _read(self, line: bytes, number: int) -> Entry:
        try:
            return _ENTRY.validate_json(line)
        except ValueError as error:
            raise RuntimeError(f"The state file {self.path} cannot be read at line {number}: {error}") from error

    def append(self, entry: Entry) -> None:
        """Write one entry."""
        # One write, so that no other line can come between; unbuffered, so that it is the kernel's when this returns.
        line = entry.model_dump_json().encode() + b"\n"
        written = os.write(self._file.fileno(), line)
        while written < len(line):
            written += os.write(self._file.fileno(), line[written:])

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)

    def close(self) -> None:
        """Close the file; another emulator may open it."""
        self._file.close()

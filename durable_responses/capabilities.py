"""What a server of the Responses API can do, by its base URL: learned from its answers, and kept for an hour.

The workers and commands of one state folder share it through a small file. Where that cannot be written, each process
learns for itself.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

logger = logging.getLogger(__name__)

KEPT_FOR = 3600.0  # seconds
FILE_NAME = "capabilities.json"
LOOKED_AGAIN_AFTER = 1.0
"""Seconds after which the file is looked at again: a run asks for what it holds several times a turn."""
_CONFIRMED_AFTER = 600.0  # seconds; what was learned anew before that is not written again
_MOST_SERVERS = 100
_WHY_CHARACTERS = 300


class Capability(StrEnum):
    """A part of the API that not every server has.

    `chain`: it continues from `previous_response_id`. `reasoning`: it takes the field of that name.
    """

    BACKGROUND = "background"
    RETRIEVE = "retrieve"
    CANCEL = "cancel"
    CHAIN = "chain"
    STREAM = "stream"
    WEBSOCKET = "websocket"
    REASONING = "reasoning"


# Of OpenAI itself nothing of this need be learned: a failure there is a failure.
_OPENAI = "https://api.openai.com/v1"
_OF_OPENAI = (Capability.BACKGROUND, Capability.RETRIEVE, Capability.CANCEL, Capability.STREAM)


class Finding(BaseModel):
    """Whether a server can do something, since when that is known (seconds since the epoch), and what told us so."""

    model_config = ConfigDict(frozen=True)

    can: bool
    at: float
    why: str | None = None


class _Findings(RootModel[dict[str, dict[str, Finding]]]):
    """The file: by base URL, by capability. Newer versions may know more of these."""


class Capabilities:
    """What one server can do. `folder` holds the file; without one, only this process knows. `now`: as `time.time`."""

    def __init__(self, base_url: str = "", folder: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self.server = server_of(base_url)
        self._path = folder / FILE_NAME if folder else None
        self._now = now
        self._own: dict[str, Finding] = {}
        self._read: _Findings = _Findings({})
        self._read_of: tuple[int, int] | None = None
        self._looked_at = 0.0

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI itself."""
        return self.server == _OPENAI

    def can(self, capability: Capability) -> bool | None:
        """Whether the server can do this; None where it is not known, or no longer."""
        self._reread_sometimes()
        finding = self._found(capability)
        if finding is None:
            return True if capability in _OF_OPENAI and self.is_openai else None
        return finding.can

    def table(self) -> Mapping[Capability, Finding]:
        """All that is known now."""
        self._reread()
        found = {capability: self._found(capability) for capability in Capability}
        return {capability: finding for capability, finding in found.items() if finding is not None}

    def _found(self, capability: Capability) -> Finding | None:
        known = [each[capability] for each in (self._read.root.get(self.server, {}), self._own) if capability in each]
        newest = max(known, key=lambda finding: finding.at, default=None)
        is_valid = newest is not None and self._now() - KEPT_FOR < newest.at <= self._now() + KEPT_FOR
        return newest if is_valid else None

    def learned(self, capability: Capability, can: bool, why: str | None = None) -> None:
        """The server has shown that it can do this, or that it cannot."""
        self._reread_sometimes()
        known = self._found(capability)
        if known is not None and known.can == can and abs(self._now() - known.at) < _CONFIRMED_AFTER:
            return
        if known is None or known.can != can:
            logger.info("%s %s %s. %s", self.server, "has" if can else "does not have", capability, why or "")
        finding = Finding(can=can, at=self._now(), why=why and why[:_WHY_CHARACTERS])
        self._own[capability] = finding
        if self._path is None:
            return
        try:
            self._write(self._path, capability, finding)
        except OSError as error:
            logger.warning("%s cannot be written, so only this process knows: %s", self._path, error)

    def _write(self, path: Path, capability: Capability, finding: Finding) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            self._reread()
            servers = {**self._read.root, self.server: {**self._read.root.get(self.server, {}), capability: finding}}
            newest = sorted(servers, key=lambda server: max(one.at for one in servers[server].values()))[
                -_MOST_SERVERS:
            ]
            kept = _Findings({server: servers[server] for server in newest})
            written = path.with_suffix(f".{os.getpid()}.new")
            written.write_text(kept.model_dump_json(indent=1), encoding="utf-8")
            written.replace(path)  # readers see the old file or the new one

    def _reread_sometimes(self) -> None:
        if abs(self._now() - self._looked_at) >= LOOKED_AGAIN_AFTER:
            self._reread()

    def _reread(self) -> None:
        """Read the file if another process has replaced it. One that cannot be read counts as empty."""
        if self._path is None:
            return
        self._looked_at = self._now()
        try:
            state = self._path.stat()
            if (state.st_ino, state.st_mtime_ns) == self._read_of:
                return
            self._read_of = (state.st_ino, state.st_mtime_ns)
            servers = _Findings.model_validate_json(self._path.read_bytes()).root
            self._read = _Findings({server: known for server, known in servers.items() if known})
        except (OSError, ValidationError):
            self._read = _Findings({})


def server_of(base_url: str) -> str:
    """The base URL without what may be secret in it, and without a slash at the end."""
    parts = urlsplit(base_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

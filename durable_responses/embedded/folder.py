"""The state folder: where the stack keeps its locks, database, logs and addresses.

A project whose worker runs beside the stack's has such a folder of its own below it.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from durable_responses.embedded.locks import LockFile
from durable_responses.projects import Project, projects_folder
from durable_responses.settings import Settings, SetupError
from durable_responses.stack_file import PartName, StackFile

LOG_LIMIT = 10_000_000
"""Bytes."""


class StateFolder:
    """The files of one state folder, or of one project in it. Two stacks never share one: `stack_lock` prevents it."""

    def __init__(self, settings: Settings, project: Project | None = None) -> None:
        self.path = settings.state_folder if project is None else projects_folder(settings) / project.name
        self.stack_lock = LockFile(self.path / "stack.lock")
        self.database = self.path / "temporal.db"
        self.emulator_state = self.path / "emulator.json"
        self.last_use = self.path / "last-use"
        self.stack_file = self.path / "stack.json"
        self.emulator_wanted = self.path / "emulator-wanted"

    def make(self) -> None:
        """Create the folder, readable by the user only, unless it exists. Raises `SetupError` if it cannot."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # An existing folder keeps its mode: it may have other uses, as /tmp does.
            self.path.mkdir(mode=0o700, exist_ok=True)
            (self.path / "logs").mkdir(mode=0o700, exist_ok=True)
            self.last_use.touch()
        except OSError as error:
            raise SetupError(
                f"The state folder {self.path} cannot be used ({error.strerror}): set AGENT_STATE_FOLDER."
            ) from None

    @classmethod
    def of_projects(cls, settings: Settings) -> "list[StateFolder]":
        """Those of all projects whose worker ever ran beside the stack's."""
        locks = sorted(projects_folder(settings).glob("*/stack.lock"))
        return [cls(settings, Project(lock.parent.name, Path(), Path())) for lock in locks]

    @property
    def running(self) -> StackFile | None:
        """The stack that runs on it, ready or not; None if there is none."""
        holder = self.stack_lock.holder
        stack = StackFile.read_from(self.stack_file) if holder else None
        # A supervisor that has just started finds, and soon replaces, the file of one that was killed.
        return stack if stack and stack.pid == holder else None

    def part_lock(self, name: str) -> LockFile:
        """The lock that a part's own process holds for as long as it lives."""
        return LockFile(self.path / f"{name}.lock")

    def part_locks(self, kind: PartName) -> list[LockFile]:
        """The locks of all parts of a kind that were ever started here."""
        paths = [self.path / f"{kind}.lock", *self.path.glob(f"{kind}-[0-9]*.lock")]
        return [LockFile(path) for path in paths if path.exists()]

    def log(self, name: str) -> Path:
        """The file for the output of a part, or of the supervisor (`stack`)."""
        return self.path / "logs" / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """The log, opened for appending."""
        return open(self.log(name), "ab", opener=_private)

    def rotate_logs(self) -> None:
        """Rotate every log that is longer than `LOG_LIMIT`, keeping the last bytes in two older files of that size.

        The parts keep their descriptors, so the file is copied and emptied, not replaced; what a part writes at that
        very moment may be lost.
        """
        for path in (self.path / "logs").glob("*.log"):
            # It may be gone, or the disk full; neither may stop the stack.
            with suppress(OSError):
                if path.stat().st_size > LOG_LIMIT:
                    _rotate(path)

    def last_words(self, name: str) -> str:
        """The last line of a log."""
        path = self.log(name)
        lines = path.read_text(errors="replace")[-4000:].split("\n") if path.exists() else []
        return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "it printed nothing")


def running_projects(settings: Settings) -> dict[str, StackFile]:
    """The projects that have a worker now, by name, each with the file that tells of it."""
    folders = [StateFolder(settings), *StateFolder.of_projects(settings)]
    files = [file for folder in folders if (file := folder.running) is not None]
    return {file.project: file for file in files if file.project is not None}


def _rotate(path: Path) -> None:
    newer, older = path.with_suffix(".log.1"), path.with_suffix(".log.2")
    try:
        if newer.exists():
            newer.replace(older)
        with path.open("rb") as log, open(newer, "wb", opener=_private) as copy:
            log.seek(-LOG_LIMIT, os.SEEK_END)
            shutil.copyfileobj(log, copy)
    finally:
        # Also when the disk is full: this log may be the reason.
        os.truncate(path, 0)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

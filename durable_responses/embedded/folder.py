"""The state folder: where the stack keeps its locks, database, logs and addresses."""

from pathlib import Path
from typing import BinaryIO

from durable_responses.embedded.locks import LockFile
from durable_responses.settings import Settings, SetupError
from durable_responses.stack_file import PartName

_LOG_LIMIT = 10_000_000


class StateFolder:
    """The files of one state folder. Two stacks never share one: `stack_lock` prevents it."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.state_folder
        self.stack_lock = LockFile(self.path / "stack.lock")
        self.database = self.path / "temporal.db"
        self.emulator_state = self.path / "emulator.json"
        self.last_use = self.path / "last-use"

    def make(self) -> None:
        """Create the folder, readable by the user only. Raises `SetupError` if that is not allowed."""
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.last_use.touch()
        except OSError as error:
            raise SetupError(
                f"The state folder {self.path} cannot be used ({error.strerror}): set AGENT_STATE_FOLDER."
            ) from None

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
        """The log, opened for appending. A long one is rotated first."""
        path = self.log(name)
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def last_words(self, name: str) -> str:
        """The last line of a log."""
        path = self.log(name)
        lines = path.read_text(errors="replace")[-4000:].split("\n") if path.exists() else []
        return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "it printed nothing")

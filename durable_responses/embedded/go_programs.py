"""Programs of the stack that are built with Go, from modules pinned under `go/`, into the cache folder."""

import asyncio
import math
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from durable_responses.embedded.locks import LockFile
from durable_responses.progress import told_while
from durable_responses.settings import Settings, SetupError, child_environment

_MODULES = Path(__file__).parent / "go"
_OURS = ("OPENAI_", "AGENT_", "OTEL_")
_BUILD = (
    *("build", "-trimpath", "-buildvcs=false"),
    # It writes nothing beside go.mod: an installed package may be read-only.
    "-mod=readonly",
    # Debug information is only compiled to be left out by the linker (-s -w): without it a tenth of the time is saved.
    *("-gcflags", "all=-dwarf=false", "-ldflags", "-s -w"),
    # Google's tag for its storage client without gRPC, which drags in a tenth of all code; archives are not kept there.
    *("-tags", "disable_grpc_modules"),
)

Say = Callable[[str], None]
"""Takes one line for a person."""


class ProgramMissing(SetupError):
    """A program of the stack is missing, and cannot be installed."""


@dataclass(frozen=True)
class GoProgram:
    """A program, and the pinned module that it is built from.

    `requires` is the module that has the version. `takes` says how long the first build takes on two cores, `instead`
    what to do if it cannot be built.
    """

    title: str
    binary: str
    version: str
    folder: str
    requires: str
    package: str
    takes: str
    instead: str

    @property
    def module(self) -> Path:
        """The folder with its go.mod and go.sum."""
        return _MODULES / self.folder

    def path(self, settings: Settings) -> Path:
        """Its path, once it is built."""
        return bin_folder(settings) / f"{self.binary}-{self.version}"


def bin_folder(settings: Settings) -> Path:
    """The folder of everything that is downloaded or built."""
    return settings.cache_folder / "bin"


async def find_go_program(program: GoProgram, settings: Settings, say: Say) -> Path:
    """The path of a program, built if necessary. Raises `ProgramMissing`."""
    if _is_built(path := program.path(settings)):
        return path
    async with sole_builder(program.title, bin_folder(settings), say):
        return path if _is_built(path) else await build(program, settings, say)


@asynccontextmanager
async def sole_builder(title: str, folder: Path, say: Say) -> AsyncIterator[None]:
    """While inside, no other process downloads or builds anything into a folder. Raises `ProgramMissing`."""
    lock = _lock(folder)
    while (held := await lock.take()) is None:
        say(f"Another process is downloading or building the {title}; waiting for it.")
        await told_while(lock.wait_until_free(math.inf), "waiting", say)
    with held:
        yield


async def build(program: GoProgram, settings: Settings, say: Say) -> Path:
    """Build a program, even if it is there already; `say` gets a line from time to time. Raises `ProgramMissing`."""
    go = shutil.which("go", path=child_environment().get("PATH"))
    if go is None:
        raise ProgramMissing(f"No {program.title} was found: {program.instead}, or install Go so that it can be built.")
    target = program.path(settings)
    unfinished = target.with_name(f"{target.name}.unfinished")
    command = [go, *_BUILD, "-o", str(unfinished), program.package]
    say(f"Building the {program.title} {program.version} with Go, once; this takes {program.takes}.")
    began = time.monotonic()
    # Without cgo no C compiler is needed; a go.work in a folder above would shut our module out. The compiler's
    # processes end before their garbage fills the memory: to collect less of it saves a thirtieth of the time.
    run = output_of(command, cwd=program.module, CGO_ENABLED="0", GOWORK="off", GOGC="400")
    code, text = await told_while(run, f"building the {program.title}", say)
    if code:
        raise ProgramMissing(f"The {program.title} could not be built ({last_words(text)}): {program.instead}.")
    unfinished.rename(target)
    say(f"Built {target} in {time.monotonic() - began:.0f} s.")
    return target


async def output_of(
    command: list[str], *, timeout: float | None = None, cwd: Path | None = None, **variables: str
) -> tuple[int, str]:
    """Exit code and output of a command. Its process group never outlives the call."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env={**_environment(), **variables},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            text, _ = await process.communicate()
    except TimeoutError:
        return -signal.SIGKILL, f"no answer in {timeout} s"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0, text.decode(errors="replace")


def _environment() -> dict[str, str]:
    """What downloads and builds may need, proxies included, without keys and settings of ours."""
    return {name: value for name, value in child_environment().items() if not name.startswith(_OURS)}


def last_words(text: str) -> str:
    """The last line of an output, cut to what fits a sentence."""
    lines = text.strip().splitlines()
    return lines[-1][-200:] if lines else "it printed nothing"


def _is_built(path: Path) -> bool:
    return os.access(path, os.X_OK)


def _lock(folder: Path) -> LockFile:
    path = folder / "obtain.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise ProgramMissing(
            f"The cache folder {folder} cannot be used ({error.strerror}): set AGENT_CACHE_FOLDER."
        ) from None
    return LockFile(path)

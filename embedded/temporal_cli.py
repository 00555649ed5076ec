"""The `temporal` binary: find it, fetch it, or build it."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from embedded.locks import LockFile
from runtime import Settings, SetupError, child_environment

VERSION = "1.5.1"
"""The newest Temporal CLI that builds from Go modules alone."""
GO_MODULE = Path(__file__).parent.parent / "build" / "temporal-cli"
_PACKAGE = "github.com/temporalio/cli/cmd/temporal"
# The SDK's download has no timeout of its own. It is given up when nothing has arrived for this many seconds.
_STALLED = 10.0
_REPORT_EVERY = 15.0

Say = Callable[[str], None]
"""Takes one line for a person."""


class TemporalCliMissing(SetupError):
    """There is no `temporal` binary, and none could be fetched or built."""


async def find_temporal_cli(settings: Settings, say: Say) -> Path:
    """The path of a working `temporal` binary; `say` gets a line for whatever takes time.

    Looked for in this order: `TEMPORAL_CLI`, `PATH`, our cache folder, the SDK's own download, a build with Go. Raises
    `TemporalCliMissing`.
    """
    if settings.temporal_cli is not None:
        return await _named(settings.temporal_cli)
    if found := shutil.which("temporal", path=child_environment().get("PATH")):
        if await _is_temporal(Path(found)):
            return Path(found)
        say(f"{found} is not a Temporal CLI with a dev server; looking further.")
    folder = settings.cache_folder / "bin"
    return _cached(folder) or await _obtain(folder, say)


async def _named(path: Path) -> Path:
    if not await _is_temporal(path):
        raise TemporalCliMissing(
            f"TEMPORAL_CLI is {path}, which is not a Temporal CLI with a dev server: correct or unset it."
        )
    return path


def _cached(folder: Path) -> Path | None:
    fetched = folder.glob(f"*sdk-python-{version('temporalio')}")
    return next((path for path in (folder / f"temporal-{VERSION}", *fetched) if os.access(path, os.X_OK)), None)


async def _obtain(folder: Path, say: Say) -> Path:
    lock = _lock(folder)
    while (held := await lock.take()) is None:
        say("Another process is fetching or building the Temporal CLI; waiting for it.")
        await lock.wait_until_free(_REPORT_EVERY)
    with held:
        return _cached(folder) or await _fetch(folder, say) or await _build(folder, say)


def _lock(folder: Path) -> LockFile:
    path = folder / "obtain.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise TemporalCliMissing(
            f"The cache folder {folder} cannot be used ({error.strerror}): set AGENT_CACHE_FOLDER, or TEMPORAL_CLI."
        ) from None
    return LockFile(path)


async def _is_temporal(path: Path) -> bool:
    try:
        code, text = await _output([str(path), "--version"], timeout=10)
    except OSError:
        return False
    return code == 0 and "temporal version" in text and "Server" in text


# --- the SDK's own download --------------------------------------------------------------------------------------


async def _fetch(folder: Path, say: Say) -> Path | None:
    """The binary that the SDK downloads for its own dev server; None when its server cannot be reached."""
    say("Fetching the Temporal CLI.")
    _clear_interrupted(folder)
    fetching = asyncio.create_task(_start_once(folder))
    try:
        await _until_done_or_stalled(fetching, folder)
    finally:
        fetching.cancel()
    await asyncio.wait([fetching])
    problem = "nothing arrived" if fetching.cancelled() else fetching.exception()
    if problem:
        reason = str(problem).removeprefix("Failed starting Temporal dev server: ").partition(" for url ")[0]
        say(f"The Temporal CLI could not be fetched ({reason}).")
    return _cached(folder)


def _clear_interrupted(folder: Path) -> None:
    # The SDK would wait for whoever left them. Nobody fetches at this moment: our lock is held.
    for path in folder.glob("*.downloading"):
        path.unlink()


async def _until_done_or_stalled(fetching: asyncio.Task[None], folder: Path) -> None:
    arrived, since = 0, time.monotonic()
    while not fetching.done() and time.monotonic() - since < _STALLED:
        await asyncio.wait([fetching], timeout=0.2)
        if (now := _bytes_in(folder)) != arrived:
            arrived, since = now, time.monotonic()


async def _start_once(folder: Path) -> None:
    # The SDK downloads as a step of starting a server; there is no call that only downloads.
    environment = await WorkflowEnvironment.start_local(download_dest_dir=str(folder))
    await environment.shutdown()


def _bytes_in(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except FileNotFoundError:  # renamed in between
        return -1


# --- the build ---------------------------------------------------------------------------------------------------


async def _build(folder: Path, say: Say) -> Path:
    go = shutil.which("go", path=child_environment().get("PATH"))
    if go is None or not GO_MODULE.is_dir():
        raise TemporalCliMissing(
            "No Temporal CLI was found and none could be fetched: install it and put it on the PATH, or name it in"
            " TEMPORAL_CLI, or install Go so that it can be built from a checkout of this project."
        )
    target, unfinished = folder / f"temporal-{VERSION}", folder / f"temporal-{VERSION}.unfinished"
    command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w", "-o", str(unfinished)]
    say(f"Building the Temporal CLI {VERSION} with Go, once; this takes about three minutes.")
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        # Without cgo no C compiler is needed; the CLI's SQLite is Go.
        building = group.create_task(_output([*command, _PACKAGE], cwd=GO_MODULE, CGO_ENABLED="0"))
        while not (await asyncio.wait([building], timeout=_REPORT_EVERY))[0]:
            say(f"  … building the Temporal CLI, {time.monotonic() - began:.0f} s")
    code, text = building.result()
    if code:
        raise TemporalCliMissing(
            f"The Temporal CLI could not be built ({_last_words(text)}): install it and put it on the PATH, or name it"
            " in TEMPORAL_CLI."
        )
    unfinished.rename(target)
    say(f"Built {target} in {time.monotonic() - began:.0f} s.")
    return target


async def _output(
    command: list[str], *, timeout: float | None = None, cwd: Path | None = None, **variables: str
) -> tuple[int, str]:
    """Exit code and output of a command. Its whole process group ends with the call, however the call ends."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env=child_environment(**variables),
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


def _last_words(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][-200:] if lines else ""

"""The `temporal` binary: find it, download it, or build it."""

import asyncio
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path

from durable_responses.embedded.go_programs import (
    GoProgram,
    ProgramMissing,
    Say,
    bin_folder,
    build,
    output_of,
    sole_builder,
)
from durable_responses.progress import Words
from durable_responses.settings import Settings, child_environment
from durable_responses.web_ui import ALLOWED_HOST

TEMPORAL_CLI = GoProgram(
    title="Temporal CLI",
    binary="temporal",
    version="1.5.1",  # the newest that builds from Go modules alone
    folder="temporal-cli",
    requires="github.com/temporalio/cli",
    package="github.com/temporalio/cli/cmd/temporal",
    takes="about three minutes",
    instead="install it and put it on the PATH, or name it in TEMPORAL_CLI",
)
# The SDK's download has no timeout of its own. It is given up when nothing has arrived for this many seconds.
_STALLED = 10.0


class TemporalCliMissing(ProgramMissing):
    """There is no `temporal` binary, and it could be neither downloaded nor built."""


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
        say(f"{found} is not a Temporal CLI with a dev server; looking elsewhere.")
    return _cached(settings) or await _obtain(settings, say)


async def _named(path: Path) -> Path:
    if not await _is_temporal(path):
        raise TemporalCliMissing(
            f"TEMPORAL_CLI is {path}, which is not a Temporal CLI with a dev server: fix or unset it."
        )
    return path


def _cached(settings: Settings) -> Path | None:
    fetched = bin_folder(settings).glob(f"*sdk-python-{version('temporalio')}")
    return next((path for path in (TEMPORAL_CLI.path(settings), *fetched) if os.access(path, os.X_OK)), None)


async def _obtain(settings: Settings, say: Say) -> Path:
    try:
        async with sole_builder(TEMPORAL_CLI.title, bin_folder(settings), say):
            return _cached(settings) or await _fetch(settings, say) or await build(TEMPORAL_CLI, settings, say)
    except ProgramMissing as error:
        raise TemporalCliMissing(str(error)) from None


async def _is_temporal(path: Path) -> bool:
    try:
        code, text = await output_of([str(path), "--version"], timeout=10)
    except OSError:
        return False
    return code == 0 and "temporal version" in text and "Server" in text


# --- the SDK's own download --------------------------------------------------------------------------------------


async def _fetch(settings: Settings, say: Say) -> Path | None:
    """The binary that the SDK downloads for its own dev server; None if its server cannot be reached."""
    folder = bin_folder(settings)
    say("Downloading the Temporal CLI.")
    _clear_interrupted(folder)
    fetching = asyncio.create_task(_start_once(folder))
    try:
        await _until_done_or_stalled(fetching, folder, say)
    finally:
        fetching.cancel()
    await asyncio.wait([fetching])
    problem = "nothing arrived" if fetching.cancelled() else fetching.exception()
    if problem:
        reason = str(problem).removeprefix("Failed starting Temporal dev server: ").partition(" for url ")[0]
        say(f"The Temporal CLI could not be downloaded ({reason}).")
    return _cached(settings)


def _clear_interrupted(folder: Path) -> None:
    # The SDK would wait for whoever left them. Nobody fetches at this moment: our lock is held.
    for path in folder.glob("*.downloading"):
        path.unlink()


async def _until_done_or_stalled(fetching: asyncio.Task[None], folder: Path, say: Say) -> None:
    arrived, since, words = 0, time.monotonic(), Words("downloading the Temporal CLI", say)
    while not fetching.done() and time.monotonic() - since < _STALLED:
        await asyncio.wait([fetching], timeout=0.2)
        if (now := _bytes_in(folder)) != arrived:
            arrived, since = now, time.monotonic()
        words.come(f"{max(arrived, 0) / 1e6:.0f} MB")


async def _start_once(folder: Path) -> None:
    # The SDK downloads as a step of starting a server; there is no call that only downloads.
    from temporalio.testing import WorkflowEnvironment

    closed = ["--dynamic-config-value", f'frontend.httpAllowedHosts=["{ALLOWED_HOST}"]']
    environment = await WorkflowEnvironment.start_local(download_dest_dir=str(folder), dev_server_extra_args=closed)
    await environment.shutdown()


def _bytes_in(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except FileNotFoundError:  # renamed in between
        return -1

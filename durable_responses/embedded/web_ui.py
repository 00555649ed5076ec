"""Temporal's Web UI in the stack: our own server of it, and the pages that it serves (`durable_responses.web_ui`)."""

import asyncio
import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from durable_responses.embedded import readiness
from durable_responses.embedded.go_programs import GoProgram, Say, sole_builder
from durable_responses.embedded.parts import bare_environment, our_command
from durable_responses.settings import Settings
from durable_responses.web_ui import ALLOWED_HOST
from durable_responses.web_ui.pages import PagesMissing, take_over

WEB_UI = GoProgram(
    title="Temporal Web UI",
    binary="temporal-ui",
    version="2.55.0",  # the newest that Go 1.26.8 builds
    folder="temporal-ui",
    requires="github.com/temporalio/ui-server/v2",
    package="github.com/temporalio/ui-server/v2/cmd/server",
    takes="less than a minute",
    instead="run the images of docker-compose.yml instead",
)
_TITLE = "Temporal Web UI"
_START_LIMIT = 30.0
_ENVIRONMENT = "stack"


def web_ui_command(pages: Path, *, port: int, http_port: int, namespace: str) -> list[str]:
    """The command that serves the Web UI on 127.0.0.1, of the Temporal server whose HTTP API is at `http_port`."""
    return our_command(
        "durable_responses.web_ui",
        *("--host", readiness.HOST, "--port", str(port)),
        *("--temporal", f"http://{readiness.HOST}:{http_port}"),
        *("--pages", str(pages)),
        *("--default-namespace", namespace),
    )


async def take_over_once(folder: Path, serve: Callable[[int, Path], list[str]], say: Say) -> None:
    """Have the pages of the Web UI, which are inside a program, in a folder of the cache.

    `serve` makes the command that serves them at a port; the folder that it gets is empty, and removed afterwards.
    Raises `PagesMissing` and `ProgramMissing`.
    """
    if _is_there(folder):
        return
    async with sole_builder(_TITLE, folder.parent, say):
        if not _is_there(folder):
            with tempfile.TemporaryDirectory() as empty:
                port = readiness.free_port()
                await _take_over(serve(port, Path(empty)), port, folder)


def _is_there(folder: Path) -> bool:
    return folder.is_dir()


def pages_folder(program: Path, settings: Settings) -> Path:
    """Where the pages of a program are once they were taken over."""
    # Another version, another program: asking it for its version takes a tenth of a second at each start.
    place, about = program.resolve(), program.stat()
    version = hashlib.sha256(f"{place} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:16]
    return settings.cache_folder / "web-ui" / version


async def _take_over(command: list[str], port: int, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=bare_environment(),
        start_new_session=True,
    )
    try:
        give_up = time.monotonic() + _START_LIMIT
        while not await asyncio.to_thread(readiness.port_serves, port):
            if process.returncode is not None or time.monotonic() > give_up:
                raise PagesMissing(f"{Path(command[0]).name} does not serve the Web UI")
            await asyncio.sleep(0.05)
        await take_over(f"http://{readiness.HOST}:{port}", folder)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def dev_server_with_pages(cli: Path, port: int) -> list[str]:
    """The command of a dev server that is there for its pages only: empty, in memory, and deaf but for the Web UI."""
    command = [str(cli), "server", "start-dev", "--ip", readiness.HOST, "--port", str(readiness.free_port())]
    command += ["--ui-port", str(port), "--log-level", "never"]
    return [*command, "--dynamic-config-value", f'frontend.httpAllowedHosts=["{ALLOWED_HOST}"]']


class WebUiConfig(BaseModel):
    """The configuration of Temporal's own server of the Web UI, by its own names."""

    # It is there for its pages only: nobody listens at this port.
    temporalGrpcAddress: str = f"{readiness.HOST}:0"
    host: str = readiness.HOST
    port: int
    enableUi: bool = True
    # It would ask a host outside.
    disableNewsFetch: bool = True


def web_ui_with_pages(program: Path, port: int, folder: Path) -> list[str]:
    """The command of Temporal's own server of the Web UI, without a Temporal behind it."""
    place = folder / "web-ui"
    place.mkdir()
    # JSON is YAML.
    (place / f"{_ENVIRONMENT}.yaml").write_text(WebUiConfig(port=port).model_dump_json(indent=2))
    return [str(program), "--root", str(folder), "--config", place.name, "--env", _ENVIRONMENT, "start"]

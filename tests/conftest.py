"""What every test may use: a Temporal dev server for the whole session, and a client of it."""

import gc
import os
import shutil
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.settings import child_environment
from tests.support.deployment import Deployment
from tests.support.emulator_control import EmulatorProcess, emulator  # noqa: F401 a fixture for all
from tests.support.processes import Process, TemporalServer
from tests.support.scheduling import ByFileAndPorts, place_of

gc.disable()  # until everything is collected

_CONFIGURATION = ("AGENT_", "OPENAI_", "OTEL_", "TEMPORAL_")


@pytest.fixture(scope="session", autouse=True)
def unconfigured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody's key, server, settings or state folder is used; only the `temporal` binary is."""
    with pytest.MonkeyPatch.context() as environment:
        for name in child_environment():
            if name.startswith(_CONFIGURATION) and name not in ("TEMPORAL_CLI", "AGENT_CACHE_FOLDER"):
                environment.delenv(name)
        home = tmp_path_factory.mktemp("unconfigured")
        environment.setenv("TEMPORAL_CONFIG_FILE", str(home / "temporal.toml"))
        environment.setenv("AGENT_STATE_FOLDER", str(home / "state"))
        yield
    if sys.pycache_prefix:  # it stays, but not what is in it of this session's folders
        temporary = tmp_path_factory.getbasetemp().relative_to("/")
        shutil.rmtree(Path(sys.pycache_prefix) / temporary, ignore_errors=True)


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    """A dev server with the embedded stack's flags. A test that kills its server starts one of its own."""
    async with await TemporalServer.on(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
async def client(temporal: TemporalServer) -> Client:
    """A client of the session's dev server."""
    return await temporal.client()


@pytest.fixture(scope="module")
async def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmulatorProcess]:
    """An emulator that can be killed. A test that does so has one of its own, or starts it again."""
    async with EmulatorProcess(tmp_path_factory.mktemp("emulator")) as process:
        yield process


@pytest.fixture
async def deployment(
    temporal: TemporalServer, client: Client, emulator_process: EmulatorProcess, tmp_path: Path
) -> Deployment:
    """A Temporal server and an emulator that nobody kills; no worker yet."""
    return Deployment(temporal, client, emulator_process, tmp_path)


def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core: half of the time tests wait for timers, kills and starts."""
    return 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileAndPorts:
    """Which tests run in the same process."""
    config.option.loadscopereorder = False  # the files with most tests are not those that take longest
    return ByFileAndPorts(config, log)


def pytest_collection_finish() -> None:
    """What was loaded and collected stays: a million objects that no search for garbage has to go through."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first."""
    items.sort(key=lambda item: place_of(item.nodeid.partition("::")[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its processes printed."""
    report = yield
    if report.failed:
        report.sections += [(f"{process.log.name} (end)", process.tail()) for process in Process.started]
    return report

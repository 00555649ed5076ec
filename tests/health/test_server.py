"""A real worker tells over HTTP whether it lives and is ready."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer, WorkerProcess, free_port
from tests.support.runs import until


def worker_with_health(temporal: TemporalServer, base_url: str, folder: Path, port: int) -> WorkerProcess:
    queue = {"AGENT_TASK_QUEUE": f"agents-of-health-{port}"}
    return WorkerProcess(temporal, base_url, folder=folder, AGENT_HEALTH_PORT=str(port), **queue)


async def ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        answer = await http.get(f"http://127.0.0.1:{port}{path}")
    found = {check["name"]: check["verdict"] for check in json.loads(answer.content)["checks"]}
    return answer.status_code, found


@pytest.fixture
async def emulator_process(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(tmp_path) as emulator:
        yield emulator


async def test_a_worker_is_alive_and_ready_once_it_serves_and_not_ready_without_its_provider(
    temporal: TemporalServer, emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    port = free_port()

    async def is_ready() -> bool:
        return (await ask(port, "/readyz")) == (
            200,
            {"polls": "ok", "provider": "ok", "key": "ok", "input requests": "ok"},
        )

    async def is_not_ready() -> bool:
        return (await ask(port, "/readyz")) == (503, {"polls": "ok", "provider": "problem", "input requests": "ok"})

    async with worker_with_health(temporal, emulator_process.base_url, tmp_path, port):
        assert await ask(port, "/livez") == (200, {"alive": "ok"})
        await until(is_ready)
        emulator_process.kill()
        await until(is_not_ready)
        assert (await ask(port, "/livez"))[0] == 200
        await emulator_process.start()
        await until(is_ready)


async def test_a_worker_whose_temporal_server_is_gone_is_not_ready(
    emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        await TemporalServer.on(tmp_path) as temporal,
        worker_with_health(temporal, emulator_process.base_url, tmp_path, port),
    ):
        temporal.kill()

        async def is_not_ready() -> bool:
            return (await ask(port, "/readyz"))[1].get("polls") == "problem"

        await until(is_not_ready)


async def test_a_worker_stops_on_sigterm_while_it_answers_for_its_health(
    temporal: TemporalServer, emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    port = free_port()
    async with worker_with_health(temporal, emulator_process.base_url, tmp_path, port) as worker:
        assert (await ask(port, "/livez"))[0] == 200
        assert await worker.terminate() == 0


async def test_a_port_that_is_taken_is_named(
    temporal: TemporalServer, emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    worker = worker_with_health(temporal, emulator_process.base_url, tmp_path, emulator_process.port)
    await super(WorkerProcess, worker).start()
    assert await worker.wait() == 1
    assert f"worker: AGENT_HEALTH_PORT {emulator_process.port}" in worker.output

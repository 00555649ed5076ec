"""The emulator under test, in this process or as one of its own, and the typed client of its control endpoints.

`emulator` (fixture): a fresh one in this process, on a real socket, ended after the test. Where it has to be killed and
started again, use `EmulatorProcess`. Both have `base_url` (for `OPENAI_BASE_URL`) and `control`:

    await emulator.control.add_scenario(Scenario(name="hi", responses=[Script(output=[Text(text="Hi")])]))
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Answer(status=503)))
    bill = await emulator.control.billing(workflow_id="agent-1")

A request asks for a scenario by `metadata.scenario` or the model name `scenario:…`; see `emulator/model/scenarios.py`.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx
import pytest
from pydantic import BaseModel

from durable_responses.emulator.faults import Fault
from durable_responses.emulator.http.control import Advance, ContextWindow
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.server import EmulatorOptions, EmulatorServer
from durable_responses.emulator.state.billing import Bill, BilledResponse
from tests.support.processes import Process, free_port


def _http() -> httpx.AsyncClient:
    # Loading certificates takes fifty times as long as the request, and here is plain HTTP. Long bills take their time.
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=60)


class EmulatorControl:
    """The control endpoints of an emulator."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.removesuffix("/v1") + "/control"

    async def billing(self, **metadata: str) -> Bill:
        """The bill of all responses, or of those with this metadata: `billing(workflow_id="…")`."""
        async with _http() as http:
            answer = await http.get(f"{self._base}/billing", params=metadata)
            answer.raise_for_status()
            return Bill.model_validate_json(answer.content)

    async def responses(self, **metadata: str) -> list[BilledResponse]:
        """The responses on the bill, oldest first."""
        return (await self.billing(**metadata)).responses

    async def add_scenario(self, scenario: Scenario) -> None:
        """Register a scenario; replaces the one of that name."""
        await self._post("scenarios", scenario)

    async def add_fault(self, fault: Fault) -> None:
        """Order a fault."""
        await self._post("faults", fault)

    async def clear_faults(self) -> None:
        """Call off all faults that have not happened."""
        async with _http() as http:
            (await http.delete(f"{self._base}/faults")).raise_for_status()

    async def advance(self, seconds: float) -> None:
        """Push the emulator's clock forward."""
        await self._post("clock", Advance(seconds=seconds))

    async def set_context_window(self, tokens: int | None, model: str = "*") -> None:
        """Give the models that match `model` room for so many tokens, None for any number."""
        await self._post("context_window", ContextWindow(model=model, tokens=tokens))

    async def reset(self) -> None:
        """Forget responses, counts, scenarios and faults."""
        await self._post("reset", None)

    async def _post(self, path: str, message: BaseModel | None) -> None:
        content = message.model_dump_json() if message is not None else ""
        async with _http() as http:
            answer = await http.post(f"{self._base}/{path}", content=content)
        assert answer.is_success, f"the emulator refused: {answer.text}"


class RunningEmulator:
    """An emulator in this process. `provider` is its inside, for tests that need it."""

    def __init__(self, server: EmulatorServer) -> None:
        self.provider = server.provider
        self.base_url = server.base_url
        self.control = EmulatorControl(server.base_url)


@asynccontextmanager
async def running_emulator(options: EmulatorOptions | None = None) -> AsyncIterator[RunningEmulator]:
    """Serve an emulator in this event loop, on a real socket."""
    server = EmulatorServer(options or EmulatorOptions())
    await server.start()
    try:
        yield RunningEmulator(server)
    finally:
        await server.stop()


@pytest.fixture
async def emulator() -> AsyncIterator[RunningEmulator]:
    """A fresh emulator for one test."""
    async with running_emulator() as running:
        yield running


class EmulatorProcess(Process):
    """An emulator's process with a state file in `folder`, on a port that stays the same over kills and restarts."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.control = EmulatorControl(self.base_url)
        state = folder / "emulator.state"
        command = [
            sys.executable,
            "-m",
            "durable_responses.emulator",
            "--port",
            str(self.port),
            "--state-file",
            str(state),
            *arguments,
        ]
        super().__init__(command, log=folder / "emulator.log")

    async def start(self) -> Self:
        """Start, and wait until it listens."""
        starts = self.output.count("emulator listening on ")
        await super().start()
        # One line for every start: the output is kept over all of them.
        await self.wait_for_line(rf"(?s)(emulator listening on .*?){{{starts + 1}}}")
        return self

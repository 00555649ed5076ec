"""Recognisable secrets everywhere: and where they turn up."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from durable_responses.activities.messages import SaveOptions
from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.workflows.contract import AgentStatus, TransportChoice
from tests.support.deployment import Deployment, Run
from tests.support.emulator_control import EmulatorProcess
from tests.support.leaking_tools import OF_A_TOOL
from tests.support.processes import TemporalServer
from tests.support.receiver import Received
from tests.telemetry.conftest import exporting_worker

KEY = "sk-canary-0123456789abcdef0123456789"
HEADER = "canary-header-51b2e8"


@dataclass(frozen=True)
class Traces:
    """What some runs have left behind, as bytes, by place."""

    history: bytes
    database: bytes
    logs: bytes
    exported: bytes
    artifacts: bytes
    in_flight: bytes

    def places_of(self, secret: str) -> set[str]:
        """Where it can be found."""
        return {place for place, found in vars(self).items() if secret.encode() in found}


@pytest.fixture(scope="module")
async def left(received: Received, tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """Runs whose provider refuses the key in an answer that quotes it, and whose tools tell and leak secrets."""
    folder = tmp_path_factory.mktemp("secrets")
    async with await TemporalServer.on(folder / "temporal") as temporal, EmulatorProcess(folder) as emulator:
        deployment = Deployment(temporal, await temporal.client(), emulator, folder)
        settings = {
            "OPENAI_API_KEY": KEY,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{HEADER}",
            "AGENT_TOOL_MODULES": "tests.support.leaking_tools",
            "AGENT_LOG_LEVEL": "debug",
            "AGENT_OUTPUT_ROOT": str(folder / "output"),
        }
        async with exporting_worker(deployment, received, **settings) as worker:
            histories = [
                *[await _ended(deployment, transport, folder) for transport in TransportChoice],
                await _refused(deployment),
            ]
            await worker.terminate()
        logs = [path.read_bytes() for path in folder.rglob("*.log")]
    database = [path.read_bytes() for path in (folder / "temporal").glob("temporal.db*")]
    artifacts = [path.read_bytes() for path in (folder / "output").rglob("*.md")]
    return Traces(
        history=b"\n".join(histories),
        database=b"\n".join(database),
        logs=b"\n".join(logs),
        exported=b"\n".join(received.bodies),
        artifacts=b"\n".join(artifacts),
        in_flight=b"\n".join(path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file()),
    )


async def _ended(deployment: Deployment, transport: TransportChoice, folder: Path) -> bytes:
    leaks = [
        FunctionCallStep(name="vault", arguments={}),
        FunctionCallStep(name="explode", arguments={"gate": "x"}),
    ]
    turns = [Script(output=[*leaks]), Script(output=[Text(text="Saved.")], write=0)]
    save = SaveOptions(root=str(folder / "output"))
    run = await deployment.start(f"secrets-{transport}", turns, transport=transport, save=save)
    assert (await run.result()).status is AgentStatus.COMPLETED
    return await _history_of(run)


async def _refused(deployment: Deployment) -> bytes:
    refusal = Answer(status=401, code="invalid_api_key", message=f"Incorrect API key provided: {KEY}.")
    fault = Fault(operation=Operation.CREATE, metadata={"scenario": "refused"}, effect=refusal)
    await deployment.emulator.control.add_fault(fault)
    run = await deployment.start(
        "refused", [Script(output=[Text(text="Never.")])], transport=TransportChoice.BACKGROUND
    )
    assert (await run.result()).status is AgentStatus.FAILED
    return await _history_of(run)


async def _history_of(run: Run) -> bytes:
    # Its JSON would hold payloads in base64, in which nothing is found.
    return b"".join(event.SerializeToString() for event in (await run.handle.fetch_history()).events)


def test_the_key_is_nowhere(left: Traces) -> None:
    """A25: neither ours, nor the one that a tool has leaked in an exception."""
    assert left.places_of(KEY) == set()


def test_a_header_of_the_exporter_is_nowhere(left: Traces) -> None:
    assert left.places_of(HEADER) == set()


def test_the_output_of_a_tool_is_where_the_model_reads_it_and_nowhere_else(left: Traces) -> None:
    """History holds what the model was told; logs, traces, metrics and artifacts do not."""
    assert left.places_of(OF_A_TOOL) == {"history", "database"}


def test_the_search_can_find_something(left: Traces) -> None:
    everywhere = set(vars(left)) - {"in_flight"}
    assert left.places_of("agent-") | left.places_of("Saved.") >= everywhere

"""When nothing is sent: in a replay, and where nobody asked for it."""

import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from durable_responses.settings import child_environment
from durable_responses.telemetry.export import Protocol
from tests.support.deployment import Deployment, until
from tests.support.processes import CHECKOUT
from tests.support.receiver import receiving
from tests.telemetry.conftest import exporting_worker

NOBODY = "http://127.0.0.1:9"
HISTORIES = CHECKOUT / "tests" / "workflows" / "histories"


def run(*arguments: str, **variables: str) -> str:
    """What a Python program prints; it must succeed."""
    program = subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=child_environment(**variables), capture_output=True, text=True
    )
    assert program.returncode == 0, program.stderr
    return program.stdout


def test_replays_emit_no_span_and_no_metric_of_ours() -> None:
    stored = [str(path) for path in HISTORIES.rglob("*.json")]
    assert stored
    with receiving(Protocol.HTTP) as received:
        run("-m", "tests.support.replaying", *stored, **received.variables)
    assert received.spans == []
    assert not [name for name in received.metric_names() if not name.startswith("temporal_")]


LOADED = """
import asyncio, sys
import durable_responses.worker.__main__, durable_responses.cli.runs, durable_responses.mcp_server.program
from durable_responses.connection import client_plugins
from durable_responses.process import end_telemetry, setup_telemetry
from durable_responses.settings import Settings
setup_telemetry(Settings())
client_plugins(for_worker=True)
end_telemetry()
print(*sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))))
"""


def test_no_exporter_is_loaded_where_no_endpoint_is_set() -> None:
    assert run("-c", LOADED).strip() == ""


def test_an_exporter_is_loaded_where_one_is_set() -> None:
    """The check above can fail."""
    assert "opentelemetry.exporter.otlp.proto.http" in run("-c", LOADED, OTEL_EXPORTER_OTLP_ENDPOINT=NOBODY)


@pytest.mark.parametrize(
    "switch", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}]
)
def test_the_standard_switches_turn_everything_off(switch: dict[str, str]) -> None:
    assert run("-c", LOADED, OTEL_EXPORTER_OTLP_ENDPOINT=NOBODY, **switch).strip() == ""


def test_a_program_whose_collector_is_away_ends_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "durable_responses.cli", "list", "--json"]
    environment = child_environment(
        OTEL_EXPORTER_OTLP_ENDPOINT=NOBODY,
        TEMPORAL_ADDRESS="127.0.0.1:9",
        AGENT_STATE_FOLDER=str(tmp_path),
    )
    program = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=20)
    assert "Temporal is not responding" in program.stdout
    assert "Traceback" not in program.stderr


@pytest.mark.parametrize(
    ("protocol", "refusal"),
    [
        (Protocol.HTTP, HTTPStatus.NOT_FOUND),
        (Protocol.HTTP, HTTPStatus.METHOD_NOT_ALLOWED),
        (Protocol.GRPC, HTTPStatus.NOT_IMPLEMENTED),
    ],
)
async def test_a_receiver_that_takes_no_metrics_is_complained_of_once(
    apart: Deployment, protocol: Protocol, refusal: HTTPStatus
) -> None:
    """By our exporter and by that of Temporal's core, once each, although both try again each time."""
    with receiving(protocol, metrics=refusal) as received:
        async with exporting_worker(apart, received) as worker:

            async def is_refused_often() -> bool:
                return "OTEL_METRICS_EXPORTER=none" in worker.log.read_text() and received.refused > 8

            await until(is_refused_often)
            lines = worker.log.read_text().splitlines()
    ours, core = (
        [line for line in lines if word in line and "xport" in line] for word in ("opentelemetry", "temporal")
    )
    assert [len(ours), len(core)] == [1, 1], lines

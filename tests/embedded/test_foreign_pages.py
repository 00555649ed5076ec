"""No web page that the user visits can use the stack: not by a simple request, and not by pointing its name here."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import psutil
import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from durable_responses.connection import connect
from durable_responses.stack_file import PartName
from durable_responses.web_ui import ALLOWED_HOST
from durable_responses.workflows.contract import WORKFLOW_TYPE, TaskQueue
from tests.embedded.conftest import Stack
from tests.support.emulator_control import EmulatorControl
from tests.support.foreign_pages import STARTED, listening_ports, send_all
from tests.support.processes import free_port


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose worker tells of its health."""
    stack = Stack(tmp_path_factory.mktemp("guarded") / "state")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AGENT_HEALTH_PORT", str(free_port()))
        environment.setenv("OPENAI_ORGANIZATION", "org-not-for-temporal")
        environment.setenv("AGENT_MCP_TOKEN", "not-for-temporal-either")
        await stack.ensure_running()
        yield stack
    await stack.kill_everything()


@pytest.fixture(scope="module")
async def client(guarded: Stack) -> Client:
    return await connect(guarded.settings)


@pytest.fixture(scope="module")
async def bystander(client: Client) -> WorkflowHandle[Any, Any]:
    """A run that a foreign page would like to read, cancel or terminate."""
    return await client.start_workflow(
        WORKFLOW_TYPE, {"task": "t"}, id="bystander", task_queue=TaskQueue.AGENTS, start_delay=timedelta(hours=1)
    )


async def test_no_port_of_the_stack_does_or_tells_anything_to_a_foreign_page(
    guarded: Stack, client: Client, bystander: WorkflowHandle[Any, Any]
) -> None:
    stack = guarded.file
    assert stack.emulator_url is not None
    emulator = EmulatorControl(stack.emulator_url)
    bill = await emulator.billing()
    pids = [stack.pid, *(part.pid for part in stack.parts.values() if part.pid is not None)]
    ports = listening_ports(pids)
    known = {stack.ports.temporal, stack.ports.temporal + 1, stack.ports.web_ui, stack.ports.emulator}
    assert known | {health_port(guarded.pid(PartName.WORKER))} <= set(ports)
    for port, program in ports.items():
        for answer in await send_all(port):
            assert b" 200 " not in answer.split(b"\r\n")[0], f"{program} at port {port} says {answer[:500]!r}"
            assert b"bystander" not in answer, f"{program} at port {port} says {answer[:500]!r}"
    with pytest.raises(RPCError, match="not found"):
        await client.get_workflow_handle(STARTED).describe()
    assert (await bystander.describe()).status is WorkflowExecutionStatus.RUNNING
    assert [event.event_type async for event in bystander.fetch_history_events()] == [1]
    assert await emulator.billing() == bill


def health_port(pid: int) -> int:
    return int(psutil.Process(pid).environ()["AGENT_HEALTH_PORT"])


async def test_the_web_ui_serves_its_own_pages(guarded: Stack, bystander: WorkflowHandle[Any, Any]) -> None:
    async with httpx.AsyncClient(base_url=str(guarded.file.web_ui), trust_env=False) as http:
        index = await http.get("/namespaces/default/workflows/bystander")
        assert index.headers["content-type"].startswith("text/html")
        script = index.text.split('import("', 1)[1].split('"', 1)[0]
        assert "javascript" in (await http.get(script)).headers["content-type"]
        assert (await http.get("/_app/immutable/no-such.js")).status_code == 404
        assert (await http.get("/api/v1/settings")).json()["DefaultNamespace"] == "default"


async def test_the_web_ui_shows_a_run_and_acts_on_it(guarded: Stack, bystander: WorkflowHandle[Any, Any]) -> None:
    own = {"Origin": str(guarded.file.web_ui)}
    async with httpx.AsyncClient(base_url=f"{guarded.file.web_ui}/api/v1/namespaces/default/", trust_env=False) as http:
        listed = (await http.get("workflows")).json()["executions"]
        assert [run["execution"]["workflowId"] for run in listed] == ["bystander"]
        run_id = listed[0]["execution"]["runId"]
        (started,) = (await http.get(f"workflows/bystander/run/{run_id}/history.json")).json()
        # As it is stored, not as the API likes to show it: the page decodes it itself.
        assert "data" in started["workflowExecutionStartedEventAttributes"]["input"]["payloads"][0]
        signal = await http.post("workflows/bystander/signal/report_progress", content=json.dumps({}), headers=own)
        assert signal.status_code == 200
        missing = await http.get("workflows/no-such")
        assert (missing.status_code, missing.json()["code"]) == (404, 5)


async def test_temporals_http_api_answers_to_no_name_of_this_machine(guarded: Stack) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        runs = f"http://127.0.0.1:{guarded.file.ports.temporal + 1}/api/v1/namespaces/default/workflows"
        assert (await http.get(runs)).status_code == 403
        assert (await http.get(runs, headers={"Host": ALLOWED_HOST})).status_code == 200


@pytest.mark.parametrize("part", [PartName.TEMPORAL, PartName.WEB_UI, PartName.EMULATOR])
async def test_only_the_worker_gets_keys_and_settings(guarded: Stack, part: PartName) -> None:
    worker = psutil.Process(guarded.pid(PartName.WORKER)).environ()
    assert {"OPENAI_ORGANIZATION", "AGENT_MCP_TOKEN"} <= set(worker)
    given = psutil.Process(guarded.pid(part)).environ()
    assert not [name for name in given if name.startswith(("OPENAI_", "AGENT_", "OTEL_"))]


async def test_what_the_stack_writes_nobody_else_can_read(guarded: Stack) -> None:
    written = [guarded.folder, *guarded.folder.glob("temporal.db*"), guarded.folder / "emulator.json"]
    written += [guarded.folder / "logs", *guarded.folder.glob("logs/*.log")]
    assert len(written) > 5
    assert not [path for path in written if path.stat().st_mode & 0o077]


async def test_logs_are_rotated_while_their_part_writes_on(guarded: Stack) -> None:
    path = guarded.folder / "logs" / "worker.log"
    with path.open("ab") as log:
        log.write(b"x" * 11_000_000)

        async def rotated() -> None:
            await guarded.until(lambda _: path.stat().st_size < 11_000_000)

        await rotated()
        log.write(b"later\n")
        log.flush()
    assert path.read_bytes().endswith(b"later\n")
    assert path.with_suffix(".log.1").stat().st_size == 10_000_000

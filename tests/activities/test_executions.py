"""An execution is open until it is known to have closed: a paused one is, whatever the SDK knows of statuses."""

import pytest
from temporalio.api.common.v1 import Memo, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client
from temporalio.converter import DataConverter

from durable_responses.activities.executions import DescribedExecution
from durable_responses.cli.screen import paused
from durable_responses.jobs.server_records import is_closed, paused_parts

NEWER_THAN_ANY_SDK = 4711


@pytest.fixture
async def client() -> Client:
    """A client that is not connected: nothing is asked."""
    return await Client.connect("127.0.0.1:1", lazy=True)


def in_status(status: int, client: Client, *pending: PendingActivityInfo) -> DescribedExecution:
    """What a description of an execution in that status is read as; the answer came over the wire."""
    info = WorkflowExecutionInfo(execution=WorkflowExecution(workflow_id="1", run_id="2"))
    wire = DescribeWorkflowExecutionResponse(workflow_execution_info=info, pending_activities=pending)
    wire.workflow_execution_info.status = status  # type: ignore[assignment]  # also one that has no name yet
    answer = DescribeWorkflowExecutionResponse.FromString(wire.SerializeToString())
    return DescribedExecution(answer.workflow_execution_info, client, answer)


@pytest.mark.parametrize(
    ("status", "is_open", "has_ended", "from_outside"),
    [
        ("RUNNING", True, False, False),
        ("PAUSED", True, False, False),
        (NEWER_THAN_ANY_SDK, True, False, False),
        ("CONTINUED_AS_NEW", False, False, False),
        ("COMPLETED", False, True, False),
        ("FAILED", False, True, False),
        ("CANCELED", False, True, False),
        ("TERMINATED", False, True, True),
        ("TIMED_OUT", False, True, True),
    ],
)
def test_a_paused_execution_is_open_and_so_is_one_in_a_status_that_nobody_knows_yet(
    client: Client, status: str | int, is_open: bool, has_ended: bool, from_outside: bool
) -> None:
    number = status if isinstance(status, int) else WorkflowExecutionStatus.Value(f"WORKFLOW_EXECUTION_STATUS_{status}")
    execution = in_status(number, client)
    assert (execution.is_open, execution.has_ended, is_closed(execution)) == (is_open, has_ended, has_ended)
    assert execution.was_closed_from_outside == from_outside


def test_a_paused_run_is_told_as_paused_and_how_it_resumes(client: Client) -> None:
    pausing = PendingActivityInfo(paused=True)
    pausing.activity_type.name = "call_tool"
    running, all_of_it = (
        in_status(WorkflowExecutionStatus.Value(f"WORKFLOW_EXECUTION_STATUS_{name}"), client, pausing)
        for name in ("RUNNING", "PAUSED")
    )
    assert (paused_parts(running), paused_parts(all_of_it)) == (["call_tool"], ["the run", "call_tool"])
    assert "temporal activity unpause" in paused(paused_parts(running), "1")
    assert paused(paused_parts(all_of_it), "1") == (
        "Paused by an operator: the run, call_tool. "
        "To resume, use `durable-responses temporal workflow unpause --workflow-id 1`."
    )


async def test_the_memo_and_the_summary_of_a_paused_execution_are_read(client: Client) -> None:
    [value] = await DataConverter.default.encode(["kept"])
    execution = in_status(WorkflowExecutionStatus.Value("WORKFLOW_EXECUTION_STATUS_PAUSED"), client)
    assert (await execution.memo(), await execution.static_summary()) == ({}, None)
    execution.raw_info.memo.CopyFrom(Memo(fields={"key": value}))
    execution.raw_description.execution_config.user_metadata.summary.CopyFrom(value)
    assert (await execution.memo(), await execution.static_summary()) == ({"key": "kept"}, "kept")

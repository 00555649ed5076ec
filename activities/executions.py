"""Workflow executions as the Temporal server tells them, also those in a status that the SDK does not know.

temporalio's `describe` and `list_workflows` raise `ValueError` for an execution that somebody has paused at the server
(`findings/temporalio-describe-of-a-paused-workflow.sh`). Here it is an open one, as in any status that newer servers
may have: only an end that is known for one is an end.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.common import TypedSearchAttributes
from temporalio.converter import DataConverter, WorkflowSerializationContext, decode_typed_search_attributes

_CONTINUED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
_FROM_OUTSIDE = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
)
_CLOSED = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
    _CONTINUED,
    *_FROM_OUTSIDE,
)
_PAGE = 1_000


@dataclass(frozen=True)
class Execution:
    """One execution of a workflow, as lists have it."""

    raw_info: WorkflowExecutionInfo
    client: Client

    @property
    def id(self) -> str:
        """The id of the workflow."""
        return self.raw_info.execution.workflow_id

    @property
    def run_id(self) -> str:
        """The id of this execution."""
        return self.raw_info.execution.run_id

    @property
    def workflow_type(self) -> str:
        """The name of the workflow's type."""
        return self.raw_info.type.name

    @property
    def task_queue(self) -> str:
        """The task queue that the workflow is on."""
        return self.raw_info.task_queue

    @property
    def start_time(self) -> datetime:
        """When the execution was started."""
        return _time_of(self.raw_info.start_time)

    @property
    def close_time(self) -> datetime | None:
        """When the execution closed; None while it is open."""
        return _time_of(self.raw_info.close_time) if self.raw_info.HasField("close_time") else None

    @property
    def is_open(self) -> bool:
        """Whether the execution has not closed: it runs, or is paused."""
        return self.raw_info.status not in _CLOSED

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused the execution as a whole."""
        return self.raw_info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED

    @property
    def has_ended(self) -> bool:
        """Whether the workflow has ended with this execution. One that was continued as new has not."""
        return not self.is_open and self.raw_info.status != _CONTINUED

    @property
    def was_closed_from_outside(self) -> bool:
        """Whether the execution was terminated or timed out, so that no step of it could say so."""
        return self.raw_info.status in _FROM_OUTSIDE

    @property
    def typed_search_attributes(self) -> TypedSearchAttributes:
        """The search attributes as they are now."""
        return decode_typed_search_attributes(self.raw_info.search_attributes)

    @cached_property
    def data_converter(self) -> DataConverter:
        """Decodes what the history of the execution holds."""
        context = WorkflowSerializationContext(namespace=self.client.namespace, workflow_id=self.id)
        return self.client.data_converter.with_context(context)

    async def memo(self) -> Mapping[str, Any]:
        """The values of the memo. Raises what the data converter raises."""
        fields = self.raw_info.memo.fields
        return {key: (await self.data_converter.decode([value]))[0] for key, value in fields.items()}


@dataclass(frozen=True)
class DescribedExecution(Execution):
    """One execution with what only a description has: its pending steps and its summary."""

    raw_description: DescribeWorkflowExecutionResponse

    async def static_summary(self) -> str | None:
        """The summary that the workflow was started with. Raises what the data converter raises."""
        metadata = self.raw_description.execution_config.user_metadata
        if not metadata.HasField("summary"):
            return None
        [summary] = await self.data_converter.decode([metadata.summary], [str])
        return summary if isinstance(summary, str) else None


async def described(
    client: Client, workflow_id: str, run_id: str | None = None, timeout: timedelta | None = None
) -> DescribedExecution:
    """An execution of a workflow, the newest by default. Raises `RPCError`."""
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id or "")
    )
    answer = await client.workflow_service.describe_workflow_execution(request, retry=True, timeout=timeout)
    return DescribedExecution(answer.workflow_execution_info, client, answer)


async def listed(client: Client, query: str, limit: int | None = None) -> AsyncIterator[Execution]:
    """The executions that a condition of Temporal's list filter language holds for. Raises `RPCError`."""
    left, token = limit, b""
    while left is None or left > 0:
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace,
            page_size=_PAGE if left is None else min(left, _PAGE),
            next_page_token=token,
            query=query,
        )
        answer = await client.workflow_service.list_workflow_executions(request, retry=True)
        for info in answer.executions[:left]:
            yield Execution(info, client)
        left, token = None if left is None else left - len(answer.executions), answer.next_page_token
        if not token:
            return


def _time_of(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)

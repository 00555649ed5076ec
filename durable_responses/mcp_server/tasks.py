"""The extension `io.modelcontextprotocol/tasks`, revision 2026-07-28: a task is a job, its id the job id.

Offered to clients that declare it, for `gpt5_agent` only; all others get the classic tools. Specification:
https://modelcontextprotocol.github.io/ext-tasks/specification/2026-07-28/tasks.html
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
    CallToolResult,
    ClientCapabilities,
    ElicitRequest,
    MissingRequiredClientCapabilityErrorData,
    RequestParams,
    Result,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from durable_responses.jobs.job_errors import JobError, JobNotFound
from durable_responses.jobs.job_view import JobView
from durable_responses.mcp_server import next_steps, wording
from durable_responses.mcp_server.answers import job_answer
from durable_responses.mcp_server.arguments import AgentArguments, read_arguments
from durable_responses.mcp_server.asking import hand_on
from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.first_answers import TASKS
from durable_responses.mcp_server.questions import forms_of_task
from durable_responses.mcp_server.tools import AGENT, AgentTools, check_job_id, guarded, job_id_of, job_result, now
from durable_responses.settings import SetupError
from durable_responses.shown_text import shown, shown_on_one_line
from durable_responses.workflows.contract import AgentStatus

IDENTIFIER = TASKS

Context = ServerRequestContext[Any, Any]


class TaskStatus(StrEnum):
    """The status of a task. One of the specification never occurs: a failed run is a result, not an error of the
    protocol (`failed`)."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


_STATUS = {
    AgentStatus.QUEUED: TaskStatus.WORKING,
    AgentStatus.RUNNING: TaskStatus.WORKING,
    AgentStatus.INPUT_REQUIRED: TaskStatus.INPUT_REQUIRED,
    AgentStatus.COMPLETED: TaskStatus.COMPLETED,
    AgentStatus.INCOMPLETE: TaskStatus.COMPLETED,
    AgentStatus.FAILED: TaskStatus.COMPLETED,
    AgentStatus.CANCELLED: TaskStatus.CANCELLED,
}


class Task(Result):
    """A task. `ttl_ms` is null, no limit: how long an ended job is kept is for Temporal's namespace to say."""

    result_type: Literal["task", "complete"]
    task_id: str
    status: TaskStatus
    status_message: str
    created_at: datetime | None
    last_updated_at: datetime | None
    ttl_ms: None = None
    poll_interval_ms: int | None = None
    input_requests: dict[str, ElicitRequest] | None = None
    result: CallToolResult | None = None

    def on_the_wire(self) -> dict[str, Any]:
        """The JSON object: without what is not known, but with `ttlMs`, which is required and may be null."""
        return {**self.model_dump(by_alias=True, mode="json", exclude_none=True), "ttlMs": self.ttl_ms}


_CREATED = {"result_type": "task", "result": None, "input_requests": None}


class Acknowledged(Result):
    """The empty answer to `tasks/update` and `tasks/cancel`."""

    result_type: Literal["complete"] = "complete"


class TaskParams(RequestParams):
    """The parameters of every task method."""

    task_id: str


class UpdateTaskParams(TaskParams):
    """The parameters of `tasks/update`. Answers to questions that were not asked must be ignored."""

    input_responses: dict[str, Any]


class TasksExtension(Extension):
    """Turns calls of `gpt5_agent` into tasks, and answers for them."""

    identifier = IDENTIFIER

    def __init__(self, tools: AgentTools, backend: Backend) -> None:
        self._tools = tools
        self._backend = backend

    def methods(self) -> Sequence[MethodBinding]:
        """The three task methods."""
        return [
            MethodBinding("tasks/get", TaskParams, self._get),
            MethodBinding("tasks/update", UpdateTaskParams, self._update),
            MethodBinding("tasks/cancel", TaskParams, self._cancel),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        """A task, if the client can follow one; a call that cannot be started is refused as it is without tasks."""
        if params.name != AGENT or not declares_tasks(ctx):
            return await call_next(ctx)
        return await guarded(AGENT, self._create(params.arguments))

    async def _create(self, given: dict[str, Any] | None) -> dict[str, Any]:
        arguments = read_arguments(AgentArguments, given)
        job_id = job_id_of(arguments)
        jobs = await self._tools.begin(arguments, job_id)
        task = task_of(await jobs.state(job_id))
        # A key may lead to a job that asks something already: the client sees that when it looks.
        status = TaskStatus.WORKING if task.status is TaskStatus.INPUT_REQUIRED else task.status
        return task.model_copy(update={**_CREATED, "status": status}).on_the_wire()

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        return task_of(await self._job(ctx, params)).on_the_wire()

    async def _update(self, ctx: Context, params: UpdateTaskParams) -> Acknowledged:
        """Every answer is acknowledged, a wrong one too, or a client would cancel the task; its form has been shown."""
        await self._job(ctx, params)
        try:
            await hand_on(await self._backend.to_read(), params.task_id, params.input_responses, client_name(ctx))
        except (SetupError, JobError) as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        return Acknowledged()

    async def _cancel(self, ctx: Context, params: TaskParams) -> Acknowledged:
        await self._job(ctx, params, cancel=True)
        return Acknowledged()

    async def _job(self, ctx: Context, params: TaskParams, *, cancel: bool = False) -> JobView:
        _require_declared(ctx)
        try:
            check_job_id(params.task_id)
            jobs = await self._backend.to_read()
            if cancel:
                return await jobs.cancel(params.task_id, "cancelled over MCP", patience=0)
            return await jobs.state(params.task_id)
        except JobNotFound as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None
        except (SetupError, JobError) as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None


def task_of(view: JobView) -> Task:
    """A job as a task: what it asks included, and its result once it is completed."""
    answer = job_answer(view, now())
    forms, status = forms_of_task(view), _STATUS[view.state.status]
    message = wording.task_text(answer)
    if status is TaskStatus.INPUT_REQUIRED and not forms:  # nothing that this client can be asked
        status, message = TaskStatus.WORKING, f"{message}. {next_steps.no_more_keys(view.job_id)}"
    failed = view.state.status is AgentStatus.FAILED
    return Task(
        result_type="complete",
        task_id=view.job_id,
        status=status,
        status_message=shown(message),
        created_at=view.state.started_at,
        last_updated_at=view.state.updated_at,
        poll_interval_ms=answer.next_poll_ms,
        input_requests=forms if status is TaskStatus.INPUT_REQUIRED else None,
        result=job_result(view, failed=failed) if status is TaskStatus.COMPLETED else None,
    )


def client_name(ctx: Context) -> str:
    """Who a client says it is."""
    client = ctx.session.client_params.client_info if ctx.session.client_params else None
    return shown_on_one_line(f"{client.title or client.name} over MCP") if client else "an MCP client"


def declares_tasks(ctx: Context) -> bool:
    """Whether the client follows tasks."""
    # A revision before 2026-07-28 has no way to carry a task, whatever its client declares.
    capabilities = ctx.session.client_capabilities
    declared = capabilities.extensions if capabilities else None
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and IDENTIFIER in (declared or {})


def _require_declared(ctx: Context) -> None:
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    if not declares_tasks(ctx):
        missing = MissingRequiredClientCapabilityErrorData(
            required_capabilities=ClientCapabilities(extensions={IDENTIFIER: {}})
        )
        data = missing.model_dump(by_alias=True, mode="json", exclude_none=True)
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"The client did not declare {IDENTIFIER}.", data)

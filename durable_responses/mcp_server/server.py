"""The protocol side: tools, resources and the tasks extension behind one MCP server."""

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.extension import compose_tool_call_handler
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    DiscoverResult,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.questions import RepeatedCall
from durable_responses.mcp_server.resources import TEMPLATES, JobResources
from durable_responses.mcp_server.tasks import TasksExtension, client_name, declares_tasks
from durable_responses.mcp_server.tools import AGENT, AgentTools, Caller
from durable_responses.settings import Settings

NAME = "durable-responses"
_INSTRUCTIONS = (
    "Hands long tasks to agents that survive restarts. Short ones: gpt5_agent. Long ones: gpt5_agent_start, then "
    "gpt5_agent_poll with the job_id until the status is completed, incomplete, failed or cancelled. With the status "
    "input_required a job waits for your user: ask them, then call gpt5_agent_respond. A job keeps running whether or "
    "not it is polled; gpt5_agent_list finds it again. gpt5_agent_steer tells a running job something; "
    "gpt5_agent_continue goes on from one that has ended."
)

_INSTRUCTIONS_WITH_TASKS = (
    f"Hands tasks, short and long, to agents that survive restarts. Call {AGENT}: it becomes a task in the background, "
    "and its result comes by itself, also after a restart of this client, this server or everything. Do not poll."
)

LINKS_SINCE = "2025-06-18"
"""The revision of the protocol that brought links to resources; clients of earlier ones take no such result."""

Context = ServerRequestContext[Any, Any]


def build_server(backend: Backend, settings: Settings, version: str) -> Server[Any]:
    """An MCP server over one backend; it serves any number of clients."""
    tools = AgentTools(backend, settings)
    handlers = Handlers(tools, JobResources(backend, settings))
    # The low-level server: it publishes our own schemas and leaves checking the arguments to us, so that an unknown one
    # is refused and no value is echoed.
    server: Server[Any] = Server(
        NAME,
        version=version,
        title="Durable Responses",
        instructions=_INSTRUCTIONS,
        on_list_tools=handlers.list_tools,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_resource_templates,
        on_read_resource=handlers.read_resource,
    )
    extension = TasksExtension(tools, backend)
    server.extensions[extension.identifier] = extension.settings()
    call_tool = compose_tool_call_handler([extension], handlers.call_tool)
    server.add_request_handler("tools/call", CallToolRequestParams, call_tool)
    server.add_request_handler("server/discover", RequestParams, handlers.discover(server))
    for method in extension.methods():
        server.add_request_handler(method.method, method.params_type, method.handler)
    return server


class Handlers:
    """One method for each request of the protocol."""

    def __init__(self, tools: AgentTools, resources: JobResources) -> None:
        self._tools = tools
        self._resources = resources

    async def list_tools(self, ctx: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        """`tools/list`: needs no Temporal."""
        return ListToolsResult(tools=self._tools.published(with_tasks=declares_tasks(ctx)))

    def discover(self, server: Server[Any]) -> Callable[[Context, RequestParams | None], Awaitable[DiscoverResult]]:
        """`server/discover` of that server: a client that follows tasks is told of the one tool that makes them."""

        async def discover(ctx: Context, _: RequestParams | None) -> DiscoverResult:
            return DiscoverResult(
                supported_versions=list(MODERN_PROTOCOL_VERSIONS),
                capabilities=server.get_capabilities(protocol_version=ctx.protocol_version),
                instructions=_INSTRUCTIONS_WITH_TASKS if declares_tasks(ctx) else _INSTRUCTIONS,
            )

        return discover

    async def call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
        """`tools/call`."""
        if params.name not in self._tools:
            raise MCPError(INVALID_PARAMS, f"There is no tool {params.name[:80]!r}.")
        result = await self._tools.call(params.name, params.arguments, _caller(ctx, params))
        if isinstance(result, InputRequiredResult) or ctx.protocol_version >= LINKS_SINCE:
            return result
        return result.model_copy(update={"content": [part for part in result.content if part.type != "resource_link"]})

    async def list_resources(self, _: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
        """`resources/list`."""
        return ListResourcesResult(resources=await self._resources.recent())

    async def list_resource_templates(
        self, _: Context, __: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """`resources/templates/list`."""
        return ListResourceTemplatesResult(resource_templates=TEMPLATES)

    async def read_resource(self, _: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """`resources/read`."""
        return ReadResourceResult(contents=[await self._resources.read(params.uri)])


def _caller(ctx: Context, params: CallToolRequestParams) -> Caller:
    reported = -1.0

    async def report(seconds: float, line: str) -> None:
        nonlocal reported
        # The protocol requires progress to grow with each notification; two changes may fall on the same tenth of a
        # second.
        reported = max(seconds, reported + 0.001)
        await ctx.session.report_progress(reported, message=line)

    async def ask(form: ElicitRequestFormParams) -> ElicitResult:
        return await ctx.session.elicit_form(form.message, form.requested_schema, ctx.request_id)

    # From 2026-07-28 on servers send no requests: a call is answered with them, and repeated with the answers.
    is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    return Caller(
        report,
        wants_progress="progress_token" in (ctx.meta or {}),
        name=client_name(ctx),
        ask=ask if shows_forms(ctx) and not is_modern and ctx.session.can_send_request else None,
        repeats_calls=shows_forms(ctx) and is_modern,
        repeated=_repeated(params) if is_modern and params.request_state is not None else None,
    )


def shows_forms(ctx: Context) -> bool:
    """Whether the client shows its user forms."""
    declared = ctx.session.client_capabilities.elicitation if ctx.session.client_capabilities else None
    return declared is not None and (declared.form is not None or declared.url is None)


def _repeated(params: CallToolRequestParams) -> RepeatedCall:
    responses = {
        key: response.model_dump(by_alias=True, mode="json") for key, response in (params.input_responses or {}).items()
    }
    try:
        return RepeatedCall.of(params.request_state or "", responses)
    except ValueError:
        raise MCPError(INVALID_PARAMS, "requestState is not what this server has given.") from None

"""Tools of MCP servers in a run: listed once, at its start, and the same from then on.

History has their names, and hashes over what their servers say of them; what they are is known to the sessions of each
worker. A tool whose hash is another one by now is not the one that the run began with, and is not called.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from temporalio import activity

from durable_responses.activities.failures import invalid_input, mcp_server_failed
from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.inputs import InputError
from durable_responses.activities.messages import (
    LeftOutTool,
    ListedTools,
    ListTools,
    McpSession,
    PinnedTool,
)
from durable_responses.mcp_tools.calls import McpTool
from durable_responses.mcp_tools.hosted import hosted_tool
from durable_responses.mcp_tools.names import api_name, is_chosen, matching_nothing, named_exactly
from durable_responses.mcp_tools.sessions import (
    NOBODY,
    NOTHING,
    Caller,
    Given,
    Listing,
    ServerError,
    ServerTool,
    Sessions,
)
from durable_responses.nearest_name import did_you_mean
from durable_responses.responses_api.models import FunctionTool
from durable_responses.responses_api.redaction import redact
from durable_responses.tools.approvals import Action, Approvals, said_of
from durable_responses.tools.registry import ToolError

MOST_TOOLS = 128  # of MCP servers in one run: more functions the API does not take
_MOST_LEFT_OUT = 20
_LONGEST_REASON = 300  # characters
_CHANGED = "its MCP server has changed it since this run began"
_ANYTHING = {"type": "object", "properties": {}, "additionalProperties": True}


class ToolListActivities:
    """The activity that a run with MCP servers begins with."""

    def __init__(self, sessions: Sessions, approvals: Approvals | None = None, queue: str | None = None) -> None:
        """`approvals`: the worker's rules. `queue`: the one that only this worker serves."""
        self._sessions = sessions
        self._queue = queue
        self._approvals = approvals

    @activity.defn
    async def list_tools(self, wanted: ListTools) -> ListedTools:
        """The tools that a run is offered. Raises `ApplicationError`: retryable while a server cannot be used."""
        async with Heartbeats():
            if activity.info().attempt == 1:  # nobody has told this worker that an earlier run with this id has ended
                await self._sessions.close_run(activity.info().workflow_id or "")
            tools: list[PinnedTool] = []
            left_out: list[LeftOutTool] = []
            hosted: dict[str, list[str]] = {}
            of_run: dict[str, McpSession] = {}
            for server in wanted.servers:
                if self._is_hosted(server):
                    hosted[server] = self._allowed(server, wanted)
                    continue
                listing = await self._listing(server)
                if self._sessions.is_of_run(server):
                    of_run[server] = McpSession(id=listing.session, queue=self._queue)
                if missing := matching_nothing(server, listing.tools, wanted.tools):
                    near = did_you_mean(missing[0].split(".", 1)[1], list(listing.tools))
                    raise invalid_input(InputError("tools", f"no tool of {server} fits {missing[0]!r}.{near}"))
                for tool in listing.tools.values():
                    if not is_chosen(server, tool.name, wanted.tools):
                        continue
                    if (reason := why_not(tool)) is not None:
                        left_out.append(LeftOutTool(server=server, tool=tool.name[:128], reason=reason))
                    elif (twin := pinned(tool)).name in {each.name for each in tools}:
                        reason = f"another tool is called {twin.name}, too"
                        left_out.append(LeftOutTool(server=server, tool=tool.name[:128], reason=reason))
                    else:
                        tools.append(twin)
        if len(tools) > MOST_TOOLS:
            problem = f"{len(tools):,} tools of MCP servers, more than {MOST_TOOLS}: choose some, as in `github.get_*`"
            raise invalid_input(InputError("tools", problem))
        return ListedTools(
            tools=tools, left_out=left_out[:_MOST_LEFT_OUT] or None, hosted=hosted or None, sessions=of_run or None
        )

    def _is_hosted(self, server: str) -> bool:
        self._check(server)
        return self._sessions.configuration_of(server).hosted

    def _allowed(self, server: str, wanted: ListTools) -> list[str]:
        try:
            allowed = named_exactly(server, wanted.tools)
        except ValueError as error:
            raise invalid_input(InputError("tools", str(error))) from None
        configured = self._sessions.configuration_of(server)
        if not allowed and any(known.approval is Action.DENY for known in configured.tools.values()):
            problem = (
                f"name those of {server} that are wanted: its entry denies some, and the provider offers all others"
            )
            raise invalid_input(InputError("tools", problem))
        tool = hosted_tool(server, configured, allowed)
        for rules in (self._approvals, wanted.approvals):
            if rules is not None and (action := said_of(tool, rules)) is not Action.ALLOW:
                problem = f"approvals say {action} for {server}, whose entry lets the provider call it unasked"
                raise invalid_input(InputError("mcp_servers", problem))
        return allowed

    async def _listing(self, server: str) -> Listing:
        self._check(server)
        try:
            return await self._sessions.listing(server, activity.info().workflow_id)
        except ServerError as error:
            raise mcp_server_failed(redact(str(error))) from None

    def _check(self, server: str) -> None:
        if server not in self._sessions.names:
            known = ", ".join(self._sessions.names) or "none"
            near = did_you_mean(server, self._sessions.names)
            raise invalid_input(InputError("mcp_servers", f"there is no server {server!r}; there are: {known}.{near}"))


def pinned(tool: ServerTool) -> PinnedTool:
    """A tool as history has it."""
    return PinnedTool(
        name=api_name(tool.server, tool.name),
        server=tool.server,
        tool=tool.name,
        hash=tool.hash,
        effect=tool.treatment.effect,
        approval=tool.treatment.approval,
        strict=False if tool.offer is not None and not tool.offer.strict else None,
    )


def why_not(tool: ServerTool) -> str | None:
    """Why a tool is not offered; None if it is."""
    if tool.reason is not None:
        return tool.reason[:_LONGEST_REASON]
    return "the configuration denies it" if tool.treatment.approval is Action.DENY else None


async def offered_by_servers(sessions: Sessions, hashes: Mapping[str, Mapping[str, str]]) -> list[FunctionTool]:
    """The tools of MCP servers that a run began with, as a create has them.

    One that is not what it was is offered by its name alone: the model is told so when it calls it.
    """
    offered = []
    for server, tools in hashes.items():
        listed: Mapping[str, ServerTool] = {}
        why = _CHANGED
        try:
            listed = (await sessions.listing(server)).tools
        except ServerError as error:
            why = redact(str(error))
        for name, known in tools.items():
            tool = listed.get(name)
            if tool is not None and tool.offer is not None and tool.hash == known:
                offered.append(
                    FunctionTool(
                        name=api_name(server, name),
                        description=tool.description,
                        parameters=tool.offer.parameters,
                        strict=tool.offer.strict,
                    )
                )
            else:
                text = f"(This tool cannot be called now: {why.rstrip('.')}.)"
                offered.append(
                    FunctionTool(name=api_name(server, name), description=text, parameters=_ANYTHING, strict=False)
                )
    return offered


def hosted_by_provider(sessions: Sessions, servers: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The hosted tools that stand for MCP servers. Raises `ApplicationError` where one cannot be used."""
    try:
        return [hosted_tool(name, sessions.resolved(name), allowed) for name, allowed in servers.items()]
    except ServerError as error:
        raise mcp_server_failed(redact(str(error))) from None


async def called_tool(
    sessions: Sessions,
    known: PinnedTool,
    told: Callable[[str], None],
    given: Given = NOTHING,
    caller: Caller = NOBODY,
) -> McpTool:
    """The tool that a call is for. Raises `ToolError` if it is not there, or not what it was when its run began."""
    tool = (await sessions.listing(known.server, caller.run)).tools.get(known.tool)
    if tool is None:
        raise ToolError(f"{known.name} is not there any more: its MCP server has no tool {known.tool!r}.")
    if tool.hash != known.hash or tool.offer is None:
        raise ToolError(f"{known.name} cannot be called: {_CHANGED}.")
    server = sessions.configuration_of(known.server)
    timeout = server.override_of(known.tool).timeout or server.timeout
    return McpTool(sessions, tool, known.name, known.effect, timeout, told, given, caller)

"""The tools of MCP servers, as `tools` and `doctor` show them: the servers are started for it, and ended."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from durable_responses.activities.messages import LeftOutTool
from durable_responses.cli.tools import ToolDescription
from durable_responses.health.checks import Check, note, ok

if TYPE_CHECKING:
    from durable_responses.activities.messages import PinnedTool
    from durable_responses.mcp_tools.oauth import Login
    from durable_responses.mcp_tools.sessions import Sessions
    from durable_responses.settings import Settings

_SHOWN = 5
_LOGIN_SECONDS = 330.0


@dataclass
class ServerTools:
    """What one server has: the tools that it offers, those that are left out, and why there are none."""

    server: str
    offered: list[ToolDescription] = field(default_factory=list)
    left_out: list[LeftOutTool] = field(default_factory=list)
    problems: Sequence[str] = ()
    error: str | None = None

    @property
    def notices(self) -> list[str]:
        """What is to be said of it beside its tools, a sentence each."""
        said = [self.error] if self.error else []
        said += [f"The MCP server {self.server!r}: {problem}." for problem in self.problems]
        return said + [f"{each.server}.{each.tool} is not offered: {each.reason}." for each in self.left_out]


def sessions_of(settings: "Settings", login: "Login | None" = None) -> "AbstractAsyncContextManager[Sessions]":
    """Sessions with the servers that are configured; `login`: they are there to log in."""
    from durable_responses.mcp_tools.sessions import Sessions
    from durable_responses.worker.dependencies import surroundings_of_servers

    servers = settings.mcp_servers.enabled
    if login is not None:  # a person takes their time
        patient = {"start_timeout": _LOGIN_SECONDS}
        servers = {name: server.model_copy(update=patient) for name, server in servers.items()}
    surroundings = replace(surroundings_of_servers(settings), login=login)
    return Sessions(servers, settings.resolved_server, surroundings=surroundings)


async def tools_of_servers(settings: "Settings") -> list[ServerTools]:
    """The tools of all servers, which are asked side by side."""
    if not settings.mcp_servers.enabled:
        return []
    async with sessions_of(settings) as sessions:
        return list(await asyncio.gather(*(_tools_of(name, sessions) for name in sessions.names)))


async def _tools_of(name: str, sessions: "Sessions") -> ServerTools:
    from durable_responses.activities.tool_lists import pinned, why_not
    from durable_responses.mcp_tools.sessions import ServerError

    if sessions.configuration_of(name).hosted:
        return ServerTools(name, problems=["the provider speaks to it, and lists its tools"])
    try:
        listing = await sessions.listing(name)
    except ServerError as error:
        return ServerTools(name, error=str(error))
    found = ServerTools(name, problems=listing.problems)
    configured = sessions.configuration_of(name)
    for tool in listing.tools.values():
        reason = why_not(tool)
        if reason is not None or tool.offer is None:
            found.left_out.append(LeftOutTool(server=name, tool=tool.name, reason=reason or ""))
            continue
        found.offered.append(
            ToolDescription(
                name=pinned(tool).name,
                effect=tool.treatment.effect,
                timeout=configured.override_of(tool.name).timeout or configured.timeout,
                module=f"MCP server {name}",
                description=tool.description,
                parameters=tool.offer.parameters,
                tool=tool.name,
                approval=tool.treatment.approval,
                strict=tool.offer.strict,
            )
        )
    return found


async def tool_named(name: str, sessions: "Sessions") -> "PinnedTool | None":
    """The tool of a server that the model calls so. Raises `ServerError`."""
    from durable_responses.activities.tool_lists import pinned

    server = name.split("__", 1)[0]
    if server not in sessions.names:
        return None
    tools = map(pinned, (await sessions.listing(server)).tools.values())
    return next((each for each in tools if each.name == name), None)


def check_servers(found: Sequence[ServerTools]) -> list[Check]:
    """How each server is."""
    return [_check(each) for each in found]


def _check(found: ServerTools) -> Check:
    name = f"MCP server {found.server}"
    if found.error is not None:
        return note(name, found.error.rstrip("."), "mend its entry in AGENT_MCP_SERVERS; runs that do not use it go on")
    loose = sum(not each.strict for each in found.offered)
    told = f"{len(found.offered)} tool{'' if len(found.offered) == 1 else 's'}" + (
        f", {loose} of them not strict" if loose else ""
    )
    left_out = [f"{each.tool} ({each.reason})" for each in found.left_out[:_SHOWN]]
    more = [f"{len(found.left_out) - _SHOWN} more"] if len(found.left_out) > _SHOWN else []
    said = [told, *found.problems, *([f"not offered: {', '.join([*left_out, *more])}"] if left_out else [])]
    return ok(name, "; ".join(said))

"""The tools and MCP servers that a run asks for, checked before it is started, where those of its worker are known."""

from typing import TYPE_CHECKING

from durable_responses.cli.output import UsageError
from durable_responses.nearest_name import did_you_mean

if TYPE_CHECKING:
    from durable_responses.settings import Settings
    from durable_responses.workflows.contract import AgentInput


def check_names(request: "AgentInput", settings: "Settings") -> None:
    """Raises `UsageError` for a tool or an MCP server that the worker of the run does not have.

    Known is what the embedded stack's worker has that was, or will be, started with these settings. On a Temporal
    server that is configured, and of a worker with others, nothing is known: then the run itself says what is wrong.
    """
    from durable_responses.mcp_tools.names import servers_of

    servers = servers_of(request.mcp_servers, request.tools)
    tools = _function_tools(request)
    if not (tools or servers) or not _is_known(settings):
        return
    for server in servers:
        _check("MCP server", server, list(settings.mcp_servers.enabled))
    if tools and (known := _tools_of(settings)) is not None:
        for name in tools:
            _check("tool", name, known)


def _function_tools(request: "AgentInput") -> list[str]:
    of_the_caller = {tool.name for tool in request.caller_tools or []}
    # With a dot it is a tool of an MCP server, whose list only the server knows.
    return [name for name in request.tools or [] if "." not in name and name not in of_the_caller]


def _is_known(settings: "Settings") -> bool:
    from durable_responses.embedded import running_project
    from durable_responses.settings import configured_address

    if configured_address():
        return False
    running = running_project(settings)
    return running is None or running.settings == settings.fingerprints()


def _tools_of(settings: "Settings") -> list[str] | None:
    """The names of the tools; None if the worker could not load them, which it says itself."""
    from durable_responses.cli.tools import registry_of
    from durable_responses.tools.registry import RegistryError

    try:
        return registry_of(settings).names
    except RegistryError:
        return None


def _check(kind: str, name: str, known: list[str]) -> None:
    if name not in known:
        there_are = ", ".join(sorted(known)) or "none"
        raise UsageError(f"There is no {kind} {name!r}; there are: {there_are}.{did_you_mean(name, known)}")

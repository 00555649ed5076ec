"""MCP servers that the provider speaks to itself, as its tool `mcp`. No I/O."""

from collections.abc import Sequence
from typing import Any

from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.tools.approvals import Action


def hosted_tool(name: str, server: McpServer, allowed: Sequence[str]) -> dict[str, Any]:
    """The hosted tool that stands for a server, whose variables are resolved; `allowed`: its tools, none for all.

    The provider asks before each call, unless the configuration allows them all: then there is nobody to ask.
    """
    tool: dict[str, Any] = {"type": "mcp", "server_label": name, "server_url": server.url}
    if server.headers:
        tool["headers"] = dict(server.headers)
    if allowed:
        tool["allowed_tools"] = [each for each in allowed if server.override_of(each).approval is not Action.DENY]
    tool["require_approval"] = "never" if server.approval is Action.ALLOW else "always"
    return tool

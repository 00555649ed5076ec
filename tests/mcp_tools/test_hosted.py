"""MCP servers that the provider speaks to."""

from typing import Any

import pytest

from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.hosted import hosted_tool

URL = "https://h/mcp"


@pytest.mark.parametrize(
    ("entry", "allowed", "tool"),
    [
        ({}, [], {"require_approval": "always"}),
        ({"approval": "ask"}, ["a"], {"allowed_tools": ["a"], "require_approval": "always"}),
        ({"approval": "allow", "headers": {"A": "b"}}, [], {"headers": {"A": "b"}, "require_approval": "never"}),
        (
            {"tools": {"b": {"approval": "deny"}}},
            ["a", "b"],
            {"allowed_tools": ["a"], "require_approval": "always"},
        ),
    ],
)
def test_a_server_is_passed_to_the_provider(entry: dict[str, Any], allowed: list[str], tool: dict[str, Any]) -> None:
    """The provider asks before each call, unless the entry allows all of them."""
    server = McpServer.model_validate({"url": URL, "hosted": True, **entry})
    assert hosted_tool("desk", server, allowed) == {"type": "mcp", "server_label": "desk", "server_url": URL, **tool}

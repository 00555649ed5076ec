"""What a run with MCP servers begins with."""

import sys
from pathlib import Path

from durable_responses.activities.messages import ListTools
from durable_responses.activities.tool_lists import ToolListActivities
from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.sessions import Caller, Sessions
from tests.support.attempts import WORKFLOW_ID, Attempt

PROJECT = Path(__file__).parents[2]


async def unheard(progress: float, total: float | None, message: str | None) -> None:
    """Nobody wants to know."""


async def test_a_run_has_no_session_of_an_earlier_one_with_its_id(tmp_path: Path) -> None:
    """That one may have ended only now."""
    arguments = ["-m", "tests.support.mcp_tool_server", str(tmp_path)]
    desk = McpServer.model_validate(
        {"command": sys.executable, "args": arguments, "cwd": str(PROJECT), "session": "run"}
    )
    async with Sessions({"desk": desk}) as sessions:
        activities = ToolListActivities(sessions)
        for _ in range(2):
            listed = await Attempt().run(activities.list_tools, ListTools(servers=["desk"]))
            assert listed.sessions is not None
            caller = Caller(WORKFLOW_ID, listed.sessions["desk"].id)
            await sessions.call("desk", "add", {"a": 1, "b": 2}, unheard, caller=caller)
    assert len(set((tmp_path / "add").read_text().splitlines())) == 2

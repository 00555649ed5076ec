"""What docs/mcp.md says is so: its session, its tools and their arguments."""

import json
import re
import shutil
from typing import Any

from durable_responses.mcp_server.arguments import AgentArguments
from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import StdioServer
from tests.support.processes import CHECKOUT

PAGE = (CHECKOUT / "docs" / "mcp.md").read_text()


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def exchanges() -> list[tuple[str, dict[str, Any], str]]:
    """The calls of the session: tool, arguments, and the text that came back."""
    session = section("What a session looks like").split("```text\n")[1].split("```")[0]
    calls = re.findall(r"^> (\w+) (\{[^\n]*\})\n\n(.*?)(?=\n\n> |\n\n\(|\Z)", session, re.MULTILINE | re.DOTALL)
    return [(tool, json.loads(arguments), text.strip()) for tool, arguments, text in calls]


def likeness(text: str) -> str:
    """A text without what differs from run to run: ids, times, counts, and where the file was saved."""
    text = re.sub(r"^saved: .*$", "saved: …", text, flags=re.MULTILINE)
    return re.sub(r"\d+(,\d+)*", "0", re.sub(r"([a-z]-|resp_)[0-9a-f]{32,}", r"\1…", text))


async def test_the_session_of_the_page_goes_as_it_says(deployment: Deployment) -> None:
    """But for the crash in its middle, which tests/mcp_server/test_outages.py has."""
    root = deployment.root / "fernwick"
    shutil.copytree(CHECKOUT / "workspace", root)
    started, looked, ended, listed = exchanges()
    queue = "agents-of-the-page"
    settings = {"AGENT_WORKSPACE": str(root), "AGENT_TASK_QUEUE": queue, "AGENT_OUTPUT_ROOT": str(root)}
    server = StdioServer(deployment.settings(**settings), deployment.folder)
    async with deployment.worker(deployment.folder / "of-the-page", **settings), server.session() as session:
        start = await session.call(started[0], **started[1])
        assert likeness(start.text) == likeness(started[2])
        job_id = start["job_id"]
        while not (look := await session.call(looked[0], **{**looked[1], "job_id": job_id}))["progress"]["iteration"]:
            pass
        parts = likeness(look.text).split("\n\n")
        assert parts[-1] == likeness(looked[2]).split("\n\n")[-1]
        assert parts[0].startswith("Job what-is-still-open-… is running, iteration 0 of 0, ")
        await session.ended(job_id)
        end = await session.call(ended[0], **{**ended[1], "job_id": job_id})
        assert likeness(end.text) == likeness(ended[2])
        # Others of this server may still be open, and open ones come first.
        newest = await session.call(listed[0], **{**listed[1], "limit": 50})
        line = next(line for line in newest.text.splitlines() if job_id in line)
        assert likeness(line) == likeness(listed[2])


def test_every_argument_is_in_the_table() -> None:
    table = section("Tools").split("| argument | default | |")[1]
    named = {name for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == AgentArguments.model_fields.keys()

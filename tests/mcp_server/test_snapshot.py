"""The door answers as the server itself would."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

from durable_responses.mcp_server.door import SNAPSHOT
from durable_responses.mcp_server.first_answers import FirstAnswers, known_results, line_of, read
from durable_responses.mcp_server.snapshot import converse, render, requests, server_with
from durable_responses.settings import Settings

STORED = Path(SNAPSHOT).read_text(encoding="utf-8")


async def test_the_snapshot_is_what_the_server_answers() -> None:
    """Where it is not: `python -m durable_responses.mcp_server.snapshot`."""
    assert await render() == STORED


@pytest.mark.parametrize("revision", KNOWN_PROTOCOL_VERSIONS)
@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, {}),
        ({"AGENT_MODEL": "", "AGENT_MCP_WAIT": ""}, {}),
        ({"AGENT_MODEL": 'a "model" \\ ünï', "agent_mcp_wait": "2M"}, {"model": 'a "model" \\ ünï', "mcp_wait": 120}),
        ({"AGENT_MCP_WAIT": " 90 "}, {"mcp_wait": 90}),
    ],
    ids=["no settings", "empty settings", "both settings", "a bare number"],
)
async def test_the_first_requests_are_answered_as_by_the_server(
    revision: str, environment: dict[str, str], settings: dict[str, str | int]
) -> None:
    """The settings are those that the environment says: a model, and how many seconds the tool waits."""
    answers = FirstAnswers(known_results(STORED, environment))
    lines = [line_of(request) for request in requests(revision)]
    server = server_with(
        Settings(
            model=settings.get("model", Settings.model_fields["model"].default),
            mcp_wait=timedelta(seconds=int(settings.get("mcp_wait", 45))),
        )
    )
    given = [answers.answer(read(line)) for line in lines]
    assert [answer and json.loads(answer) for answer in given] == await converse(server, lines)


@pytest.mark.parametrize("wait", ["0", "45.5s", "1e3", "soon", "-1", "9999999"])
def test_tools_are_not_listed_where_a_setting_is_not_understood(wait: str) -> None:
    """The server may refuse it, or say what it makes of it."""
    answers = FirstAnswers(known_results(STORED, {"AGENT_MCP_WAIT": wait}))
    first, then = (answers.answer(read(line_of(request))) for request in requests("2025-11-25"))
    assert first is not None
    assert then is None


def test_tools_are_not_listed_with_a_model_that_is_not_text() -> None:
    """Bytes of the environment that are not UTF-8."""
    answers = FirstAnswers(known_results(STORED, {"AGENT_MODEL": "\udcff"}))
    assert [answers.answer(read(line_of(request))) is None for request in requests("2025-11-25")] == [False, True]

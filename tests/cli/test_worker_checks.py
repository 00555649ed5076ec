"""What a run asks for and its worker would refuse: nothing is started for it."""

import json

import pytest

from tests.support.shell import UNAVAILABLE, USAGE, Shell


@pytest.fixture
def alone(bare: Shell) -> Shell:
    """A shell in which nothing is configured and nothing runs."""
    del bare.env["TEMPORAL_ADDRESS"]
    return bare


@pytest.mark.parametrize("command", ["run", "start"])
async def test_a_tool_that_there_is_not_is_wrong_usage_and_starts_nothing(alone: Shell, command: str) -> None:
    done = await alone.run(command, "Count.", "--tool", "read_file", "--tool", "lst_files")
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.startswith("There is no tool 'lst_files'; there are: fetch_url, list_files,")
    assert "Did you mean 'list_files'?" in done.err
    assert not (alone.folder / "state").exists()


async def test_tools_of_the_users_own_are_known(alone: Shell) -> None:
    (alone.folder / "my_tools.py").write_text(
        "from durable_responses import Effect, tool\n\n\n"
        "@tool(effect=Effect.PURE)\ndef count_words(text: str) -> int:\n"
        '    """Count words."""\n    return len(text.split())\n'
    )
    alone.env["AGENT_TOOL_MODULES"] = "my_tools"
    done = await alone.run("start", "Count.", "--tool", "count_word")
    assert (done.code, "Did you mean 'count_words'?" in done.err) == (USAGE, True)


@pytest.mark.parametrize("words", [["--mcp-server", "githb"], ["--tool", "githb.get_*"]])
async def test_an_mcp_server_that_there_is_not_is_wrong_usage(alone: Shell, words: list[str]) -> None:
    servers = {"mcpServers": {"github": {"command": "github-server"}}}
    (alone.folder / "servers.json").write_text(json.dumps(servers))
    alone.env["AGENT_MCP_SERVERS"] = "servers.json"
    done = await alone.run("start", "Count.", *words)
    problem = "There is no MCP server 'githb'; there are: github. Did you mean 'github'?"
    assert (done.code, done.err.startswith(problem)) == (USAGE, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--file", "plan.md", "--file", "noise.dat"], "--file 'noise.dat' is neither UTF-8 text nor an image"),
        (["--save-folder", "../elsewhere"], "--save-folder is outside /"),
    ],
)
async def test_a_file_or_folder_that_cannot_be_used_is_wrong_usage(alone: Shell, words: list[str], told: str) -> None:
    (alone.folder / "plan.md").write_text("A plan.")
    (alone.folder / "noise.dat").write_bytes(b"\xff\xfe\x00")
    done = await alone.run("start", "Read.", *words)
    assert (done.code, done.out, done.err.startswith(told)) == (USAGE, "", True)
    assert not (alone.folder / "state").exists()


async def test_what_a_worker_elsewhere_offers_is_not_known(bare: Shell) -> None:
    bare.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    assert (await bare.run("start", "Count.", "--tool", "theirs")).code == UNAVAILABLE

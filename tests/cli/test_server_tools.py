"""`tools` and `doctor` in a project with MCP servers."""

import asyncio
import json
import re
import sys
import urllib.request

import pytest

from durable_responses.settings import child_environment
from tests.support.processes import CHECKOUT, free_port, port_serves
from tests.support.shell import Shell

COMPLETED, FAILED, USAGE, UNAVAILABLE = 0, 1, 2, 5


@pytest.fixture
def project(bare: Shell) -> Shell:
    """A project with a server of tools that is trusted, one with a tool that cannot be offered, and a broken one."""
    folder = bare.folder / "project"
    (folder / "workspace").mkdir(parents=True)

    def server(module: str, *arguments: str) -> dict[str, object]:
        return {"command": sys.executable, "args": ["-m", f"tests.support.{module}", *arguments], "cwd": str(CHECKOUT)}

    servers = {
        "desk": {**server("mcp_tool_server", str(folder)), "trust": "annotations"},
        "huge": server("hostile_mcp_server", "huge-schema"),
        "broken": server("hostile_mcp_server", "ends-at-once"),
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    (folder / "durable-responses.toml").write_text('AGENT_MCP_SERVERS = "mcp.json"\n')
    env = child_environment(
        AGENT_STATE_FOLDER=str(bare.folder / "state"), OPENAI_API_KEY=None, AGENT_TRUSTED_PROJECTS=str(folder)
    )
    return Shell(folder, env, bare.jobs)


async def test_tools_of_servers_are_listed_and_those_that_are_not_offered_are_named(project: Shell) -> None:
    done = await project.run("tools", timeout=60)
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert ["desk__add", "pure", "60 s", "MCP server desk", "Add two numbers."] in rows
    assert ["huge__get", "once", "60 s", "MCP server huge", "Get it."] in rows
    assert "The MCP server 'broken' cannot be used: " in done.err
    assert "it says: there is no token." in done.err
    assert "huge.huge is not offered: its schema has 1,048," in done.err
    assert done.code == COMPLETED


async def test_json_has_what_the_model_gets(project: Shell) -> None:
    told = (await project.run("tools", "--json", timeout=60)).json
    found = {each["name"]: each for each in told["tools"]}
    greet = found["desk__greet"]
    assert (greet["tool"], greet["approval"], greet["strict"]) == ("greet", "allow", True)
    assert greet["parameters"]["required"] == ["name", "greeting"]
    assert [each["tool"] for each in told["left_out"]] == ["huge"]
    assert len(told["problems"]) == 1


async def test_a_tool_of_a_server_is_called(project: Shell) -> None:
    """What the model leaves out by null is left out."""
    done = await project.run("tools", "call", "desk__greet", '{"name": "Ada", "greeting": null}', timeout=60)
    assert (done.code, done.out) == (COMPLETED, "Hello, Ada!\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("desk__fail",), FAILED, "Error executing tool fail"),
        (("desk__ad",), USAGE, "There is no tool named 'desk__ad'"),
        (("desk__add", "{"), USAGE, "The arguments of desk__add are not valid JSON"),
        (("broken__get",), UNAVAILABLE, "The MCP server 'broken' cannot be used"),
    ],
)
async def test_a_call_that_comes_to_nothing_says_why(
    project: Shell, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = await project.run("tools", "call", *arguments, timeout=60)
    assert (done.code, done.out) == (code, "")
    assert told in done.err


async def test_doctor_tells_how_each_server_is(project: Shell) -> None:
    checks = {each["name"]: each for each in (await project.run("doctor", "--json", timeout=60)).json["checks"]}
    assert checks["MCP server broken"]["verdict"] == "note"
    assert "huge (its schema has" in checks["MCP server huge"]["found"]
    assert checks["MCP server desk"]["found"].startswith("18 tools")


async def test_the_servers_of_a_folder_that_nobody_trusts_are_not_started(project: Shell) -> None:
    unknown = Shell(project.folder, {**project.env, "AGENT_TRUSTED_PROJECTS": ""}, project.jobs)
    done = await unknown.run("tools")
    assert done.code == USAGE
    assert "AGENT_MCP_SERVERS would let programs of this folder run" in done.err


async def test_a_person_logs_in_to_a_server(project: Shell) -> None:
    """The address is printed, and whoever opens it has agreed."""
    folder, port = project.folder, free_port()
    entry = {"url": f"http://127.0.0.1:{port}/mcp"}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"desk": entry}}))
    serving = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.oauth_mcp_server", str(folder), str(port)), cwd=CHECKOUT
    )
    try:
        async with asyncio.timeout(60):
            while not port_serves(port):
                await asyncio.sleep(0.05)
            login = await project.spawn("tools", "login", "desk")
            assert login.stdout is not None
            while (address := re.search(rb"http://\S+/authorize\S+", await login.stdout.readline())) is None:
                pass
            await asyncio.to_thread(lambda: urllib.request.urlopen(address[0].decode()).read())
            assert b"Logged in to desk: 1" in await login.stdout.read()
            assert await login.wait() == COMPLETED
        assert "desk__add" in (await project.run("tools", timeout=60)).out
    finally:
        serving.kill()
        await serving.wait()


@pytest.mark.parametrize(
    ("server", "told"),
    [("desc", "There is no MCP server 'desc'. Did you mean 'desk'?"), ("desk", "is a program: nobody logs in to it")],
)
async def test_a_login_to_what_has_none_says_so(project: Shell, server: str, told: str) -> None:
    done = await project.run("tools", "login", server)
    assert done.code == USAGE
    assert told in done.err

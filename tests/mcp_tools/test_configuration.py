"""Which MCP servers there are, as people write it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from durable_responses.mcp_tools.configuration import McpServer, McpServers, Trust, UnresolvedError
from durable_responses.settings import Settings, SettingsError, child_environment
from durable_responses.tools.approvals import Action

CLAUDE_CODE = {
    "mcpServers": {
        "github": {
            "type": "http",
            "url": "https://api.githubcopilot.com/mcp/",
            "headers": {"Authorization": "Bearer ${GITHUB_TOKEN}"},
        },
        "fs": {"command": "npx", "args": ["-y", "server-filesystem", "${HOME:-/root}"], "env": {"LOG_LEVEL": "x"}},
    }
}
CURSOR = {"mcpServers": {"a": {"command": "a", "envFile": ".env", "autoApprove": ["x"], "disabled": True}}}
VS_CODE = {"servers": {"a": {"type": "stdio", "command": "a", "env": {"KEY": "${env:SECRET_KEY}"}}}, "inputs": []}
VS_CODE_SETTINGS = {"mcp": {"servers": {"a": {"command": "a", "args": ["--port", 8080], "env": {"DEBUG": True}}}}}
GEMINI = {"mcpServers": {"a": {"httpUrl": "https://h/mcp", "headers": {"X": 1}, "trust": False, "includeTools": ["x"]}}}
WINDSURF = {
    "mcpServers": {"a": {"serverUrl": "https://h/mcp", "oauth": {"clientId": "x"}}, "b": {"command": "b", "args": None}}
}
COPILOT = {"mcpServers": {"a": {"type": "local", "command": "a", "tools": ["*"]}}}
CODEX = {"mcp_servers": {"a": {"url": "https://h/", "bearer_token_env_var": "KEY", "env_http_headers": {"X": "Y"}}}}
ZED = {"context_servers": {"a": {"source": "custom", "command": "a", "args": [], "env": {}}}}
OPENCODE = {"$schema": "https://x/", "mcp": {"a": {"type": "local", "command": ["a", "b"], "environment": {"C": "d"}}}}
AMP = {"amp.mcpServers": {"a": {"command": "a"}}}
BARE = {"a": {"command": "a"}}


@pytest.mark.parametrize(
    "given",
    [
        *(CLAUDE_CODE, CURSOR, VS_CODE, VS_CODE_SETTINGS, GEMINI, WINDSURF, COPILOT),
        *(CODEX, ZED, OPENCODE, AMP, BARE),
    ],
)
def test_it_is_taken_as_other_clients_have_it(given: dict[str, Any]) -> None:
    """Fields of theirs alone are ignored."""
    servers = McpServers.model_validate(given).servers
    assert all(server.trust is Trust.NONE for server in servers.values())


def test_a_program_with_its_arguments_in_one_list_is_taken_where_its_client_has_it_so() -> None:
    server = McpServers.model_validate(OPENCODE).servers["a"]
    assert (server.command, server.args, server.env) == ("a", ["b"], {"C": "d"})


def test_headers_that_name_variables_are_taken() -> None:
    server = McpServers.model_validate(CODEX).servers["a"].resolved({"KEY": "k", "Y": "y"})
    assert server.headers == {"X": "y", "Authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("lists", "offered"),
    [
        ({"disabledTools": ["delete"]}, ["get", "put"]),
        ({"excludeTools": ["delete", "put"]}, ["get"]),
        ({"includeTools": ["get"]}, ["get"]),
        ({"enabled_tools": ["get", "put"], "disabled_tools": ["put"]}, ["get"]),
        ({"tools": ["get", "delete"]}, ["delete", "get"]),
        ({"tools": ["*"]}, ["delete", "get", "put"]),
        ({"tools": []}, ["delete", "get", "put"]),
        ({"disabledTools": ["delete"], "tools": {"delete": {"effect": "once"}}}, ["delete", "get", "put"]),
    ],
)
def test_what_another_client_does_not_offer_is_not_offered_here(lists: dict[str, Any], offered: list[str]) -> None:
    """A person has decided it there. What stands here of a tool goes before that."""
    server = McpServer.model_validate({"command": "x", **lists})
    known = {tool: server.override_of(tool).approval for tool in ("delete", "get", "put")}
    assert [tool for tool, approval in known.items() if approval is not Action.DENY] == offered


def test_a_disabled_server_is_not_used() -> None:
    assert McpServers.model_validate(CURSOR).enabled == {}
    assert McpServers.model_validate({"mcp_servers": {"a": {"command": "a", "enabled": False}}}).enabled == {}


def test_numbers_are_texts_as_programs_read_them() -> None:
    server = McpServers.model_validate(VS_CODE_SETTINGS).servers["a"]
    assert (server.args, server.env) == (["--port", "8080"], {"DEBUG": "true"})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"a": {}}, "give a command or a url"),
        ({"a": {"command": "x", "url": "http://h/"}}, "give a command or a url, not both"),
        ({"a": "npx server"}, 'must be an object such as {"command"'),
        ({"mcpServers": [{"command": "x"}]}, 'mcpServers: must be an object, such as {"github"'),
        ({"a": {"comand": "x"}}, "comand: there is no such field; command may be meant"),
        ({"a": {"command": "x", "aproval": "deny"}}, "aproval: there is no such field; approval may be meant"),
        ({"a": {"command": ["npx", "x"]}}, "must be the program alone; what follows it belongs into args"),
        ({"a": {"command": "npx", "args": "-y x"}}, 'must be a list of texts, such as ["-y", "some-server"]'),
        ({"a": {"command": "npx", "env": ["A=b"]}}, 'must be an object such as {"NAME": "value"}'),
        ({"a": {"command": "x", "trust": True}}, "true does not say what is trusted"),
        ({"a": {"command": "x", "timeout": 600000}}, "at most 86,400 seconds; some clients have milliseconds there"),
        ({"a": {"url": "https://h/", "oauth": "yes"}}, "must be an object with client_id, client_secret and issuer"),
        ({"a": {"url": "h/mcp"}}, "must be an address such as"),
        ({"a": {"url": "wss://h/mcp"}}, "must be an address such as"),
        ({"a": {"command": " "}}, "must be a program, such as npx"),
        ({"a": {"command": "x", "tools": {"get": "allow"}}}, 'must be an object such as {"effect": "pure"'),
        ({"mcp": {"a": {"args": ["x"]}}}, "give a command or a url"),
        ({"a.b": {"command": "x"}}, "'a.b': a server's name has"),
        ({"a": {"command": "x", "tools": {"get": {"efect": "pure"}}}}, "Extra inputs"),
        ({"a": {"command": "x", "trust": "yes"}}, "should be 'none' or 'annotations'"),
        ({"a": {"command": "x", "timeout": 0}}, "greater than 0"),
        ([], "must be an object"),
    ],
)
def test_what_cannot_be_used_is_named(given: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        McpServers.model_validate(given)


def test_variables_are_put_in() -> None:
    server = McpServer(
        command="${BIN}/x", args=["--key=${KEY}", "${NO:-default}"], env={"A": "${env:KEY}"}, cwd="${BIN}"
    )
    resolved = server.resolved({"BIN": "/bin", "KEY": "k"})
    assert (resolved.command, resolved.args) == ("/bin/x", ["--key=k", "default"])
    assert (resolved.env, resolved.cwd) == ({"A": "k"}, "/bin")
    assert server.references == {"BIN", "KEY", "NO"}


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UnresolvedError, match=r"^\$\{TOKEN\} is not set where the worker runs$"):
        McpServer(url="https://h/", headers={"A": "${TOKEN}"}).resolved({"TOKEN": ""})


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"command": "x", "env": {"K": "${input:key}"}}, "${input:key} stands for nothing here"),
        ({"type": "sse", "url": "https://h/sse"}, "it is of type sse, which is not spoken here"),
        ({"type": "websocket", "url": "https://h/"}, "it is of type websocket, which is not spoken here"),
        ({"command": "x", "env": {"K": "$MY_KEY"}}, "$MY_KEY stands for nothing here; write ${MY_KEY}"),
        ({"url": "https://h/", "headers": {"A": "Bearer $KEY"}}, "$KEY stands for nothing here; write ${KEY}"),
        ({"url": "${NO:-nonsense}"}, "its url is not an address such as https://host/mcp"),
        ({"url": "https://h/", "headers": {"X": "${NEWLINE}"}}, "headers: X holds characters that an HTTP header"),
    ],
)
def test_a_server_that_nobody_could_reach_is_told_before_it_is_tried(entry: dict[str, Any], problem: str) -> None:
    """The others can be used meanwhile."""
    with pytest.raises(UnresolvedError, match=re.escape(problem)):
        McpServer.model_validate(entry).resolved({"NEWLINE": "a\nb"})


def test_what_stands_for_a_secret_is_one() -> None:
    """Whatever a server sends back of them is masked."""
    given = {
        "a": {"url": "https://h/", "headers": {"Authorization": "Bearer ${TOKEN}", "X-Plain": "in-the-file"}},
        "b": {"command": "x", "env": {"API_KEY": "written-down", "LEVEL": "info"}, "args": ["${MY_SECRET}", "${HOME}"]},
    }
    secrets = McpServers.model_validate(given).secrets(
        {"TOKEN": "token-value", "MY_SECRET": "secret-value", "HOME": "/home/ada"}
    )
    assert set(secrets) == {"token-value", "in-the-file", "written-down", "secret-value"}


def test_a_secret_in_an_argument_or_an_address_is_one() -> None:
    args = ["--api-key", "after-it", "--token=behind-it", "--secret", "${MY_VALUE}", "--verbose", "not-a-secret"]
    given = {
        "a": {"command": "x", "args": args},
        "b": {"url": "https://ada:of%20adas-own@h.example/mcp?api_key=in-there&x=12345678"},
    }
    secrets = McpServers.model_validate(given).secrets({"MY_VALUE": "of-the-worker"})
    assert set(secrets) == {"after-it", "behind-it", "of-the-worker", "of adas-own", "in-there"}


# --- as a setting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mcp.json", "servers.toml"])
def test_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = json.dumps(CLAUDE_CODE) if name.endswith("json") else '[mcpServers.fs]\ncommand = "x"\n'
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("AGENT_MCP_SERVERS", str(tmp_path / name))
    assert "fs" in Settings.load().mcp_servers.enabled


def test_comments_and_last_commas_are_no_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors write them, and VS Code's own file has them."""
    text = """{
        // mine
        "servers": {"a": {"command": "x", "args": ["https://h/,]", "/* no comment */",], /* yes */ }, },
    }"""
    (tmp_path / "mcp.json").write_text(text)
    monkeypatch.setenv("AGENT_MCP_SERVERS", str(tmp_path / "mcp.json"))
    assert Settings.load().mcp_servers.servers["a"].args == ["https://h/,]", "/* no comment */"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("[]", "must be an object such as"),
        ('{"a": }', "expected value at line 1"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "'a' stands there twice; one of them"),
        ('{"a": {"command": "x", /* old */ "command": "y"}}', "'command' stands there twice"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    (tmp_path / "mcp.json").write_text(text)
    monkeypatch.setenv("AGENT_MCP_SERVERS", str(tmp_path / "mcp.json"))
    with pytest.raises(SettingsError, match=rf"mcp\.json is not valid: {problem}"):
        Settings.load()


@pytest.mark.parametrize("name", ["mcp.json", "servers.toml"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = '{"a": {"command": "x"}}' if name.endswith("json") else '[mcpServers.a]\ncommand = "x"\n'
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    monkeypatch.setenv("AGENT_MCP_SERVERS", str(tmp_path / name))
    assert "a" in Settings.load().mcp_servers.servers


def test_a_server_that_cannot_be_used_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"fs": {"args": []}}}')
    monkeypatch.setenv("AGENT_MCP_SERVERS", str(tmp_path / "mcp.json"))
    with pytest.raises(SettingsError, match=r"mcp\.json is not valid: servers\.fs: give a command or a url"):
        Settings.load()


def test_the_value_of_a_header_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MCP_SERVERS", '{"a": {"url": "https://h/", "headers": {"X-Key": "very-secret"}}}')
    settings = Settings.load()
    assert "very-secret" not in repr(settings)
    assert "very-secret" in settings.secrets()


@pytest.mark.parametrize("heading", ["mcpServers.fs", "AGENT_MCP_SERVERS.fs"])
def test_servers_stand_in_the_project_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heading: str) -> None:
    """Under the name that other clients have for them, too; relative folders are the project's."""
    (tmp_path / "durable-responses.toml").write_text(f'AGENT_MODEL = "m"\n\n[{heading}]\ncommand = "x"\ncwd = "sub"\n')
    monkeypatch.setenv("AGENT_PROJECT_FILE", str(tmp_path / "durable-responses.toml"))
    settings = Settings.load()
    server = settings.mcp_servers.enabled["fs"]
    assert settings.resolved_server(server).cwd == str(tmp_path / "sub")
    assert json.loads(child_environment()["AGENT_MCP_SERVERS"])["fs"]["command"] == "x"


def test_a_mistake_in_the_project_file_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "durable-responses.toml").write_text('AGENT_MODEL = "m"\n[mcpServers.fs]\nargs = ["x"]\n')
    monkeypatch.setenv("AGENT_PROJECT_FILE", str(tmp_path / "durable-responses.toml"))
    with pytest.raises(
        SettingsError, match=r"toml, line 2: AGENT_MCP_SERVERS cannot be used: .*give a command or a url"
    ):
        Settings.load()

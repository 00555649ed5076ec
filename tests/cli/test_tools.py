"""`tools` and `tools call`, typed in a project that has tools of its own."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from durable_responses.settings import child_environment
from tests.support.processes import CHECKOUT
from tests.support.shell import COMPLETED, FAILED, UNAVAILABLE, USAGE, Shell

PAGE = (CHECKOUT / "docs" / "tools.md").read_text()
MODULE = '''
import asyncio, os, time
from durable_responses import Effect, ToolContext, tool
from durable_responses.tools.registry import ToolError

print("a module that prints")


@tool(effect=Effect.PURE, timeout=10)
def count_words(text: str) -> int:
    """Count the words of a text. Punctuation is none."""
    return len(text.split())


@tool(effect=Effect.IDEMPOTENT)
async def whereabouts(context: ToolContext) -> dict[str, str]:
    """Where this is."""
    return {"workspace": str(context.workspace), "key": context.idempotency_key}


@tool(effect=Effect.PURE)
def chatty() -> str:
    """Talk while it works."""
    print("by print")
    os.system("echo by a program")
    return os.environ.get("OPENAI_API_KEY", "no key")


@tool(effect=Effect.ONCE, timeout=0.1)
def order() -> str:
    """Order something."""
    time.sleep(30)


@tool(effect=Effect.PURE, timeout=0.1)
async def wait() -> None:
    """Wait."""
    await asyncio.sleep(30)


@tool(effect=Effect.PURE)
async def take_long() -> None:
    """Take long."""
    await asyncio.sleep(30)


@tool(effect=Effect.PURE)
def refuse() -> None:
    """Refuse."""
    raise ToolError("Say please.")


@tool(effect=Effect.PURE)
def crash() -> None:
    """Crash."""
    raise RuntimeError("that was too much")


@tool(effect=Effect.PURE)
def leave() -> None:
    """Leave."""
    raise SystemExit(3)
'''


@pytest.fixture
def project(bare: Shell) -> Shell:
    """A project without a key; commands are typed in one of its folders."""
    folder = bare.folder / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "workspace").mkdir()
    (folder / "my_tools.py").write_text(MODULE)
    (folder / "durable-responses.toml").write_text('AGENT_TOOL_MODULES = ["my_tools"]\n')
    env = child_environment(AGENT_STATE_FOLDER=str(bare.folder / "state"), OPENAI_API_KEY=None)
    return Shell(folder / "src", env, bare.jobs)


async def test_a_pipe_gets_name_effect_time_limit_module_and_first_sentence(project: Shell) -> None:
    done = await project.run("tools")
    assert (done.code, done.err) == (COMPLETED, "a module that prints\n")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert ["count_words", "pure", "10 s", "my_tools", "Count the words of a text."] in rows
    assert ["write_file", "idempotent", "30 s", "durable_responses.tools.files"] in [row[:4] for row in rows]


async def test_a_terminal_gets_columns(project: Shell) -> None:
    async with project.on_terminal("tools") as terminal:
        assert await terminal.ended() == COMPLETED
    lines = [line for line in terminal.text.splitlines() if "durable_responses.tools" in line]
    assert len({line.index("durable_responses.tools") for line in lines}) == 1


async def test_json_has_what_the_model_gets(project: Shell) -> None:
    found = {each["name"]: each for each in (await project.run("tools", "--json")).json["tools"]}
    assert found["count_words"] == {
        "name": "count_words",
        "effect": "pure",
        "timeout": 10.0,
        "module": "my_tools",
        "description": "Count the words of a text. Punctuation is none.",
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        },
    }


async def test_a_call_prints_what_the_model_would_read_and_nothing_else(project: Shell) -> None:
    done = await project.run("tools", "call", "count_words", '{"text": "one two three"}')
    assert (done.code, done.out) == (COMPLETED, "3\n")


async def test_a_call_can_come_by_a_pipe(project: Shell) -> None:
    done = await project.run("tools", "call", "count_words", "-", piped='{"text": "one two"}')
    assert (done.code, done.out) == (COMPLETED, "2\n")


async def test_a_tool_gets_the_workspace_of_the_project_and_a_key_of_its_own(project: Shell) -> None:
    first, second = [json.loads((await project.run("tools", "call", "whereabouts")).out) for _ in range(2)]
    assert Path(first["workspace"]) == project.folder.parent.resolve() / "workspace"
    assert first["key"] != second["key"]


async def test_what_a_tool_prints_is_no_result(project: Shell) -> None:
    done = await project.run("tools", "call", "chatty", "--json")
    assert done.json == {"name": "chatty", "outcome": "succeeded", "output": "no key"}
    assert "by print\nby a program\n" in done.err.replace("by a program\nby print\n", "by print\nby a program\n")


async def test_a_tool_does_not_show_the_key(project: Shell) -> None:
    trusting = {"OPENAI_API_KEY": "sk-of-the-user", "AGENT_TRUSTED_PROJECTS": str(project.folder.parent)}
    shell = Shell(project.folder, project.env | trusting, project.jobs)
    assert (await shell.run("tools", "call", "chatty")).out == "***\n"


@pytest.mark.parametrize(
    ("name", "outcome", "told"),
    [
        ("order", "unknown", "Outcome unknown: order did not end within 0.1 seconds. It may have taken effect;"),
        ("wait", "failed", "Error: wait did not end within 0.1 seconds."),
        ("refuse", "failed", "Error: Say please."),
        ("crash", "failed", "Error: crash failed: RuntimeError: that was too much"),
        ("leave", "failed", "Error: leave tried to end the process (SystemExit)."),
    ],
)
async def test_a_failure_is_told_as_the_model_would_read_it(project: Shell, name: str, outcome: str, told: str) -> None:
    done = await project.run("tools", "call", name)
    assert (done.code, done.out) == (FAILED, "")
    assert done.err.splitlines()[-1].startswith(told)
    as_json = await project.run("tools", "call", name, "--json")
    assert (as_json.code, as_json.json["outcome"]) == (FAILED, outcome)
    assert as_json.json["output"].startswith(told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["count_words", '{"txt": ""}'], "- text: Field required"),
        (["count_words", '{"text": 5}'], "- text: Input should be a valid string (got 5)"),
        (["count_words", "text"], "Error: The arguments of count_words are not valid JSON"),
        (["count_words", "[]"], "Error: The arguments of count_words must be one JSON object, not list."),
        (["count_word"], "There is no tool named 'count_word'. Did you mean 'count_words'?"),
        ([], "Missing argument 'NAME'."),
        (["wait", "--timeout", "soon"], "--timeout 'soon' must be a time such as 30s, 5m or 1h."),
        (["wait", "--timeout", "0"], "--timeout must be more than 0."),
    ],
)
async def test_a_call_that_cannot_be_made_is_wrong_usage(project: Shell, words: list[str], told: str) -> None:
    done = await project.run("tools", "call", *words)
    assert (done.code, done.out) == (USAGE, "")
    assert told in done.err
    as_json = await project.run("tools", "call", *words, "--json")
    assert (as_json.code, as_json.json["exit_code"], told in as_json.json["error"]) == (USAGE, USAGE, True)


async def test_the_time_of_a_call_can_be_limited(project: Shell) -> None:
    done = await project.run("tools", "call", "take_long", "--timeout", "0.1s")
    assert (done.code, done.out) == (FAILED, "")
    assert "Error: take_long did not end within 0.1 seconds." in done.err


async def test_an_unknown_command_below_names_the_right_one(project: Shell) -> None:
    done = await project.run("tools", "cal", "--json")
    assert (done.code, done.json["exit_code"]) == (USAGE, USAGE)
    assert (
        done.json["error"] == "No such command: tools cal. Did you mean 'call'? See `durable-responses tools --help`."
    )


@pytest.mark.parametrize("text", ["1/0", "raise SystemExit(0)", "import no_such_name", "1 +", "raise OSError('a\\nb')"])
async def test_a_module_that_cannot_be_loaded_is_named(project: Shell, text: str) -> None:
    (project.folder.parent / "my_tools.py").write_text(text)
    for words in (["tools"], ["tools", "call", "list_files"]):
        done = await project.run(*words)
        assert (done.code, done.out) == (USAGE, "")
        assert done.err.startswith("AGENT_TOOL_MODULES names 'my_tools', which cannot be imported: ")
        assert done.err.count("\n") == 1


async def test_a_module_that_is_misspelt_names_the_right_one(project: Shell) -> None:
    (project.folder.parent / "durable-responses.toml").write_text('AGENT_TOOL_MODULES = ["my_tool"]\n')
    done = await project.run("tools")
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.endswith("No module named 'my_tool'. Did you mean 'my_tools'?\n")


async def test_a_workspace_that_is_missing_is_said(project: Shell) -> None:
    shell = Shell(project.folder, project.env | {"AGENT_WORKSPACE": "/nowhere/at/all"}, project.jobs)
    done = await shell.run("tools", "call", "list_files")
    assert (done.code, done.out) == (UNAVAILABLE, "")
    assert "The workspace /nowhere/at/all does not exist" in done.err


async def test_the_commands_of_the_page_do_what_it_says(project: Shell) -> None:
    """docs/tools.md"""
    (project.folder.parent / "workspace" / "notes.md").write_text("What is open?\n")
    [typed] = re.findall(r"^```\n(durable-responses tools\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", typed),
        cwd=project.folder,
        env=project.env | {"PATH": f"{Path(sys.executable).parent}:{project.env['PATH']}"},
        stdin=asyncio.subprocess.DEVNULL,
    )
    assert await shell.wait() == COMPLETED
    assert (project.folder.parent / "workspace" / "notes.md").read_text() == "Written by hand."

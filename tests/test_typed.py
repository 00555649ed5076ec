"""Whatever the pages tell people to type is typed here, letter by letter, in a folder that is not the checkout.

A command is each line of a block without a language, or with that of a shell; in one that has a prompt it is the lines
behind it. In the text it is whatever has a program's name and something behind it. A new one is typed as well, unless
it is in `NOT_TYPED`, with the reason.
"""

import asyncio
import fcntl
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from durable_responses.embedded import find_temporal_cli
from durable_responses.jobs.jobs import Jobs
from durable_responses.settings import Settings, child_environment
from durable_responses.workflows.contract import AgentInput
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT, TemporalServer, WorkerProcess

PAGES = [
    # Not the CHANGELOG: what a version could do once is not typed again.
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "findings/README.md")),
    *sorted(path for path in (CHECKOUT / "docs").rglob("*.md") if "node_modules" not in path.parts),
]
_PROGRAMS = (
    "durable-responses|temporal|make|python3?|uvx?|pipx?|curl|docker|git|np[mx]|node|go|mvn|claude|codex"
    "|bash|psql|apt-get|pytest"
)
_FENCED = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SHELLS = ("", "sh", "bash", "shell", "console")
_IN_TEXT = re.compile(rf"(?:\w+=\S+ )*(?:\S*/)?(?:{_PROGRAMS}) (?=.*(?:(?<= )-|[\"'=@])).*")

# --- what is not typed, and why -------------------------------------------------------------------------------------

_DOCKER = "it needs Docker; tests/test_compose.py reads what it would start"
_NETWORK = "it fetches packages; tests/test_installed.py installs the project without a network"
_CLAUDE = "it needs Claude Code; tests/mcp_server/test_transports.py starts the server that it names"
_SLOW = "it takes minutes, in a lane of its own that the Makefile names"
_OF_THE_TESTS = "it is how tests and checks are run: they would run themselves"
_SYSTEM = "it installs a package of the system"
_FRAGMENT = "it names a command, and has no id; tests/test_docs.py asks the program whether it is there"
_RECORDS = "it writes a history into the checkout; tests/workflows/test_replay.py replays what it has written"
_LANE = "it needs packages of npm, Go or Maven; tests/clients_lane.py runs it"
_VERSIONED = "it needs a worker that is deployed with a version; tests/test_deploys.py does it with one"
_README = "tests/test_readme.py types these one after the other, on a run that thinks for long enough"
_ANSWERS = "it needs a run that asks; tests/cli/test_answering.py types it on one"
_BY_TEMPORAL = "it needs a run that asks; tests/workflows/test_temporal_cli.py types it on one"
_SERVERS = "it needs an MCP server of GitHub's; tests/workflows/test_mcp_servers.py does it with one of its own"
_PAID = "it needs a key, and costs money; tests/conformance/ runs on the emulator with every check"
_TO_OPENAI = "it writes a key into a file, which is typed by its owner"

NOT_TYPED = {
    "README.md": {
        r"uv tool install \. .*|uvx --from \. .*": _NETWORK,
        r"claude .*": _CLAUDE,
        r"durable-responses temporal workflow .*": _README,
        r"durable-responses run .* --mcp-server github": _SERVERS,
    },
    "CONTRIBUTING.md": {
        r"make (setup|check|test) .*|\.venv/bin/pytest .*": _OF_THE_TESTS,
        r"\.venv/bin/python -m tests\.workflows\.record_histories .*": _RECORDS,
        r"make fuzz EXAMPLES=5000": _SLOW,
    },
    "docs/approvals.md": {r"temporal workflow update .*": _BY_TEMPORAL},
    "docs/benchmarks.md": {r"make bench .*|python -m dev\.bench\..*": _SLOW},
    "docs/changing-the-workflow.md": {
        r"\.venv/bin/python -m tests\.workflows\.record_histories .*": _RECORDS,
        r"make test .*": _OF_THE_TESTS,
        r"AGENT_DEPLOYMENT_NAME=.*|temporal worker deployment .*|temporal workflow update-options .*": _VERSIONED,
    },
    "docs/clients/README.md": {r"npm .*|go run .*|mvn .*": _LANE},
    "docs/deployment.md": {
        r"docker compose .*|OPENAI_BASE_URL=\S+ docker compose .*|AGENT_RETENTION=\S+ docker compose .*": _DOCKER,
        r"echo \"POSTGRES_PASSWORD=.*|echo \"OPENAI_API_KEY=.*": _TO_OPENAI,
        r"apt-get .*": _SYSTEM,
        r"make stack WORKERS=3": _SLOW,
    },
    "docs/emulator.md": {r"pytest tests/conformance --base-url https://api\.openai\.com/v1 .*": _PAID},
    "docs/failures.md": {r"temporal workflow reset --type LastWorkflowTask": _FRAGMENT},
    "docs/input-requests.md": {
        r"(echo 20 \| )?durable-responses respond .*": _ANSWERS,
        r"temporal workflow (update|signal) .*": _BY_TEMPORAL,
    },
    "docs/mcp.md": {r"claude .*": _CLAUDE},
    "docs/observability.md": {
        r"pip install .*": _NETWORK,
        r"python -m dev\.bench\..*": _SLOW,
    },
    "docs/tools.md": {r".* (--mcp-server github|--tool \"github\..*)|durable-responses tools login github": _SERVERS},
    "findings/README.md": {r"bash findings/.*": _NETWORK},
}

# --- what is there before a command is typed, and how it ends otherwise than well ----------------------------------

_SERVES = re.compile(r"durable-responses (?:emulator|worker|mcp)\b|AGENT_\S+ durable-responses worker\b")
_OF_A_CHECKOUT = re.compile(r"(?:\w+=\S+ )*(?:make |\.venv/|bash findings/)|python -m dev\.")
_BEFORE = {
    "python -c \"import sqlite3; sqlite3.connect('temporal.db').backup(sqlite3.connect('backup.db'))\"": (
        "python -c \"import sqlite3; sqlite3.connect('temporal.db').execute('create table runs (id)')\""
    )
}
_FILES = {
    "task.md": "Say hello.\n",
    "notes.md": "What is open.\n",
    "schema.json": json.dumps({"type": "object", "properties": {"owner": {"type": "string"}}}),
    "my_tools.py": re.findall(r"^```python\n(.*?)^```", (CHECKOUT / "README.md").read_text(), re.M | re.S)[0],
    "two-steps.json": re.findall(r"^```json\n(.*?)^```", (CHECKOUT / "docs/emulator.md").read_text(), re.M | re.S)[0],
}
_RUNS = {
    "what-is-still-open-3f9a2c": AgentInput(task="Say it."),
    "my-job": AgentInput(task="Say it."),
    "JOB": AgentInput(task="Say it."),
    "agent-…": AgentInput(task="Think.", model="scenario:think?seconds=900"),
    "compare-the-two-plans-81d0fe": AgentInput(task="Compare.", model="scenario:think?seconds=900"),
}


def name_of(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


def commands(page: Path) -> Iterator[str]:
    """Every command of a page, in its order: those of blocks, and then those in the text."""
    text = page.read_text()
    for _, language, block in _FENCED.findall(text):
        if language.strip() in _SHELLS:
            lines = [line.strip() for line in block.replace("\\\n", "").splitlines() if line.strip()]
            prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            yield from prompted or lines
    for code in re.findall(r"`([^`]+)`", _FENCED.sub("", text)):
        if _IN_TEXT.fullmatch(code := " ".join(code.split())):
            yield code


def typed(page: Path) -> list[str]:
    """The commands of a page without those that are excepted."""
    excepted = [re.compile(pattern) for pattern in NOT_TYPED.get(name_of(page), {})]
    return [command for command in commands(page) if not any(each.fullmatch(command) for each in excepted)]


WITH_COMMANDS = [page for page in PAGES if typed(page)]


def test_every_exception_is_still_needed_and_its_reason_names_what_is_there() -> None:
    for name, patterns in NOT_TYPED.items():
        found = list(commands(CHECKOUT / name))
        for pattern, reason in patterns.items():
            assert any(re.fullmatch(pattern, command) for command in found), f"{name}: {pattern}"
            assert all((CHECKOUT / path).exists() for path in re.findall(r"tests/[\w/]+\.py", reason)), reason


def test_a_block_that_is_not_typed_says_so_by_its_language() -> None:
    """`text` for what is printed: in a block without a language each line begins with a program."""
    program = re.compile(rf"(?:\w+=\S+ )*(?:\w+=\$\()?(?:\S*/)?(?:{_PROGRAMS}|echo|source)\b")
    assert [
        (name_of(page), command) for page in PAGES for command in commands(page) if not program.match(command)
    ] == []


def test_commands_are_found_in_all_forms_that_pages_have(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```\nmake run\nmake run TASK="a" \\\n  EFFORT=low\n```\n```sh\n$ durable-responses list\nnothing\n```\n'
        "```text\nnot typed\n```\n  ```\n  python -m x\n  ```\n"
        "as `durable-responses doctor --deep`, not `make test-load`, `make`, `a --b`\n"
    )
    assert list(commands(page)) == [
        "make run",
        'make run TASK="a"   EFFORT=low',
        "durable-responses list",
        "python -m x",
        "durable-responses doctor --deep",
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, set up as `make setup` does it, but with the packages that are here already."""
    copy = tmp_path_factory.mktemp("checkout") / "clone"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, copy / name, follow_symlinks=False)
    for link in ("workflows", "activities"):
        if (CHECKOUT / "durable_responses" / link).is_symlink() and not (copy / "durable_responses" / link).exists():
            (copy / "durable_responses" / link).symlink_to(f"../{link}")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(copy / ".venv")], check=True)
    [packages] = (copy / ".venv" / "lib").glob("python*/site-packages")
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "packages.pth").write_text(f"{copy}\n{here}\n")
    program = copy / ".venv" / "bin" / "durable-responses"
    program.write_text(f"#!{copy}/.venv/bin/python\nfrom durable_responses.cli.entry import main\nmain()\n")
    program.chmod(0o755)
    place = subprocess.run("pwd | cksum | cut -d ' ' -f 1", shell=True, cwd=copy, capture_output=True, text=True)
    for stamp in ("installed", "tested"):
        (copy / ".venv" / f".{stamp}-{place.stdout.strip()}").touch()
    return copy


@pytest.fixture
def alone() -> Iterator[None]:
    """Pages name ports, so they are typed one after the other."""
    with (Path(tempfile.gettempdir()) / "durable-responses-typed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
async def place(tmp_path: Path, checkout: Path, alone: None) -> AsyncIterator[tuple[Path, dict[str, str]]]:
    """A folder with what the pages suppose to be there, and the environment of its shell; a server of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    for at in (folder, checkout):
        for name, text in _FILES.items():
            (at / name).write_text(text)
    (folder / ".config" / "fish" / "completions").mkdir(parents=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "temporal").symlink_to(await find_temporal_cli(Settings(), print))
    async with (
        await TemporalServer.on(tmp_path) as temporal,
        EmulatorProcess(tmp_path) as emulator,
        WorkerProcess(
            temporal,
            emulator.base_url,
            folder=folder,
            AGENT_MODEL="scenario:echo",
            AGENT_WORKSPACE=str(folder),
            AGENT_OUTPUT_ROOT=str(folder),
        ),
    ):
        jobs = Jobs(await temporal.client())
        for job_id, request in _RUNS.items():
            await jobs.start(request, job_id=job_id)
        for job_id in ("what-is-still-open-3f9a2c", "my-job", "JOB"):
            await jobs.result(job_id)
        path = f"{checkout / '.venv' / 'bin'}:{programs}:{child_environment()['PATH']}"
        yield (
            folder,
            child_environment(
                PATH=path,
                HOME=str(folder),
                TEMPORAL_ADDRESS=temporal.address,
                OPENAI_BASE_URL=emulator.base_url,
                AGENT_STATE_FOLDER=str(folder / "state"),
                AGENT_CACHE_FOLDER=str(Settings().cache_folder),
                AGENT_WORKSPACE=str(folder),
                CHECKOUT=str(checkout),
            ),
        )


def script_of(page: Path) -> str:
    lines = ["set -o pipefail", "git init --quiet .", "echo one > change.md; git add change.md; echo two > change.md"]
    for number, command in enumerate(typed(page)):
        lines += [_BEFORE[command]] if command in _BEFORE else []
        at = 'cd "$CHECKOUT"' if _OF_A_CHECKOUT.match(command) else 'cd "$HOME"'
        if _SERVES.match(command):
            log = f'"$HOME/served-{number}.log"'
            lines += [at, f"{command} > {log} 2>&1 &"]
            ended = f"{{ echo failed: {number}; cat {log}; kill $(jobs -p); exit 1; }}"
            lines.append(f"until [ -s {log} ]; do kill -0 $! || {ended}; sleep 0.1; done; kill -0 $! || {ended}")
        else:
            lines += [at, f"{command} || {{ echo failed: {number}, $?; kill $(jobs -p); exit 1; }}"]
    return "\n".join([*lines, "kill $(jobs -p) 2> /dev/null; true"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
async def test_every_command_of_a_page_ends_well(page: Path, place: tuple[Path, dict[str, str]]) -> None:
    folder, env = place
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", script_of(page)),
        cwd=folder,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await shell.communicate()
    told = printed.decode(errors="replace")
    failed = re.findall(r"^failed: (\d+)", told, re.MULTILINE)
    assert shell.returncode == 0, f"{[typed(page)[int(number)] for number in failed]}\n{told}"

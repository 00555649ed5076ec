"""`durable-responses doctor` as a person and a script meet it: a real command, real servers."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from durable_responses.project_file import NAME
from durable_responses.settings import Settings, child_environment
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT, TemporalServer, WorkerProcess, free_port

HEALTHY, USAGE, UNAVAILABLE = 0, 2, 5


async def doctor(environment: dict[str, str], *options: str, folder: Path = CHECKOUT) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_responses.cli", "doctor", *options),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_it_finds_a_whole_deployment_well(temporal: TemporalServer, tmp_path: Path) -> None:
    queue = {"AGENT_TASK_QUEUE": f"agents-of-doctor-{free_port()}"}
    async with (
        EmulatorProcess(tmp_path) as emulator,
        WorkerProcess(temporal, emulator.base_url, folder=tmp_path, **queue) as worker,
    ):
        code, printed = await doctor(worker.env, "--json")
    found = {check["name"]: check["verdict"] for check in json.loads(printed)["checks"]}
    queues = [f"queue {queue['AGENT_TASK_QUEUE']}{kind}" for kind in ("", "-create", "-waiting", "-tools")]
    checks = ("worker", "clock", "provider", "key", "capabilities", "project", "workspace", "disk", "tools")
    assert set(found) == {"temporal", "namespace", "search attributes", "input requests", *queues, *checks}
    assert {name for name, verdict in found.items() if verdict != "ok"} <= {"search attributes"}
    assert code == HEALTHY


async def test_every_problem_comes_with_what_to_do_and_an_exit_code(tmp_path: Path) -> None:
    nowhere = child_environment(
        TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}", AGENT_STATE_FOLDER=str(tmp_path), OPENAI_API_KEY=None
    )
    code, printed = await doctor(nowhere)
    lines = printed.splitlines()
    assert code == UNAVAILABLE
    problems = [place for place, line in enumerate(lines) if line.startswith("problem")]
    assert [lines[place].split()[1] for place in problems] == ["temporal", "provider"]
    assert all(lines[place + 1].strip().startswith("→ ") for place in problems)


async def test_deep_says_so_and_asks_what_the_provider_can_do(tmp_path: Path) -> None:
    async with EmulatorProcess(tmp_path / "emulator") as emulator:
        environment = child_environment(
            TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}",
            AGENT_STATE_FOLDER=str(tmp_path),
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=emulator.base_url,
            AGENT_MODEL="scenario:echo",
        )
        _, printed = await doctor(environment, "--deep")
        _, afterwards = await doctor(environment)
    assert printed.startswith(f"Asking {emulator.base_url} with up to 6 small requests, which are paid for")
    said = {line.split()[2]: line.split()[3] for line in printed.splitlines() if line.split()[1:2] == ["can"]}
    everything = ("background", "retrieve", "cancel", "chain", "stream", "websocket", "reasoning")
    assert said == dict.fromkeys(everything, "yes")
    assert ", ".join(f"{capability} yes" for capability in everything) in afterwards


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a file, in which nothing runs."""
    folder = tmp_path.resolve() / "project"
    folder.mkdir()
    (folder / NAME).write_text('AGENT_MODEL = "of the file"\nAGENT_WORKSPACE = "data"\nAGENT_IDLE_STOP = "20m"\n')
    return folder


async def test_it_says_what_is_in_force_and_where_each_value_comes_from(project: Path) -> None:
    environment = child_environment(
        TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}",
        AGENT_STATE_FOLDER=str(project / "state"),
        AGENT_IDLE_STOP="25m",
        AGENT_MODLE="misspelt",
        AGENT_MCP_TOKEN="a-token-of-somebody",
        OPENAI_API_KEY="sk-of-somebody",
        OPENAI_BASE_URL="http://me:geheim@127.0.0.1:9/v1",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=verborgen",
        OTEL_SDK_DISABLED="true",
    )
    code, printed = await doctor(environment, "--json", folder=project)
    found = json.loads(printed)
    said = {each["name"]: (each["value"], each["source"], each["place"]) for each in found["settings"]}
    file = project / NAME
    assert code == UNAVAILABLE
    assert said["AGENT_MODEL"] == ("of the file", "file", f"{file}, line 1")
    assert said["AGENT_WORKSPACE"] == (str(project / "data"), "file", f"{file}, line 2")
    assert said["AGENT_IDLE_STOP"] == ("25m", "environment", None)
    assert said["AGENT_RETENTION"] == ("30d", "default", None)
    assert said["AGENT_HEALTH_PORT"] == (None, "default", None)
    assert said["TEMPORAL_NAMESPACE"] == ("default", "default", None)
    assert said["OPENAI_API_KEY"] == said["AGENT_MCP_TOKEN"] == said["OTEL_EXPORTER_OTLP_HEADERS"]
    assert said["OPENAI_API_KEY"] == ("***", "environment", None)
    assert {Settings.variable(field) for field in Settings.model_fields} <= said.keys()
    assert not [word for word in ("somebody", "geheim", "verborgen") if word in printed]
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["project"]["found"] == f"{project}, with {file}"
    assert checks["workspace"]["found"] == f"{project / 'data'} does not exist"
    assert checks["settings"]["found"] == "AGENT_MODLE is no setting"
    assert "Did you mean 'AGENT_MODEL'?" in checks["settings"]["cure"]
    assert "read_file" in {each["name"] for each in found["tools"]}


async def test_a_person_reads_the_same_and_the_checks_last(project: Path) -> None:
    environment = child_environment(
        TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}", AGENT_STATE_FOLDER=str(project / "state"), AGENT_LOG_LEVEL="error"
    )
    _, printed = await doctor(environment, folder=project)
    lines = printed.splitlines()
    assert [line for line in lines if not line.startswith((" ", "ok", "note", "problem"))] == [
        "Settings in force in this terminal",
        "Tools",
        "Checks",
    ]
    rows = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert re.fullmatch(rf"  AGENT_MODEL +of the file +file {project / NAME}, line 1", rows["AGENT_MODEL"])
    assert re.fullmatch(r"  AGENT_LOG_LEVEL +error +environment", rows["AGENT_LOG_LEVEL"])
    assert re.fullmatch(r"  AGENT_LOG_FORMAT +text +default", rows["AGENT_LOG_FORMAT"])
    assert "OPENAI_API_KEY" in rows["not"]
    assert rows["read_file"].split()[1:4] == ["pure", "30", "s"]


async def test_tools_that_cannot_be_loaded_are_a_problem_and_all_else_is_told(project: Path) -> None:
    (project / NAME).write_text('AGENT_TOOL_MODULES = ["my_tools"]\n')
    (project / "my_tools.py").write_text("print('loading')\nimport nothing_of_that_name\n")
    environment = child_environment(
        TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}", AGENT_STATE_FOLDER=str(project / "state"), OPENAI_API_KEY=None
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_responses.cli", "doctor", "--json"),
        env=environment,
        cwd=project,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, beside = await asyncio.wait_for(process.communicate(), 60)
    [tools] = [check for check in json.loads(printed)["checks"] if check["name"] == "tools"]
    assert tools["verdict"] == "problem"
    assert "'my_tools', which cannot be imported: ModuleNotFoundError" in tools["found"]
    assert beside == b"loading\n"


async def test_a_project_file_that_is_wrong_is_said_before_anything_is_checked(project: Path) -> None:
    (project / NAME).write_text('AGENT_MODLE = "x"\n')
    code, printed = await doctor(child_environment(), folder=project)
    assert code == USAGE
    assert printed == f"{project / NAME}, line 1: there is no setting 'AGENT_MODLE'. Did you mean 'AGENT_MODEL'?\n"

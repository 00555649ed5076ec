"""`durable-responses doctor` as a person and a script meet it: a real command, real servers."""

import asyncio
import json
import sys
from pathlib import Path

from durable_responses.settings import child_environment
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT, TemporalServer, WorkerProcess, free_port

HEALTHY, UNAVAILABLE = 0, 5


async def doctor(environment: dict[str, str], *options: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_responses.cli", "doctor", *options),
        env=environment,
        cwd=CHECKOUT,
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
    checks = ("clock", "provider", "key", "capabilities", "workspace", "disk")
    assert set(found) == {"temporal", "namespace", "search attributes", *queues, *checks}
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

"""`python -m durable_responses.emulator` as a process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from tests.support.processes import Process

Emulator = Callable[..., Process]
LISTENING = r"^emulator listening on (http://127\.0\.0\.1:(\d+)/v1)$"


@pytest.fixture
async def emulator_with(tmp_path: Path) -> AsyncIterator[Emulator]:
    """Makes an emulator process with arguments; it is ended after the test."""
    made: list[Process] = []

    def make(*arguments: str) -> Process:
        process = Process(
            [sys.executable, "-m", "durable_responses.emulator", *arguments], log=tmp_path / f"emulator{len(made)}.log"
        )
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()


async def test_it_takes_a_free_port_and_says_which(emulator_with: Emulator, tmp_path: Path) -> None:
    process = await emulator_with("--port", "0", "--port-file", str(tmp_path / "port")).start()
    base_url, port = (await process.wait_for_line(LISTENING)).groups()
    async with httpx.AsyncClient(verify=False) as http:
        assert (await http.get(f"{base_url}/responses/resp_1")).status_code == 404
    assert (tmp_path / "port").read_text() == f"{port}\n"


async def test_sigterm_ends_it_in_good_order(emulator_with: Emulator) -> None:
    process = await emulator_with("--port", "0").start()
    await process.wait_for_line(LISTENING)
    assert await process.terminate(timeout=5) == 0


async def test_sigterm_ends_it_while_clients_wait(emulator_with: Emulator) -> None:
    process = await emulator_with("--port", "0").start()
    base_url = (await process.wait_for_line(LISTENING))[1]
    body = {"model": "scenario:think?seconds=600", "input": "Hi."}
    async with httpx.AsyncClient(verify=False) as http:
        waiting = asyncio.create_task(http.post(f"{base_url}/responses", json=body, timeout=60))
        control = base_url.replace("/v1", "/control/billing")
        async with asyncio.timeout(5):
            while (await http.get(control)).json()["counts"]["in_flight"] == 0:
                await asyncio.sleep(0.01)
        assert await process.terminate(timeout=5) == 0
        with pytest.raises(httpx.TransportError):
            await waiting
    assert "Traceback" not in process.output


async def test_scenarios_come_from_a_folder(emulator_with: Emulator, tmp_path: Path) -> None:
    scenario = Scenario(name="mine", responses=[Script(output=[Text(text="Mine.")])])
    (tmp_path / "mine.json").write_text(scenario.model_dump_json())
    process = await emulator_with("--port", "0", "--scenario-dir", str(tmp_path), "--scenario", "mine").start()
    base_url = (await process.wait_for_line(LISTENING))[1]
    async with httpx.AsyncClient(verify=False) as http:
        answer = await http.post(f"{base_url}/responses", json={"model": "m", "input": "Hi."})
    assert answer.json()["output"][-1]["content"][0]["text"] == "Mine."


async def test_a_scenario_that_cannot_be_used_is_named(emulator_with: Emulator, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"name": "broken", "response": []}')
    process = await emulator_with("--port", "0", "--scenario-dir", str(tmp_path)).start()
    assert await process.wait() == 1
    assert "broken.json cannot be used" in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(("name", "said"), [("ehco", "Did you mean 'echo'?"), ("think?second=1", "parameter 'second'")])
async def test_an_unknown_scenario_is_refused_at_the_start(emulator_with: Emulator, name: str, said: str) -> None:
    process = await emulator_with("--port", "0", "--scenario", name).start()
    assert await process.wait() == 2
    assert f"--scenario {name!r} cannot be used" in process.output
    assert said in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "99999"], "Argument --port: '99999' is not a port: 0 to 65535."),
        (["--pace", "-1"], "Argument --pace: '-1' is not a number from 0 on."),
        (["--context-window", "0"], "Argument --context-window: '0' is not a whole number above 0."),
        (["--bogus"], "Unrecognized arguments: --bogus."),
    ],
)
async def test_wrong_usage_is_one_sentence(emulator_with: Emulator, words: list[str], said: str) -> None:
    process = await emulator_with(*words).start()
    assert await process.wait() == 2
    assert process.output == f"{said} See `durable-responses emulator --help`.\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--scenario-dir", "missing"], 2, "--scenario-dir 'missing' is not a folder."),
        (["--state-file", "/"], 1, "The state file / cannot be used: Is a directory."),
        (
            ["--host", "no-such-host.invalid"],
            1,
            "Port 0 of no-such-host.invalid cannot be used: there is no such host.",
        ),
        (["--port-file", "/dev/null/port"], 1, "--port-file '/dev/null/port' cannot be written: Not a directory."),
    ],
)
async def test_what_cannot_be_used_is_named(emulator_with: Emulator, words: list[str], code: int, said: str) -> None:
    process = await emulator_with("--port", "0", *words).start()
    assert await process.wait() == code
    assert process.output.endswith(f"durable-responses emulator: {said}\n")


async def test_a_taken_port_is_one_clear_error(emulator_with: Emulator) -> None:
    first = await emulator_with("--port", "0").start()
    port = (await first.wait_for_line(LISTENING))[2]
    second = await emulator_with("--port", port).start()
    assert await second.wait() == 1
    problem = f"Port {port} of 127.0.0.1 cannot be used: Address already in use."
    assert second.output == f"durable-responses emulator: {problem}\n"

"""What docs/websocket.md says is so."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from durable_responses.activities.messages import SteerStatus
from durable_responses.workflows.contract import TransportChoice
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT

PAGE = (CHECKOUT / "docs" / "websocket.md").read_text()
[PROGRAM, POOL_PROGRAM] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def first_cells(heading: str) -> set[str]:
    """The names in the first column of the tables under a heading."""
    section = PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("program", "prints"), [(PROGRAM, "Say hello.\n"), (POOL_PROGRAM, "First.\nSecond.\n")], ids=["manager", "pool"]
)
async def test_a_program_prints_what_the_page_says(tmp_path: Path, program: str, prints: str) -> None:
    async with EmulatorProcess(tmp_path, "--scenario", "echo") as emulator:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program.replace(":8090", f":{emulator.port}")),
            cwd=CHECKOUT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(running.communicate(), 30)
    assert printed.decode() == prints


def test_the_program_is_ten_lines_at_most() -> None:
    body = PROGRAM.split("async def main() -> None:\n")[1].split("\n\n")[0]
    assert len(body.strip().splitlines()) <= 10


def test_every_transport_is_compared() -> None:
    table = PAGE.split("## Which transport")[1].splitlines()[2]
    assert set(re.findall(r"`(\w+)`", table)) == set(TransportChoice) - {TransportChoice.AUTO}


def test_every_status_of_a_steering_message_is_explained() -> None:
    assert first_cells("Steering messages") == set(SteerStatus)

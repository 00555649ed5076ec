"""What a type checker makes of a program that uses the API."""

import subprocess
import sys
from pathlib import Path

from durable_responses.settings import child_environment
from tests.support.processes import CHECKOUT

PROGRAM = """
from typing import assert_type

from pydantic import BaseModel

from durable_responses import Ended, Job, RunError, RunResult, attach, run, run_sync, start


class Summary(BaseModel):
    title: str


def count_words(text: str) -> int:
    return len(text.split())


async def main() -> None:
    result = await run("…", effort="high", tools=[count_words, "read_file"], output=Summary)
    assert_type(result, RunResult[Summary])
    assert_type(result.output, Summary)
    assert_type(result.output.title, str)
    assert_type(result.output_text, str)
    assert_type(await run("…"), RunResult[None])
    assert_type(run_sync("…", output=Summary).output, Summary)
    job = await start("…", output=Summary, deadline="30m")
    assert_type(job, Job[Summary])
    assert_type((await job.result()).output, Summary)
    assert_type(await job.continue_("…"), Job[None])
    assert_type((await (await job.continue_("…", output=Summary)).result()).output.title, str)
    assert_type((await (await attach("…", output=Summary)).result()).output, Summary)
    async for event in job.events():
        if isinstance(event, Ended):
            assert_type(event.result.usage.total_tokens, int)


def failed(error: RunError) -> int:
    return error.result.usage.total_tokens
"""
WRONG = """
from durable_responses import run


async def main() -> None:
    await run("…", efort="high")  # 6
    await run("…", effort="hihg")  # 7
    await run(5)  # 8
    await run("…", tools="read_file", max_iterations="many")  # 9
"""


def checked(program: str, folder: Path) -> str:
    (folder / "program.py").write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--cache-dir",
        str(CHECKOUT / ".mypy_cache"),
        "program.py",
    ]
    env = child_environment(MYPYPATH=str(CHECKOUT))
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False).stdout


def test_the_output_of_a_run_is_of_the_class_that_was_given(tmp_path: Path) -> None:
    assert "Success" in (said := checked(PROGRAM, tmp_path)), said


def test_wrong_names_and_values_are_found_by_a_type_checker(tmp_path: Path) -> None:
    said = checked(WRONG, tmp_path)
    assert {number for number in range(6, 10) if f"program.py:{number}:" in said} == {6, 7, 8, 9}, said

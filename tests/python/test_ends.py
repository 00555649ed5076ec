"""A program that uses the API ends with its own exit code, and nothing of Temporal's SDK is left by then.

Its threads would abort the process in the interpreter's shutdown (https://github.com/temporalio/sdk-python/issues/300).
"""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.python.conftest import Programs, ended
from tests.support.processes import CHECKOUT

PAGE = (CHECKOUT / "docs" / "python.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

# What was registered first is called last: after the end of ours.
WATCHED = """
import atexit, pathlib, sys

@atexit.register
def tell():
    names = [(thread / "comm").read_text().strip() for thread in pathlib.Path("/proc/self/task").iterdir()]
    sys.stdout.write("left: " + " ".join(sorted(names)) + "\\n")
"""
BEGIN = """
import asyncio, sys
from durable_responses import attach, run, run_sync, start

def shout(text: str) -> str:
    "Shout."
    return text.upper()

def sleep(text: str) -> str:
    "Sleep."
    import time
    print("asleep", flush=True)
    time.sleep(600)

CALLS = {"scenario": 'calls?tool=shout&arguments={"text":"hi"}'}
SLEEPS = {"scenario": 'calls?tool=sleep&arguments={"text":"hi"}'}
SLOW = {"scenario": "think?seconds=600"}
"""
ENDS = {
    "after the answer": ("asyncio.run(run('Do it.', tools=[shout], metadata=CALLS))", 0),
    "with what it has made": (
        "job = asyncio.run(start('Do it.', tools=[shout], metadata=CALLS)); result = asyncio.run(job.result())",
        0,
    ),
    "without a loop": ("result = run_sync('Do it.', tools=[shout], metadata=CALLS)", 0),
    "with an exception": (
        "async def main():\n    await run('Do it.', tools=[shout], metadata=CALLS)\n    1 / 0\nasyncio.run(main())",
        1,
    ),
    "with an exception of ours": ("asyncio.run(run('Do it.', tools=['no_such_tool']))", 1),
    "with an exception that it keeps": (
        "try:\n    asyncio.run(run('Do it.', tools=[shout], max_iterations=1, metadata=CALLS))\n"
        "except Exception as error:\n    kept = error\n",
        0,
    ),
    "with sys.exit": (
        "async def main():\n    await run('Do it.', tools=[shout], metadata=CALLS)\n    sys.exit(3)\n"
        "asyncio.run(main())",
        3,
    ),
    "while a run is under way": (
        "job = asyncio.run(start('Do it.', tools=[shout], effort='high', metadata=SLOW)); sys.exit(4)",
        4,
    ),
    "in the middle of the events": (
        "async def main():\n    job = await start('Do it.', effort='high', metadata=SLOW)\n"
        "    async for event in job.events():\n        sys.exit(5)\nasyncio.run(main())",
        5,
    ),
    "while a function runs": (
        "async def main():\n    job = await start('Do it.', tools=[sleep], metadata=SLEEPS)\n"
        "    async for event in job.events():\n"
        "        if type(event).__name__ == 'CallStarted':\n            raise KeyError('x')\nasyncio.run(main())",
        1,
    ),
    "with sys.exit in another thread's loop": (
        "import threading\n"
        "t = threading.Thread(target=lambda: asyncio.run(run('Do it.', tools=[shout], metadata=CALLS)))\n"
        "t.start(); t.join(); sys.exit(6)",
        6,
    ),
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_program_ends_with_its_own_exit_code_and_leaves_nothing_of_the_sdk(
    programs: Programs, how: str
) -> None:
    program, code = ENDS[how]
    done = await programs.run(WATCHED + BEGIN + program)
    assert done.code == code, done.err
    assert "left: " in done.out
    assert "tokio" not in done.out
    assert done.err.count("Traceback") == (1 if code == 1 else 0), done.err


@pytest.mark.parametrize(
    "program",
    [
        "asyncio.run(run('Do it.', tools=[sleep], metadata=SLEEPS))",
        "run_sync('Do it.', tools=[sleep], metadata=SLEEPS)",
    ],
    ids=["asyncio.run", "run_sync"],
)
async def test_a_program_that_is_interrupted_ends_as_any_other_one(programs: Programs, program: str) -> None:
    begun = await programs.begin(WATCHED + BEGIN + program)
    assert begun.stdout is not None
    assert await asyncio.wait_for(begun.stdout.readline(), 60) == b"asleep\n"
    begun.send_signal(signal.SIGINT)
    done = await ended(begun)
    assert done.code == -signal.SIGINT, done.err
    assert "tokio" not in done.out
    assert "\nKeyboardInterrupt\n" in done.err


async def test_a_program_whose_temporal_is_gone_ends_soon(programs: Programs) -> None:
    done = await programs.run(
        WATCHED
        + BEGIN
        + """
import os, time
async def main():
    job = await start("Do it.", tools=[shout], effort="high", metadata=SLOW)
    os.environ["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    try:
        await job.result()
    except Exception as error:
        print(type(error).__name__)
asyncio.run(main())
"""
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("TemporalUnreachable\n")
    assert "tokio" not in done.out


async def test_a_poll_that_the_end_cuts_off_is_not_told_as_an_error(programs: Programs) -> None:
    """The SDK leaves the task of a poll to nobody, if its worker is cancelled at that moment."""
    done = await programs.run(
        """
import asyncio
from temporalio.bridge.worker import PollShutdownError
from durable_responses.python.background import background

async def ends_with(error):
    raise error

for error in (PollShutdownError(), KeyError("told")):
    background().loop.call_soon_threadsafe(background().keep, ends_with(error))
background().submit(asyncio.sleep(0.1)).result()
"""
    )
    assert "told" in done.err
    assert "PollShutdownError" not in done.err


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
async def test_the_programs_of_the_page_run_as_they_stand(programs: Programs, number: int, tmp_path: Path) -> None:
    """In a folder that is not the checkout. The last one names the usual task queue."""
    program = PROGRAMS[number].replace('task_queue="agents"', f"task_queue={programs.env['AGENT_TASK_QUEUE']!r}")
    # Ids are taken for good, and the server is that of all tests.
    program = program.replace("price-of-a-pen", f"{tmp_path.name}-pen").replace("prices-2026", f"{tmp_path.name}-2026")
    program = program.replace('id="say-hello"', f'id="{tmp_path.name}"')
    done = await programs.run(program)
    assert (done.code, done.err) == (0, "")
    assert done.out.strip()


def test_the_page_says_all_that_the_package_exports() -> None:
    import durable_responses

    known_elsewhere = {"tool", "Effect", "ToolContext", "ToolError", "Event"}
    assert {name for name in durable_responses.__all__ if f"{name}" not in PAGE} - known_elsewhere == set()

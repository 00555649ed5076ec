"""The lane of exit codes, `make test-exits`: programs that use the Python API, 200 times, while every core is busy.

`make test` leaves it out: it takes minutes. Temporal's SDK aborts a program in one of some dozens of ends, if it has
threads left by then (https://github.com/temporalio/sdk-python/issues/300).
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.python.conftest import Ended, Programs, here, programs  # noqa: F401 fixtures
from tests.python.test_ends import BEGIN, ENDS, PROGRAMS

pytestmark = pytest.mark.timeout(3600)  # seconds, for each of the two

TIMES = 200
AT_ONCE = 4


@asynccontextmanager
async def busy_cores() -> AsyncIterator[None]:
    """While inside, every core is kept busy."""
    spinning = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            await process.wait()


async def all_ends(programs: Programs, program: str, times: int) -> list[Ended]:  # noqa: F811
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> Ended:
        async with room:
            return await programs.run(program, timeout=240)

    async with busy_cores():
        return await asyncio.gather(*(one() for _ in range(times)))


async def test_the_first_program_of_the_page_ends_well_each_time(programs: Programs) -> None:  # noqa: F811
    done = await all_ends(programs, PROGRAMS[0], TIMES)
    print(f"\n{TIMES} times the first program of docs/python.md: {dict(Counter(each.code for each in done))}")
    assert [(each.code, each.err) for each in done if each.code != 0 or each.err] == []


async def test_every_other_end_has_its_own_code_each_time(programs: Programs) -> None:  # noqa: F811
    for how, (program, code) in ENDS.items():
        done = await all_ends(programs, BEGIN + program, TIMES // len(ENDS) + 1)
        print(f"\n{how}: {dict(Counter(each.code for each in done))}")
        assert {each.code for each in done} == {code}, [each.err for each in done if each.code != code]

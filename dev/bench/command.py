"""The command line of the benchmarks, and what is said before and after them."""

import argparse
import asyncio
import os
import platform
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import NoReturn

from dev.bench.table import Table
from durable_responses.process import leave

Measure = Callable[[bool], Awaitable[Table]]
"""One benchmark; True asks for a quick run, whose figures only show that it works."""


def run(*benchmarks: Measure) -> NoReturn:
    """Run benchmarks one after the other, each on a stack of its own, and print their tables."""
    parser = argparse.ArgumentParser(description="Measure speed and memory on an embedded stack of its own.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: does it work?")
    quick: bool = parser.parse_args().quick
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the processes of the stack, as Ctrl-C does
    print(_surroundings(), end="\n\n", flush=True)
    start = time.monotonic()
    asyncio.run(_measure(benchmarks, quick))
    print(f"All of it took {time.monotonic() - start:.0f} s.")
    leave(0)


async def _measure(benchmarks: Sequence[Measure], quick: bool) -> None:
    for measure in benchmarks:
        print(await measure(quick), end="\n\n", flush=True)


def _surroundings() -> str:
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, temporalio {version('temporalio')},"
        f" {platform.system()} {platform.release()}; load before the start: {load:.1f}."
    )

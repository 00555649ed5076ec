"""(l) What a call of a tool of an MCP server costs, beside one of the worker's own: iterations with one call each."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from dev.bench import empty_tool, tools
from dev.bench.command import run
from dev.bench.iterations import Iterations
from dev.bench.stack import Stack, iterations_of
from dev.bench.table import Row, Table, Target, milliseconds
from durable_responses.workflows.contract import TransportChoice

LARGEST_RATIO = 1.3
ITERATIONS = 30
SERVER = "bench"


async def measure(quick: bool) -> Table:
    rounds = 1 if quick else 6
    server = {
        "command": sys.executable,
        "args": ["-m", empty_tool.__name__],
        "cwd": str(Path(__file__).parents[2]),
        "tools": {"*": {"effect": "pure"}},
    }
    measured = defaultdict[str, Iterations](Iterations)
    offered = {tools.NAMES[0]: tools.NAMES[0], f"{SERVER}__{empty_tool.NAME}": f"{SERVER}.{empty_tool.NAME}"}
    own, of_the_server = offered
    async with Stack.up() as stack:
        worker = await stack.worker(AGENT_MCP_SERVERS=json.dumps({SERVER: server}))
        for number in range(rounds + 1):
            for name, chosen in offered.items():
                scenario = iterations_of(ITERATIONS).replace(tools.NAMES[0], name)
                handle = await stack.start(scenario, TransportChoice.STREAM, tools=[chosen])
                await measured[name].take(handle, worker, ITERATIONS)
            if number == 0:  # everything was loaded for the first time
                measured.clear()
    table = Table("(l) A call of a tool of an MCP server")
    for what, kind in (("an iteration with a call", "seconds"), ("CPU of the worker for it", "cpu")):
        theirs, ours = (median(getattr(measured[name], kind)) for name in (of_the_server, own))
        target = Target(theirs / ours, LARGEST_RATIO, "×") if kind == "seconds" else None
        table.rows.append(Row(what, milliseconds(theirs), f"{milliseconds(ours)} (own tool)", theirs / ours, target))
    table.notes.append(
        f"Medians of {rounds} runs of {ITERATIONS} iterations, one run at a time. Both tools are empty; the server is a"
        " Python program on its standard input and output."
    )
    return table


if __name__ == "__main__":
    run(measure)

"""The arguments of the program, without all that a worker is made of: its help is to be there at once."""

from collections.abc import Sequence
from enum import StrEnum

from durable_responses.program_arguments import ProgramArguments


class Queue(StrEnum):
    """What a worker may serve (`--queues`): each is one task queue."""

    AGENTS = "agents"
    CREATE = "create"
    WAITING = "waiting"
    TOOLS = "tools"


def queues_of(given: Sequence[str] | None) -> list[Queue]:
    """The queues that the arguments name, else the process's; all of them without one. Leaves for wrong usage."""
    parser = ProgramArguments(
        "durable-responses worker", "Run a worker, which executes agent runs. It is configured by the environment."
    )
    names = list(map(str, Queue))
    parser.add_argument("--queues", nargs="+", choices=names, default=names, help="what to serve (default: all)")
    return list(map(Queue, parser.parse_args(given).queues))

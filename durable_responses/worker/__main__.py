"""`durable-responses worker`, or `python worker.py`."""

from collections.abc import Sequence
from typing import NoReturn

from durable_responses.loading import loading
from durable_responses.worker.arguments import queues_of


def main(given: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then leave. `given` are the arguments, else the process's."""
    queues = queues_of(given)
    # Only now: what a worker is made of takes most of a second to load.
    with loading():
        from durable_responses.worker.program import serve

    serve(queues)


if __name__ == "__main__":
    main()

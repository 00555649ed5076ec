"""A worker of agent runs: `python worker.py --help`. What it serves is in `durable_responses/worker/`."""

from durable_responses.worker.__main__ import main

if __name__ == "__main__":
    main()

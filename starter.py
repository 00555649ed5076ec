"""Starts agent runs, follows and cancels them: `python starter.py --help`. It is `durable_responses/cli/`."""

from durable_responses.cli.entry import main

if __name__ == "__main__":
    main()

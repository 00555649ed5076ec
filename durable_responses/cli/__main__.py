"""`python -m durable_responses.cli`: the command line, as `durable-responses`."""

from durable_responses.cli.entry import main

if __name__ == "__main__":
    main()

"""`python -m durable_responses.embedded COMMAND`."""

from durable_responses.loading import loading

if __name__ == "__main__":
    with loading():
        from durable_responses.embedded.commands import main
        from durable_responses.process import leave
    leave(main())

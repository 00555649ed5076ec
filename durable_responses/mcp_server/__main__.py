"""`durable-responses mcp`, `durable-responses-mcp`, or `python -m durable_responses.mcp_server`."""

from durable_responses.mcp_server.door import main

if __name__ == "__main__":
    main()

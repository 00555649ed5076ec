"""A client as a process of its own, to be killed: starts a job by a server of its own, waits for a status, says so, and
stays.
"""

import asyncio
import json
import sys

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from durable_responses.settings import child_environment
from tests.support.mcp_clients import Session


async def main(arguments: str, status: str) -> None:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "durable_responses.mcp_server"], env=child_environment()
    )
    async with Client(stdio_client(command)) as client:
        session = Session(client)
        job_id = await session.start(**json.loads(arguments))
        await session.until(job_id, status)
        print(f"{status} {job_id}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

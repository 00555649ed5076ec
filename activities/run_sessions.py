"""Sessions with MCP servers that belong to one run: closed when that run has ended, which no worker is told."""

import asyncio
import logging
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.executions import described
from durable_responses.mcp_tools.sessions import Sessions

logger = logging.getLogger(__name__)

_DESCRIBED_WITHIN = timedelta(seconds=2)
LOOKS_EVERY = 10.0  # seconds


async def has_ended(client: Client, run: str) -> bool:
    """Whether a run has ended, or is not known any more. Raises `RPCError` where nobody can tell."""
    try:
        return not (await described(client, run, timeout=_DESCRIBED_WITHIN)).is_open
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return True
        raise


async def close_ended(sessions: Sessions, client: Client, every: float = LOOKS_EVERY) -> None:
    """Look every so many seconds which runs have ended, and close their sessions; until cancelled."""
    while True:
        await asyncio.sleep(every)
        ended = [run for run in sessions.runs if await _is_over(client, run)]
        await asyncio.gather(*map(sessions.close_run, ended))  # side by side: a server may take seconds


async def _is_over(client: Client, run: str) -> bool:
    try:
        return await has_ended(client, run)
    except RPCError as error:
        logger.debug("Whether run %s has ended is not known: %s", run, error)
        return False

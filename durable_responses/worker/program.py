"""The program: one worker, configured by the environment."""

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import NoReturn

from durable_responses.connection import connect
from durable_responses.process import end_telemetry, leave, setup_telemetry
from durable_responses.provider import find_provider
from durable_responses.settings import Settings, SetupError
from durable_responses.tools.registry import RegistryError
from durable_responses.worker.arguments import Queue
from durable_responses.worker.dependencies import SHUTDOWN_TIMEOUTS, ShutdownTimeouts
from durable_responses.worker.serving import run_worker
from durable_responses.workspace import prepare_workspace

logger = logging.getLogger("durable_responses.worker")


def serve(queues: Sequence[Queue], shutdown: ShutdownTimeouts = SHUTDOWN_TIMEOUTS) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then leave."""
    try:
        settings = Settings.load()
        setup_telemetry(settings, "durable-responses-worker")
        asyncio.run(_serve_until_told_to_stop(settings, queues, shutdown))
    except (SetupError, RegistryError) as error:
        leave(1, f"worker: {error}")
    except BaseException:
        end_telemetry()  # what led to it is still to be sent
        raise
    leave(0)


async def _serve_until_told_to_stop(settings: Settings, queues: Sequence[Queue], shutdown: ShutdownTimeouts) -> None:
    if Queue.TOOLS in queues:
        prepare_workspace(settings, logger.info)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_worker(
        await connect(settings, for_worker=True), find_provider(settings), settings, queues, stop, shutdown
    )

"""The connection to Temporal: where the server is, and a client of it."""

import asyncio
import time
from contextvars import ContextVar
from typing import Any

from temporalio.client import Client, Plugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import Runtime

from durable_responses.settings import (
    OtelSettings,
    Settings,
    SettingsError,
    SetupError,
    configured_address,
    temporal_config,
)
from durable_responses.stack_file import StackFile

USUAL_TEMPORAL_ADDRESS = "localhost:7233"
# Seconds for one attempt to connect. A host that drops packets would otherwise hold a command for minutes.
CONNECT_TIMEOUT = 5.0


RUNTIME: ContextVar[Runtime | None] = ContextVar("RUNTIME", default=None)
"""The runtime of the SDK that clients are made with here, if it is not the SDK's usual one, which lives for ever."""


class TemporalUnreachable(SetupError):
    """No Temporal server answers at the address."""


def temporal_address(settings: Settings) -> str:
    """The configured address, else the embedded stack's, else Temporal's default."""
    if address := configured_address():
        return address
    stack = StackFile.read(settings)
    return stack.temporal_address if stack else USUAL_TEMPORAL_ADDRESS


async def connect(
    settings: Settings | None = None,
    *,
    patience: float = 0,
    attempt: float = CONNECT_TIMEOUT,
    for_worker: bool = False,
    **overrides: Any,
) -> Client:
    """A client of the configured server, else of the embedded stack's.

    A server that does not answer is tried again for `patience` seconds; each attempt takes at most `attempt` seconds.
    After that, raises `TemporalUnreachable`. The log lines of a worker whose client is connected `for_worker` name run
    and response. `overrides` go to `Client.connect`.
    """
    settings = settings or Settings.load()
    give_up = time.monotonic() + patience
    while True:
        address = temporal_address(settings)
        try:
            async with asyncio.timeout(attempt):
                config = {
                    **temporal_config(),
                    "target_host": address,
                    "data_converter": pydantic_data_converter,
                    "plugins": client_plugins(for_worker=for_worker),
                    "runtime": RUNTIME.get(),
                }
                return await Client.connect(**{**config, **overrides})
        except (RuntimeError, TimeoutError) as error:
            if time.monotonic() >= give_up:
                raise TemporalUnreachable(_unreachable(address)) from error
        except ValueError as error:
            raise SettingsError(f"TEMPORAL_ADDRESS {address!r} cannot be used: {error}.") from None
        await asyncio.sleep(0.1)


def _unreachable(address: str) -> str:
    ours, theirs = "`durable-responses up` starts one", "start that server, or check TEMPORAL_ADDRESS"
    cure = theirs if configured_address() else ours
    return f"Temporal is not responding at {address}: {cure}. Runs are safe and resume when it is back."


def client_plugins(*, for_worker: bool) -> list[Plugin]:
    """A client's plugins: spans if this process exports them; else, for a worker, the ids in its log lines."""
    export = OtelSettings.load().export()
    if export is not None:
        from durable_responses.telemetry import plugin, providers

        if providers.is_tracing():
            return [plugin.tracing_plugin(export.content)]
    if not for_worker:
        return []
    # A command that only starts a run would spend a tenth of its time on loading what workers are made of.
    from temporalio.plugin import SimplePlugin

    from durable_responses.telemetry.activities import ActivityTelemetry

    return [SimplePlugin("durable_responses.log_ids", interceptors=[ActivityTelemetry()])]

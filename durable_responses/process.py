"""What a program does at its start and at its end: logs, traces and metrics, and leaving with an exit code."""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, NoReturn

from durable_responses.responses_api.redaction import Secrets
from durable_responses.settings import OtelSettings, Settings, SettingsError
from durable_responses.telemetry.log_lines import log_handler


def setup_logs(settings: Settings) -> None:
    """Log to standard error, from `AGENT_LOG_LEVEL` on, in the form of `AGENT_LOG_FORMAT`."""
    logging.basicConfig(
        level=settings.log_level.upper(),
        handlers=[log_handler(settings.log_format, Secrets(settings.secrets()))],
        force=True,
    )
    # One line for each request: thousands of waiting responses would write nothing else.
    for library in ("httpx", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # They log every message that they carry, and with it what users, models and tools say.
    for library in ("temporalio", "websockets", "mcp"):
        logging.getLogger(library).setLevel(max(logging.getLogger().level, logging.INFO))


def setup_export(service: str) -> None:
    """Export traces and metrics if OpenTelemetry's variables say so; `service` is the name of this program.

    Once in a process, and before `connect`. Raises `SettingsError`.
    """
    export = OtelSettings.load().export()
    if export is None:
        return
    from durable_responses.telemetry import providers

    try:
        providers.begin(export, service)
    except providers.ExporterMissing as error:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error}.") from None


def setup_telemetry(settings: Settings, service: str = "durable-responses") -> None:
    """Logs, traces and metrics of this process. Raises `SettingsError`."""
    setup_logs(settings)
    setup_export(service)


def end_telemetry() -> None:
    """Export what has not been exported yet; takes a few seconds at most."""
    if providers := sys.modules.get("durable_responses.telemetry.providers"):  # never set up: nothing to export
        providers.end()


def run_main(program: Coroutine[Any, Any, object]) -> NoReturn:
    """Run a coroutine as a whole program, and end the process: `asyncio.run` and `leave` in one.

    The exit code is 0, what `SystemExit` says, 130 after Ctrl-C, or 1 after any other exception, whose traceback is
    printed. What was registered with `atexit` is not called.
    """
    try:
        asyncio.run(program)
    except KeyboardInterrupt:
        leave(130)
    except SystemExit as end:
        if isinstance(end.code, int | None):
            leave(end.code or 0)
        leave(1, end.code)
    except Exception:
        traceback.print_exc()
        leave(1)
    leave(0)


def leave(code: int, last_words: str = "") -> NoReturn:
    """End the process with that exit code, after a last line on standard error. For programs that use Temporal.

    The interpreter's own shutdown waits for threads that read standard input, and Temporal's SDK can abort in it, after
    all is done and well (https://github.com/temporalio/sdk-python/issues/300).
    """
    if last_words:
        sys.stderr.write(f"{last_words}\n")
    end_telemetry()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

"""What a program does at its start."""

import logging

from durable_responses.process import setup_telemetry
from durable_responses.settings import LogLevel, Settings


def test_the_log_level_is_set_for_everything_but_single_requests() -> None:
    root, level = logging.getLogger(), logging.getLogger().level
    try:
        setup_telemetry(Settings(log_level=LogLevel.DEBUG))
        assert root.level == logging.DEBUG
        assert logging.getLogger("httpx").getEffectiveLevel() == logging.WARNING
    finally:
        root.handlers.clear()
        root.setLevel(level)

"""What a program does at its start."""

import logging
import subprocess
import sys

import pytest

from durable_responses.process import setup_telemetry
from durable_responses.settings import LogLevel, Settings


def test_the_log_level_is_set_for_everything_but_single_requests() -> None:
    root, level = logging.getLogger(), logging.getLogger().level
    try:
        setup_telemetry(Settings(log_level=LogLevel.DEBUG))
        assert root.level == logging.DEBUG
        for library in ("httpx", "httpx2"):
            assert logging.getLogger(library).getEffectiveLevel() == logging.WARNING
    finally:
        root.handlers.clear()
        root.setLevel(level)


@pytest.mark.parametrize(
    ("body", "code", "printed"),
    [
        ("print('done')", 0, "done"),
        ("raise ValueError('why')", 1, "ValueError: why"),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('last words')", 1, "last words"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_a_program_ends_with_its_own_exit_code(body: str, code: int, printed: str) -> None:
    """As it would without Temporal's SDK, which can abort in the interpreter's shutdown."""
    program = f"from durable_responses import run_main\nasync def main():\n    {body}\nrun_main(main())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert printed in done.stdout + done.stderr

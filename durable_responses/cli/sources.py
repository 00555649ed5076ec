"""Text that a command is given: from a file, or from standard input."""

import os
import signal
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from durable_responses.cli.output import UsageError, complain

STANDARD_INPUT = "-"
_MOST_BYTES = 4 * 1024 * 1024  # a run takes 1 MiB; its input as JSON may be longer


def text_of(source: str, said_by: str) -> str:
    """The text of a file, or of standard input for `-`. Raises `UsageError`, which names `said_by`, the option.

    Standard input is read to its end, which a terminal gives with Ctrl-D.
    """
    try:
        if source == STANDARD_INPUT:
            if sys.stdin is not None and sys.stdin.isatty():
                complain(f"Reading {said_by} from the terminal; Ctrl-D on an empty line ends it.")
            content = _interruptible(_standard_input())
        else:
            with Path(source).open("rb") as file:
                content = _interruptible(file)
    except OSError as error:
        raise UsageError(f"{said_by} {source!r} cannot be read: {error.strerror or error}.") from None
    except ValueError:  # a name with a null in it
        raise UsageError(f"{said_by} {source!r} is not the name of a file.") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{said_by} {source!r} has more than {_MOST_BYTES} bytes: give long texts with --file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{said_by} {source!r} cannot be read: it is not UTF-8 text.") from None


def is_piped() -> bool:
    """Whether standard input is a pipe or a file, which somebody has put there to be read."""
    try:
        mode = os.fstat(_standard_input().fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:  # it was closed by whoever started us
        raise OSError("standard input is closed")
    return sys.stdin.buffer


def _interruptible(stream: BinaryIO) -> bytes:
    # The event loop only notes the first Ctrl-C, and a read would wait on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return stream.read(_MOST_BYTES + 1)
    finally:
        signal.signal(signal.SIGINT, before)

"""The standard streams of a command, whatever whoever started it has made of them, and how it leaves the process."""

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Callable
from typing import NoReturn

NOT_WRITTEN = 5
READER_GONE = 141
"""Nobody reads standard output any more; a shell says the same of a process that SIGPIPE ended."""

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class _Unfailing(io.FileIO):
    """A file that takes what cannot be written: what is said beside an answer must not cost the answer."""

    def write(self, data, /):  # type: ignore[no-untyped-def]
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare() -> None:
    """Fill the places of streams that are closed, before another file takes them; standard error never fails."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest place that is free
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 until the process ends
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(2, "wb", closefd=False)),
        encoding=getattr(sys.stderr, "encoding", None),
        errors="backslashreplace",
        line_buffering=True,
    )


def reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody will read any more."""
    try:
        mode = os.fstat(1).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return False
        looked = select.poll()
        looked.register(1, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in looked.poll(0))
    except OSError:
        return False


def leave(work: Callable[[], int], complain: Callable[[str], object]) -> NoReturn:
    """Do the work, whose result is the exit code, and leave the process; `complain` is told what cannot be written."""
    try:
        code = work()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich turns the one into the other
        code = READER_GONE
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        complain(
            f"Standard output cannot be written ({error.strerror}). Runs are safe: `result` prints the answer again."
        )
        code = NOT_WRITTEN
    sys.stderr.flush()
    # Temporal's SDK can abort in the interpreter's shutdown, after all is done (see `process.leave`).
    os._exit(code)

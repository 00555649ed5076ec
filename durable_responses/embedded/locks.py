"""Lock files that die with their holder.

A pid file lies after SIGKILL, and a pid is given to another process. A `flock` does neither: the kernel frees it when
the last process that holds the descriptor is gone, children that inherited it included. So "is it running?" is always
answered by the lock, and the pid written inside counts only while the lock is held.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from types import TracebackType

# `holder` takes a lock for an instant; anyone who wants to keep it retries after that instant.
_TRIES, _PAUSE = 10, 0.02


class HeldLock:
    """A lock that this process holds, and whatever child is given its descriptor `fd`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.ftruncate(fd, 0)

    def write_pid(self) -> None:
        """Write down that this process holds the lock."""
        os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Close this process's descriptor. The lock is free once no child holds it either."""
        os.close(self.fd)

    def __enter__(self) -> "HeldLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class LockFile:
    """A file that at most one process, and its children, hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def take(self) -> HeldLock | None:
        """The lock, with no pid in it; None when another process holds it."""
        for _ in range(_TRIES):
            if (fd := self._try(fcntl.LOCK_EX)) is not None:
                return HeldLock(fd)
            await asyncio.sleep(_PAUSE)
        return None

    @property
    def is_held(self) -> bool:
        """Whether some process holds the lock."""
        if not self.path.exists():
            return False
        fd = self._try(fcntl.LOCK_SH)
        if fd is not None:
            os.close(fd)
        return fd is None

    @property
    def holder(self) -> int | None:
        """The process that wrote its pid into the lock; None when the lock is free, or taken a moment ago."""
        if not self.is_held:
            return None
        pid = self.path.read_text().strip()
        return int(pid) if pid else None

    async def wait_until_free(self, timeout: float) -> bool:
        """Wait until nobody holds the lock; False when it is still held after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout
        while self.is_held:
            if loop.time() >= give_up:
                return False
            await asyncio.sleep(_PAUSE)
        return True

    def _try(self, kind: int) -> int | None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

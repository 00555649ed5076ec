"""A process on a terminal of its own: what it draws is read, keys are pressed."""

import asyncio
import fcntl
import os
import re
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

CTRL_C = "\x03"
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x1b\x07]*(?:\x1b\\|\x07))")
# The child makes the terminal its own, so that Ctrl-C is a signal. (`preexec_fn` would fork a process with threads.)
_ON_TERMINAL = """
import os, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(terminal, stream)
os.execv(sys.argv[2], sys.argv[2:])
"""


class TerminalProcess:
    """Runs a command on a pseudo-terminal. Use it as an async context manager; it is killed at the end."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, *, rows: int = 24, columns: int = 100
    ) -> None:
        self._command = list(command)
        self.env = {**env, "TERM": "xterm-256color"}
        self._cwd = cwd
        self._size = struct.pack("HHHH", rows, columns, 0, 0)
        self.raw = ""

    @property
    def text(self) -> str:
        """All that was ever drawn, without the escape sequences."""
        return _ESCAPES.sub("", self.raw)

    async def __aenter__(self) -> Self:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, self._size)
        launcher = [sys.executable, "-c", _ON_TERMINAL, os.ttyname(theirs), *self._command]
        self._process = await asyncio.create_subprocess_exec(*launcher, env=self.env, cwd=self._cwd)
        self._theirs = theirs  # kept open: reading would fail once nobody has it open
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self) -> None:
        self.raw += os.read(self._ours, 65536).decode(errors="replace")

    def press(self, keys: str) -> None:
        """Type on the terminal; the line discipline turns Ctrl-C into SIGINT."""
        os.write(self._ours, keys.encode())

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process, as `kill` does."""
        self._process.send_signal(signal)

    async def drawn(self, pattern: str, *, times: int = 1, timeout: float = 20) -> None:
        """Wait until the terminal has shown this, so many times."""
        give_up = time.monotonic() + timeout
        while len(re.findall(pattern, self.text)) < times:
            assert self._process.returncode is None or self._unread(), f"it ended without {pattern!r}:\n{self.text}"
            assert time.monotonic() < give_up, f"it did not draw {pattern!r}:\n{self.text}"
            await asyncio.sleep(0.02)

    async def ended(self, *, timeout: float = 20) -> int:
        """Wait for the end; returns the exit code."""
        async with asyncio.timeout(timeout):
            code = await self._process.wait()
            os.write(self._theirs, b"\0")  # comes last: what was written before may still be on its way
            while "\0" not in self.raw:
                await asyncio.sleep(0.01)
        self.raw = self.raw.replace("\0", "")
        return code

    def _unread(self) -> bool:
        waiting: int = struct.unpack("I", fcntl.ioctl(self._ours, termios.FIONREAD, b"\0\0\0\0"))[0]
        return waiting > 0

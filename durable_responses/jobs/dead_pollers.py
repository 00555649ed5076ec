"""Workers that Temporal still has on its list, minutes after they were killed."""

import os
import re
import socket
from pathlib import Path

_IDENTITY = re.compile(r"(\d+)@(.+)")


def has_ended(identity: str, host: str | None = None) -> bool:
    """Whether a poller was a process of this machine that is there no more. Of other machines nothing is known: False.

    `identity` is a client's as the SDK names it, `pid@host`; `host` is this machine's name.
    """
    named = _IDENTITY.fullmatch(identity)
    if named is None or named[2] != (host or socket.gethostname()):
        return False
    pid = int(named[1])
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # somebody else's process
        return False
    return _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended, and its parent has not looked yet. Only Linux tells."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return told.rpartition(")")[2].split()[:1] in (["Z"], ["X"])

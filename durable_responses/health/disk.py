"""Checks of the disk: whether there is room, and permission to write."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from durable_responses.health.checks import Check, note, ok, problem
from durable_responses.settings import Settings
from durable_responses.workspace import is_copy

_TOO_LITTLE, _LITTLE = 200 * 2**20, 2 * 2**30


def _free_at(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def check_disk(settings: Settings, free_at: Callable[[Path], int] = _free_at) -> list[Check]:
    """Free space and permissions in the state folder, and in the folder of results."""
    folders = {"state_folder": settings.state_folder, "output_root": settings.output_root}
    return [_look_at(Settings.variable(field), folder, free_at) for field, folder in folders.items()]


def check_workspace(settings: Settings) -> Check:
    """Whether the folder of the file tools is there, and can be written to."""
    folder = settings.workspace
    if not folder.is_dir():
        if is_copy(settings):
            return ok("workspace", f"{folder}, for a copy of the example files; the first start makes it")
        return problem("workspace", f"{folder} does not exist", "create that folder, or set AGENT_WORKSPACE")
    if not os.access(folder, os.W_OK):
        return note("workspace", f"{folder} can be read only", "change its permissions if agents are to write files")
    return ok("workspace", str(folder))


def _look_at(variable: str, folder: Path, free_at: Callable[[Path], int]) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return problem("disk", f"{folder} is not writable", f"change its permissions, or set {variable}")
    free = free_at(there)
    found = f"{free / 2**30:.1f} GiB free for {folder}"
    if free < _TOO_LITTLE:
        return problem("disk", found, f"free some space, or set {variable}")
    if free < _LITTLE:
        return note("disk", found, f"free some space soon, or set {variable}")
    return ok("disk", found)

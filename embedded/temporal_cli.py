"""The `temporal` binary: find it, or build it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from runtime import Settings, SetupError

VERSION = "1.5.1"


class TemporalCliMissing(SetupError):
    """There is no `temporal` binary and none could be had."""


async def find_temporal_cli(settings: Settings, say: Callable[[str], None]) -> Path:
    """The path of a working `temporal` binary; `say` is told, line by line, what takes time."""
    if settings.temporal_cli is not None:
        return settings.temporal_cli
    if found := shutil.which("temporal"):
        return Path(found)
    built = settings.cache_folder / "bin" / f"temporal-{VERSION}"
    if os.access(built, os.X_OK):
        return built
    say("No temporal binary.")
    raise TemporalCliMissing("No `temporal` binary was found: set TEMPORAL_CLI to one.")

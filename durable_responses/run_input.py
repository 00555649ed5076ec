"""What the settings add to the input of a run, and where its files are: the same for each door."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_responses.settings import Settings


def with_settings(fields: Mapping[str, Any], settings: "Settings") -> dict[str, Any]:
    """The fields of an `AgentInput`, with what the settings say where they say nothing."""
    given: dict[str, Any] = {"allow_websocket": settings.allow_websocket, **settings.run_fields, **fields}
    if given.get("files"):
        given.setdefault("files_root", str(settings.files_root))
    if isinstance(save := given.get("save"), dict):
        given["save"] = {"root": str(settings.output_root), **save}
    return given


def path_in(root: Path, path: str, started_in: Path) -> str:
    """A file's path, relative to `root`, in which it must lie; `path` itself may be relative to another folder.

    Raises ValueError: what is wrong with it, as the end of a sentence.
    """
    resolved = (started_in / path).resolve()
    if not resolved.is_file():
        raise ValueError("does not exist or is not a file")
    if not resolved.is_relative_to(root):
        raise ValueError(f"is outside {root}: put it there, or set AGENT_FILES_ROOT")
    return str(resolved.relative_to(root))

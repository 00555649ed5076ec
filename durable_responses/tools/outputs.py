"""Answers of tools that are too long for a model: kept whole in the workspace, and read on by `read_output`.

They lie under `.outputs/`, which file tools do not list, in a folder for each run. The model is given the beginning,
the end, the size and the id.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from durable_responses.json_text import both_ends, text_bytes, well_formed
from durable_responses.tools.files import OUTPUTS as FOLDER
from durable_responses.tools.images import Image, names_of
from durable_responses.tools.registry import Effect, ToolContext, ToolError, tool

LONG_OUTPUT = 32 * 1024  # bytes of UTF-8
LARGEST_KEPT = 64 * 1024 * 1024  # characters
READ_CHARACTERS = 16_000
KEPT_FOR = 31 * 86_400.0  # seconds after the last output of a run
MOST_KEPT = 1024**3  # bytes of all runs together
_OWNER = "run"  # the file that names the run of a folder
_UNFINISHED = ".new"
_NAME_CHARACTERS = 60
_SHORTEST_ENDS = 64  # bytes


@tool(effect=Effect.PURE, timeout=30)
def read_output(
    context: ToolContext,
    id: Annotated[str, Field(description="The id of the output.")],  # noqa: A002 the model's word
    offset: Annotated[int, Field(ge=0, description="The character to start at; 0 is the first.")] = 0,
) -> str:
    """Read on in an answer of a tool that was too long to be given whole. A note says where to continue."""
    if not re.fullmatch(r"[\w-]{1,64}", id):
        raise ToolError(f"{id!r} is not the id of an output.")
    try:
        # Bytes, not lines: a text of another system keeps its line ends, by which its characters are counted.
        text = (_folder(context.workspace, context.run) / f"{id}.txt").read_bytes().decode()
    except OSError:
        raise ToolError(f"There is no output {id!r} of this run here; call the tool again that gave it.") from None
    if offset and offset >= len(text):
        raise ToolError(f"The output {id!r} has only {len(text):,} characters.")
    part = text[offset : offset + READ_CHARACTERS]
    end = offset + len(part)
    return part if end == len(text) else f"{part}\n[cut: {len(text):,} characters in all; continue with offset={end}]"


def is_long(text: str, longest: int) -> bool:
    """Whether a text has more than `longest` bytes of UTF-8."""
    return len(text) > longest or len(text.encode(errors="replace")) > longest


def keep(workspace: Path, run: str, id: str, text: str) -> None:  # noqa: A002 as the model calls it
    """Write an output of a run, for its owner's eyes alone. Blocking. Raises `OSError`."""
    if len(text) > LARGEST_KEPT:
        raise OSError(errno.EFBIG, f"it has {len(text):,} characters")
    _write(_made(workspace, run), f"{id}.txt", well_formed(text).encode())


def keep_images(workspace: Path, run: str, id: str, images: Sequence[Image]) -> list[str]:  # noqa: A002
    """Write the images of an output of a run, in the same way. Returns the names of their files."""
    folder, names = _made(workspace, run), names_of(id, images)
    for name, image in zip(names, images, strict=True):
        _write(folder, name, image.data)
    return names


def read_image(workspace: Path, run: str, name: str) -> bytes:
    """The image that a run has kept under a name. Blocking. Raises `OSError`."""
    return (_folder(workspace, run) / name).read_bytes()


def _made(workspace: Path, run: str) -> Path:
    folder = _folder(workspace, run)
    folder.parent.mkdir(exist_ok=True, mode=0o700)  # not the workspace, if that is missing
    if folder.parent.is_symlink() or folder.is_symlink():
        raise OSError(errno.ELOOP, f"{FOLDER} is a link, which may lead out of the workspace")
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / _OWNER).write_text(run, encoding="utf-8")
    (folder.parent / ".gitignore").write_text("*\n")
    return folder


def _write(folder: Path, name: str, data: bytes) -> None:
    written = folder / f"{name}.{os.getpid()}{_UNFINISHED}"
    with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    written.replace(folder / name)
    _forget_old(folder.parent)


@dataclass(frozen=True)
class KeptOutputs:
    """What one run has kept, oldest first; `run`: its id, None where the folder does not say; `last`: when that was."""

    folder: Path
    run: str | None
    files: tuple[tuple[Path, int], ...]
    last: float

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(size for _, size in self.files)


async def make_room(
    workspace: Path, run: str, has_ended: Callable[[str], Awaitable[bool]], most_kept: int = MOST_KEPT
) -> None:
    """Remove the oldest outputs as long as all of them have more than `most_kept` bytes, but no running run's newest.

    Those of other runs that have ended go first, then those of this run, then those of runs that are under way: what is
    gone can be had again by calling the tool again. Raises `OSError`.
    """
    kept = await asyncio.to_thread(_all_kept, workspace)
    excess = sum(each.size for each in kept) - most_kept
    mine, under_way = _folder(workspace, run), []
    for each in kept:
        if excess <= 0:
            return
        if each.folder != mine and each.run is not None and await has_ended(each.run):
            await asyncio.to_thread(shutil.rmtree, each.folder, ignore_errors=True)
            excess -= each.size
        else:
            under_way.append(each)
    under_way.sort(key=lambda each: each.folder != mine)
    for path, size in (file for each in under_way for file in each.files[:-1]):
        if excess <= 0:
            return
        await asyncio.to_thread(path.unlink, missing_ok=True)
        excess -= size


def _all_kept(workspace: Path) -> list[KeptOutputs]:
    """What each run has kept, the run that has kept nothing for longest first."""
    folders = [path for path in (workspace / FOLDER).iterdir() if path.is_dir() and not path.is_symlink()]
    found = (_kept_in(folder) for folder in folders)
    return sorted((each for each in found if each is not None), key=lambda each: each.last)


def _is_kept(path: Path) -> bool:
    return path.name != _OWNER and path.suffix != _UNFINISHED


def _kept_in(folder: Path) -> KeptOutputs | None:
    with contextlib.suppress(OSError):  # another process may tidy up as well
        files = sorted((path.stat().st_mtime, path, path.stat().st_size) for path in folder.iterdir() if _is_kept(path))
        owner = folder / _OWNER
        run = owner.read_text(encoding="utf-8") if owner.is_file() else None
        last = files[-1][0] if files else folder.stat().st_mtime
        return KeptOutputs(folder, run, tuple((path, size) for _, path, size in files), last)
    return None


_READS_ON = re.compile(r'read_output with id "([\w-]{1,64})"')


def id_in(text: str) -> str | None:
    """The id of the output that a text is the beginning and the end of; None if it says none."""
    found = _READS_ON.search(text)
    return found[1] if found else None


def shortened_within(text: str, id: str, longest: int, room: int) -> str:  # noqa: A002 as the model calls it
    """The same with fewer of its bytes, where it would have more than `room` as JSON: control characters take six."""
    ends = shortened(text, id, longest)
    while text_bytes(ends) > room and longest > _SHORTEST_ENDS:
        longest //= 2
        ends = shortened(text, id, longest)
    return ends


def shortened(text: str, id: str, longest: int) -> str:  # noqa: A002 as the model calls it
    """The beginning and the end of an output, within `longest` bytes beside a note, which names size and id."""
    text = well_formed(text)
    head, tail = both_ends(text.encode(), longest * 3 // 4, longest // 4)
    note = (
        f"[{len(text):,} characters in all, too many to be given whole: this is the beginning, and the end follows. "
        f'read_output with id "{id}" and offset {len(head)} reads on.]'
    )
    return f"{head}\n{note}\n{tail}"


def _folder(workspace: Path, run: str) -> Path:
    name = re.sub(r"[^\w-]", "_", run)[:_NAME_CHARACTERS]
    return workspace / FOLDER / f"{name}-{hashlib.sha256(run.encode()).hexdigest()[:12]}"


def _forget_old(outputs: Path) -> None:
    with contextlib.suppress(OSError):  # another process may tidy up as well
        for folder in outputs.iterdir():
            if time.time() - folder.stat().st_mtime > KEPT_FOR:
                shutil.rmtree(folder, ignore_errors=True)

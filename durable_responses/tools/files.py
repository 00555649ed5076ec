"""Function tools for the workspace folder: list, read, search and write its files.

Paths are relative to the workspace. Nothing outside it can be reached: `..`, absolute paths and symbolic links are
resolved before they are checked.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field

from durable_responses.shown_text import is_name
from durable_responses.tools.registry import Effect, ToolContext, ToolError, tool

OUTPUTS = ".outputs"
"""The folder of the workspace that is not for files: long answers of tools, of all runs."""
LISTED_FILES = 1000
READ_BYTES = 5 * 1024 * 1024
READ_LINES = 2000
READ_CHARACTERS = 80_000
WRITE_BYTES = 1024 * 1024
SEARCHED_FILES = 10_000
SHOWN_MATCHES = 200
MATCH_CHARACTERS = 300

Folder = Annotated[str, Field(description="Folder relative to the workspace.")]
Glob = Annotated[str, Field(description="Only files whose name or path matches, as in *.md or docs/*.md.")]


@tool(effect=Effect.PURE, timeout=30)
def list_files(context: ToolContext, folder: Folder = ".", pattern: Glob = "*") -> str:
    """List the files of the workspace and of its folders, except hidden ones, with their sizes in bytes."""
    start = _inside(context.workspace, folder)
    if not start.is_dir():
        raise ToolError(f"{folder!r} is not a folder of the workspace.")
    root = context.workspace.resolve()
    lines = [f"{_shown(path, root)}  {_size(path)}" for path in islice(_walk(start, pattern), LISTED_FILES + 1)]
    if len(lines) > LISTED_FILES:
        lines[LISTED_FILES:] = [f"[cut after {LISTED_FILES} files; list a folder or give a pattern]"]
    return "\n".join(lines) or "No files match."


@tool(effect=Effect.PURE, timeout=30)
def read_file(
    context: ToolContext,
    path: Annotated[str, Field(description="File relative to the workspace.")],
    first_line: Annotated[int, Field(ge=1, description="The line to start at; 1 is the first.")] = 1,
    lines: Annotated[int, Field(ge=1, le=READ_LINES, description="How many lines to read.")] = READ_LINES,
) -> str:
    """Read a text file of the workspace. A long one is read in parts: a note says where to continue."""
    content = _read_text(_existing(context.workspace, path), path).splitlines(keepends=True)
    wanted = content[first_line - 1 : first_line - 1 + lines]
    if not wanted and first_line > 1:
        raise ToolError(f"{path!r} has only {len(content)} lines.")
    text, taken = _fitting(wanted)
    following = first_line + taken
    if following <= len(content):
        text += f"\n[cut: {len(content)} lines in all; continue with first_line={following}]"
    return text


@tool(effect=Effect.PURE, timeout=60)
def search_files(
    context: ToolContext,
    text: Annotated[str, Field(min_length=1, description="The text to find, ignoring case; not a regular expression.")],
    folder: Folder = ".",
    pattern: Glob = "*",
) -> str:
    """Find the lines that contain a text, in the text files of the workspace. Returns `path:line: text`."""
    # No regular expressions: one that backtracks for ever would hold the interpreter's lock, and with it the worker.
    start = _inside(context.workspace, folder)
    if not start.exists():
        raise ToolError(f"There is no {folder!r} in the workspace.")
    root = context.workspace.resolve()
    found: list[str] = []
    passed_over = 0
    for searched, path in enumerate(_walk(start, pattern)):
        if searched == SEARCHED_FILES or len(found) >= SHOWN_MATCHES:
            found.append(f"[stopped after {searched:,} files; search a folder, or give a pattern]")
            break
        try:
            found += _matches(path, root, text)
        except ToolError:
            passed_over += 1
    if passed_over:
        found.append(f"[{passed_over:,} files not searched: binary, unreadable or larger than {READ_BYTES:,} bytes]")
    return "\n".join(found) or "No line contains this text."


@tool(effect=Effect.IDEMPOTENT, timeout=30)
def write_file(
    context: ToolContext,
    path: Annotated[str, Field(description="File relative to the workspace; missing folders are created.")],
    content: Annotated[str, Field(description="The whole text of the file.")],
) -> str:
    """Write a text file of the workspace, replacing what it held before."""
    target = _writable(context, path)
    encoded = content.encode(errors="replace")
    if len(encoded) > WRITE_BYTES:
        raise ToolError(
            f"{len(encoded):,} bytes are too many; the limit for a file is {WRITE_BYTES:,}. Write several files."
        )
    if target.is_dir():
        raise ToolError(f"{path!r} is a folder; give the path of a file.")
    if target.exists() and not (target.is_file() and target.stat().st_mode & 0o222):
        raise ToolError(f"{path!r} is read-only; write another file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, encoded)
    except OSError as error:
        raise ToolError(f"{path!r} cannot be written: {error.strerror}.") from error
    return f"Wrote {len(encoded):,} bytes to {_shown(target, context.workspace.resolve())}."


# --- paths -------------------------------------------------------------------------------------------------------


def _inside(workspace: Path, path: str) -> Path:
    root = workspace.resolve()
    if not root.is_dir():
        raise ToolError("The workspace folder does not exist on this worker.")
    try:
        resolved = (root / path).resolve()
        resolved.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise ToolError(f"{path!r} is not a usable path.") from error
    if not resolved.is_relative_to(root):
        raise ToolError(f"{path!r} is outside the workspace; give a path relative to it, without '..'.")
    if resolved.is_relative_to(root / OUTPUTS):
        raise ToolError(f"{path!r} is kept for read_output, which reads the answers of this run.")
    return resolved


def _writable(context: ToolContext, path: str) -> Path:
    """A place where a model may write. Hidden files steer programs: a hook of git, the settings of an editor, keys."""
    if not is_name(path):
        raise ToolError(f"{path!r} contains control characters; give a path without them.")
    target = _inside(context.workspace, path)
    parts = (*Path(path).parts, *target.relative_to(context.workspace.resolve()).parts)
    if not context.allow_hidden_files and any(part.startswith(".") and part != ".." for part in parts):
        raise ToolError(f"{path!r} is hidden or in a hidden folder, where nothing may be written on this worker.")
    return target


def _existing(workspace: Path, path: str) -> Path:
    file = _inside(workspace, path)
    if file.is_dir():
        raise ToolError(f"{path!r} is a folder; list_files shows what is in it.")
    if not file.exists():
        raise ToolError(f"There is no file {path!r} in the workspace; list_files shows what there is.")
    return file


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _walk(start: Path, pattern: str) -> Iterator[Path]:
    """The regular files below a folder, or the file itself, sorted. No links, which may lead anywhere."""
    if start.is_file():
        yield start
        return
    for folder, folders, files in os.walk(start):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if path.match(pattern) and path.is_file() and not path.is_symlink():
                yield path


def _size(path: Path) -> int:
    return path.lstat().st_size


# --- contents ----------------------------------------------------------------------------------------------------


def _read_text(file: Path, path: str) -> str:
    # A pipe or a device would block the thread for ever.
    if not file.is_file():
        raise ToolError(f"{path!r} is not a regular file.")
    try:
        with file.open("rb") as opened:
            content = opened.read(READ_BYTES + 1)
    except OSError as error:
        raise ToolError(f"{path!r} cannot be read: {error.strerror}.") from error
    if len(content) > READ_BYTES:
        raise ToolError(f"{path!r} is too large: {_size(file):,} bytes; the limit is {READ_BYTES:,}.")
    text = _as_text(content)
    if text is None:
        raise ToolError(f"{path!r} is a binary file of {len(content):,} bytes; only text can be read.")
    return text


def _as_text(content: bytes) -> str | None:
    try:
        return None if b"\0" in content else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _fitting(lines: list[str]) -> tuple[str, int]:
    """As many whole lines as fit, at least one, itself cut where it is too long; and their number."""
    room = READ_CHARACTERS
    for taken, line in enumerate(lines):
        room -= len(line)
        if room < 0:
            kept = max(taken, 1)
            return "".join(lines[:kept])[:READ_CHARACTERS], kept
    return "".join(lines), len(lines)


def _matches(path: Path, root: Path, text: str) -> list[str]:
    wanted, shown = text.casefold(), _shown(path, root)
    lines = _read_text(path, shown).splitlines()
    found = [
        f"{shown}:{number}: {line.strip()[:MATCH_CHARACTERS]}"
        for number, line in enumerate(lines, start=1)
        if wanted in line.casefold()
    ]
    if len(found) > SHOWN_MATCHES:
        found[SHOWN_MATCHES:] = [f"[{len(found) - SHOWN_MATCHES:,} more in {shown}]"]
    return found


def _replace(target: Path, content: bytes) -> None:
    """All or nothing: a reader sees either the old file or the new one, which keeps its mode."""
    unfinished = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        unfinished.touch(0o666 if mode is None else 0o600, exist_ok=False)
        unfinished.write_bytes(content)
        if mode is not None:
            unfinished.chmod(mode)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)

"""Saving the result of a run as a Markdown file, inside the allowed output roots."""

import asyncio
import hashlib
import logging
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.messages import (
    ArtifactFormat,
    FailureType,
    ResponseRecord,
    SaveArtifact,
    SavedArtifact,
    SaveOptions,
)
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.shown_text import is_name, shown, without_unnamable

logger = logging.getLogger(__name__)

DEFAULT_FOLDER = "_gpt5_docs"
SLUG_CHARACTERS = 30
JOB_ID_CHARACTERS = 128
NAME_BYTES = 255  # of Linux's and macOS's file systems
_COMPARED = 64 * 1024  # characters


class ArtifactError(Exception):
    """A result cannot be saved; one sentence names the option and says what to do."""


class ArtifactActivities:
    """The activity that saves results. It writes only under the roots it is given."""

    def __init__(self, outputs: "OutputFolders") -> None:
        self._outputs = outputs

    @activity.defn
    async def save_artifact(self, save: SaveArtifact) -> SavedArtifact:
        """Create the file; a repeated attempt finds the file of the earlier one.

        Raises a non-retryable `ApplicationError` of type `artifact_not_saved`.
        """
        job_id = activity.info().workflow_id or ""
        try:
            async with Heartbeats():
                return await asyncio.to_thread(write_artifact, save, job_id, self._outputs)
        except ArtifactError as error:
            raise _not_saved(str(error)) from error
        except OSError as error:
            raise _not_saved(f"The result could not be written: {error.strerror} ({error.filename}).") from error


def write_artifact(save: SaveArtifact, job_id: str, outputs: "OutputFolders") -> SavedArtifact:
    """Write the file that `save` describes. Blocking. Raises `ArtifactError` and `OSError`."""
    folder = outputs.folder(save.options)
    path = folder / file_name(save, job_id)
    whole = folder / whole_text_name(job_id, save.response_id or "") if save.whole_text else None
    if whole is not None and not whole.exists() and _is_longer(path, save):
        return SavedArtifact(path=str(path), bytes=path.stat().st_size)
    content = document(_with_whole_text(save, whole)).encode(errors="replace")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _create(path, content)
    except (ArtifactError, OSError) as error:
        if whole is None:
            raise
        raise ArtifactError(f"{error} The whole text is in {save.whole_text}.") from error
    if whole is not None:
        whole.unlink(missing_ok=True)
    return SavedArtifact(path=str(path), bytes=len(content))


# --- a text that history has no room for -------------------------------------------------------------------------


async def keep_whole_text(
    record: ResponseRecord, options: SaveOptions | None, outputs: "OutputFolders"
) -> ResponseRecord:
    """Write the text that a record had to be cut from into a file of its own, if the result is to be saved at all.

    Called where the whole text is, by the activity that has read it; `save_artifact` puts it into the file of the
    result. Another attempt writes the same file. Raises nothing: the run still has what fits.
    """
    text, record.uncut = record.uncut, None
    if text is None or options is None or record.status == ResponseStatus.FAILED:
        return record
    try:
        name = whole_text_name(activity.info().workflow_id or "", record.id)
        record.whole_text = str(await asyncio.to_thread(_write_whole_text, text, name, options, outputs))
    except (ArtifactError, OSError) as error:
        logger.warning("The text of %s is kept as far as it fits into history: %s", record.id, error)
    return record


def whole_text_name(job_id: str, response_id: str) -> str:
    """The name of that file: one for each response of a run."""
    return f"agent_{as_file_name(job_id)}_{hashlib.sha256(response_id.encode()).hexdigest()[:16]}_whole_text.txt"


def _write_whole_text(text: str, name: str, options: SaveOptions, outputs: "OutputFolders") -> Path:
    folder = outputs.folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with _unfinished(path, text.encode(errors="replace")) as unfinished:
        unfinished.replace(path)
    return path


def _with_whole_text(save: SaveArtifact, whole: Path | None) -> SaveArtifact:
    """With all of the text; where it is on another machine, with a note of where it is."""
    if whole is None:
        return save
    if whole.is_file() and not whole.is_symlink():
        text = whole.read_text(errors="replace")
    else:
        text = f"{save.output_text}\n[all of it is in {save.whole_text}, on the machine of the worker that read it]"
    return save.model_copy(update={"output_text": text})


def _is_longer(path: Path, save: SaveArtifact) -> bool:
    """Whether an earlier attempt has written the file with the whole text, of which `save` has the beginning."""
    if not path.is_file() or path.is_symlink():
        return False
    beginning = shown(save.output_text[:_COMPARED]).encode(errors="replace")
    return path.stat().st_size > len(save.output_text) and beginning in path.read_bytes()


def _not_saved(message: str) -> ApplicationError:
    return ApplicationError(message, type=FailureType.ARTIFACT_NOT_SAVED, non_retryable=True)


# --- where -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutputFolders:
    """Where a worker saves results: under these roots, and in hidden folders only if that is allowed."""

    roots: Sequence[Path] = ()
    allow_hidden: bool = False

    def folder(self, options: SaveOptions) -> Path:
        """The absolute folder for the file, symlinks resolved. Raises `ArtifactError` if nothing may be saved there."""
        root = self._root(options.root)
        given = (options.folder or "").strip() or DEFAULT_FOLDER
        if not is_name(given):
            raise ArtifactError("save.folder contains control characters; give another one.")
        try:
            folder = (root / Path(given).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"save.folder is not a usable path ({error}); give another one.") from error
        if not folder.is_relative_to(root):
            raise ArtifactError("save.folder is outside the output root; give a folder under it.")
        if not self.allow_hidden and any(part.startswith(".") for part in folder.relative_to(root).parts):
            raise ArtifactError("save.folder is hidden, where nothing is saved unless AGENT_ALLOW_HIDDEN_FILES is set.")
        return folder

    def check(self, options: SaveOptions) -> None:
        """Raise `ArtifactError` if a result could not be saved as things are now. Blocking; writes nothing.

        A name that is taken is no reason: the file may be the run's own, and an answer is worth more than a file.
        """
        folder = self.folder(options)
        name = given_name(options.filename)
        if len(os.fsencode(name or "")) > NAME_BYTES:
            raise ArtifactError(f"save.filename is too long; a name has at most {NAME_BYTES} bytes.")
        try:
            there = next(path for path in (folder, *folder.parents) if path.exists())
        except OSError as error:
            raise ArtifactError(f"save.folder is not a usable path ({error.strerror}); give another one.") from error
        if not there.is_dir():
            raise ArtifactError(f"save.folder cannot be made: {there} is a file; give another one.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ArtifactError(f"save.folder cannot be written: {there} is not writable; give another one.")

    def _root(self, given: str | None) -> Path:
        allowed = [root.expanduser().resolve() for root in self.roots]
        if not allowed:
            raise ArtifactError("This worker allows no folder to save in; set AGENT_OUTPUT_ROOT for it.")
        if given is None:
            return allowed[0]
        if not is_name(given) or not Path(given).is_absolute():
            raise ArtifactError("save.root is not an absolute path; give the folder's absolute path.")
        root = Path(given).resolve()
        parents = [parent for parent in allowed if root.is_relative_to(parent)]
        if not parents:
            raise ArtifactError("save.root is outside the worker's allowed roots; set the worker's AGENT_OUTPUT_ROOT.")
        if not self.allow_hidden and any(part.startswith(".") for part in root.relative_to(parents[0]).parts):
            raise ArtifactError("save.root is hidden, where nothing is saved unless AGENT_ALLOW_HIDDEN_FILES is set.")
        return root


def file_name(save: SaveArtifact, job_id: str) -> str:
    """The given name, made safe, else `agent_<UTC time>_<slug>_<job id>.md`."""
    return given_name(save.options.filename) or (
        f"agent_{_utc(save.finished_at):%Y%m%d%H%M%S}_{slug(save.task)}_{as_file_name(job_id)}.md"
    )


def given_name(filename: str | None) -> str | None:
    """The caller's name for the file, made safe; None if there is none, or nothing is left of it."""
    if not (given := harmless(filename or "")):
        return None
    return given if given.lower().endswith(".md") else f"{given}.md"


def slug(text: str) -> str:
    """The first words of a text in the characters a-z, 0-9 and `-`, at most 30 of them; `task` if none is left."""
    ascii_text = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:SLUG_CHARACTERS].rstrip("-") or "task"


def harmless(name: str) -> str:
    """Without separators, control characters and `..`; nothing is left of a name that only navigates."""
    name = without_unnamable(re.sub(r"[/\\]", "", name))
    while ".." in name:
        name = name.replace("..", "")
    return name.strip(" .")


def as_file_name(job_id: str) -> str:
    """Our own job ids as they are. Others may hold any text: a hash tells apart what had to be replaced."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", job_id)
    if name == job_id and len(name) <= JOB_ID_CHARACTERS:
        return name
    return f"{name[:JOB_ID_CHARACTERS]}-{hashlib.sha256(job_id.encode()).hexdigest()[:8]}"


# --- what --------------------------------------------------------------------------------------------------------


def document(save: SaveArtifact) -> str:
    """The Markdown text of the file, which many will print: without control characters."""
    if save.options.format is ArtifactFormat.CLEAN:
        return _with_newline(shown(save.output_text))
    sections = [f"# Task\n\n{save.task}"]
    if save.reasoning_summary:
        sections.append(f"## Summary\n\n{save.reasoning_summary}")
    sections.append(f"## Output\n\n{save.output_text}")
    return shown("\n\n".join([*sections, f"---\n\n{_footer(save)}"]))


def _footer(save: SaveArtifact) -> str:
    usage = save.usage
    tokens = (
        f"{usage.input_tokens:,} input ({usage.input_tokens_details.cached_tokens:,} cached), "
        f"{usage.output_tokens:,} output ({usage.output_tokens_details.reasoning_tokens:,} reasoning), "
        f"{usage.input_tokens + usage.output_tokens:,} total"
    )
    facts = {
        "Time": f"{_utc(save.finished_at):%Y-%m-%dT%H:%M:%SZ}",
        "Response": save.response_id or "none",
        "Model": save.model or "unknown",
        "Iterations": str(save.iterations),
        "Tokens": tokens,
    }
    return "".join(f"- {name}: {value}\n" for name, value in facts.items())


def _with_newline(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


# --- how ---------------------------------------------------------------------------------------------------------


def _create(path: Path, content: bytes) -> None:
    """Create the file with all of its content, or not at all, and never over another one."""
    with _unfinished(path, content) as unfinished:
        try:
            # Unlike a rename, a link fails where the name is taken, be it by a symlink.
            os.link(unfinished, path)
        except FileExistsError as error:
            if not _holds(path, content):
                raise ArtifactError(f"{path} already exists; give another save.filename.") from error


@contextmanager
def _unfinished(path: Path, content: bytes) -> Iterator[Path]:
    """A file with this content beside the path, which is gone afterwards."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _holds(path: Path, content: bytes) -> bool:
    """Whether an earlier attempt, whose answer was lost, has written this very file."""
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content

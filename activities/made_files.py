"""Saving what the provider's tools have made beside the result: files in containers, and images.

An image is inside the response, megabytes of it that history must never hold: it is written where the response is read.
A container ends twenty minutes after its last use, so an activity of its own fetches its files as soon as the response
has ended: those that the container lists, and those that the answer cites.

What cannot be saved is listed with the reason. Nothing here fails a run.
"""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from temporalio import activity

from durable_responses.activities.artifacts import (
    NAME_BYTES,
    ArtifactError,
    OutputFolders,
    as_file_name,
    harmless,
    keep_whole_text,
)
from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.messages import (
    CitedFile,
    FilesAt,
    ResponseRecord,
    SavedFile,
    SavedFiles,
    SaveFiles,
    SaveOptions,
)
from durable_responses.activities.records import container_of
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import ConnectionLost, NotFound, ResponsesError
from durable_responses.responses_api.models import (
    CONTAINER_FILE_CITATION,
    IMAGE_GENERATION_CALL,
    ContainerFile,
    Message,
    OtherItem,
    OutputItem,
)
from durable_responses.sizes import MEBIBYTE
from durable_responses.tools.images import decoded, image_of

LARGEST_FILE = 256 * MEBIBYTE
SAVED_WITHIN = 600.0  # seconds, for all files of a response
MOST_CONTAINERS = 20  # of one response
MOST_CITED = 100  # of one response
MOST_IMAGES = 100  # of one response
_LONGEST_ID = 512  # characters
_LONGEST_NAME = 200  # characters of a name that is shown
_LONGEST_REASON = 300  # characters
_MARK_DIGITS = 12
_LONGEST_ENDING = 20  # bytes, with the dot
_LONGEST_PAUSE = 20.0  # seconds
_USERS = "user"  # the `source` of what was put into a container, and was not made there

T = TypeVar("T")


# --- what a response tells of them -------------------------------------------------------------------------------


async def kept_beside(record: ResponseRecord, options: SaveOptions | None, outputs: OutputFolders) -> ResponseRecord:
    """The record as it travels, once what it has no room for is written: the whole text, and its images.

    Called where the whole response is, by the activity that has read it. Another attempt writes the same files.
    """
    await keep_made(record, options, outputs)
    return await keep_whole_text(record, options, outputs)


async def keep_made(record: ResponseRecord, options: SaveOptions | None, outputs: OutputFolders) -> None:
    """The same for what its tools have made alone."""
    made, record.made = record.made or [], None
    if made and options is not None and options.files and record.is_finished:
        record.files = await asyncio.to_thread(_save_images, made, record.id, options, outputs) or None
        record.files_at = files_at(made)


def files_at(made: Sequence[OutputItem]) -> FilesAt | None:
    """The containers of a response, and the files in them that it cites; None where there are none."""
    named = (container_of(item) or "" for item in made)
    containers = dict.fromkeys(id_ for id_ in named if 0 < len(id_) <= _LONGEST_ID)
    cited: dict[tuple[str, str], CitedFile] = {}
    for note in (note for item in made if isinstance(item, Message) for note in item.annotations):
        container_id, file_id = _text(note, "container_id"), _text(note, "file_id")
        if note.type == CONTAINER_FILE_CITATION and container_id and file_id and len(cited) < MOST_CITED:
            name = str(_text(note, "filename") or "")[:_LONGEST_NAME] or None
            cited[container_id, file_id] = CitedFile(container_id=container_id, file_id=file_id, name=name)
            containers.setdefault(container_id)
    if not containers:
        return None
    return FilesAt(containers=list(containers)[:MOST_CONTAINERS], cited=list(cited.values()))


def _text(of: OutputItem | object, name: str) -> str | None:
    value = (getattr(of, "model_extra", None) or {}).get(name)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID else None


# --- images ------------------------------------------------------------------------------------------------------

_IMAGE_FORMS = {
    "png": "png",
    "webp": "webp",
    "jpeg": "jpeg",
    "jpg": "jpeg",
    "gif": "gif",
    "svg": "svg",
    "svg+xml": "svg",
}
_SVG = re.compile(rb"\s*<(?:svg|\?xml)", re.IGNORECASE)


def _save_images(
    made: Sequence[OutputItem], response_id: str, options: SaveOptions, outputs: OutputFolders
) -> dict[str, SavedFile]:
    images = [item for item in made if isinstance(item, OtherItem) and item.type == IMAGE_GENERATION_CALL]
    marked = {mark_of(response_id, item.id or str(n)): item for n, item in enumerate(images[:MOST_IMAGES])}
    return {
        mark: _save_image(item, mark, options, outputs)
        for mark, item in marked.items()
        if (item.model_extra or {}).get("result")
    }


def _save_image(item: OtherItem, mark: str, options: SaveOptions, outputs: OutputFolders) -> SavedFile:
    told = item.model_extra or {}
    name = "image.png"
    try:
        content, form = decoded(str(told["result"]))
        name = f"image.{_form_of(content, [str(told.get('output_format')), form])}"
        path = run_folder(options, outputs) / saved_name(name, mark)
        _clear(path.parent, f".{path.name}.*{_TEMPORARY}")
        with _unfinished(path, _TEMPORARY) as unfinished, unfinished.open("xb") as file:
            file.write(content)
            _finish(file, unfinished, path)
    except ValueError:  # of base64, or of characters that are not ASCII
        return _not_saved(name, "The image is not valid base64.")
    except (ArtifactError, OSError) as error:
        return _not_saved(name, _told(error))
    return SavedFile(name=name, path=str(path), bytes=len(content))


def _form_of(content: bytes, told: Sequence[str]) -> str:
    """The form that is told of an image, else that of its first bytes, else that which OpenAI makes unasked."""
    named = (_IMAGE_FORMS.get(form.lower().removeprefix("image/")) for form in told)
    seen = image_of(content)
    return next(filter(None, named), seen.suffix if seen else "svg" if _SVG.match(content) else "png")


# --- names -------------------------------------------------------------------------------------------------------


def run_folder(options: SaveOptions, outputs: OutputFolders) -> Path:
    """The folder for the files of this run, beside its result; it is made. Raises `ArtifactError` and OSError."""
    folder = outputs.folder(options) / f"agent_{as_file_name(activity.info().workflow_id or '')}_files"
    if folder.is_symlink():
        raise ArtifactError(f"{folder} is a link that leads elsewhere.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def mark_of(*parts: str) -> str:
    """What tells apart files with the same name, and is the same for the same file."""
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:_MARK_DIGITS]


def saved_name(given: str, mark: str) -> str:
    """The name that a file is saved under: its own as far as it is harmless and short enough, and its mark."""
    name = harmless(re.split(r"[/\\]", given)[-1])
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) >= _LONGEST_ENDING:
        stem, dot, ending = name, "", ""
    # The name of what is not whole yet is longer.
    room = NAME_BYTES - 64 - _MARK_DIGITS - _LONGEST_ENDING
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .") or "file"
    return f"{stem}-{mark}{dot}{ending}"


def _not_saved(name: str, why: str) -> SavedFile:
    return SavedFile(name=_shown(name), error=why[:_LONGEST_REASON])


def _shown(name: str) -> str:
    return harmless(re.split(r"[/\\]", name)[-1])[:_LONGEST_NAME] or "file"


def _told(error: ArtifactError | OSError) -> str:
    return f"It could not be written: {error.strerror}." if isinstance(error, OSError) else str(error)


# --- files that appear when they are whole -----------------------------------------------------------------------

_TEMPORARY = ".tmp"
_PART = ".part"  # of a file in a container: only one activity of a run fetches these at a time


def _clear(folder: Path, pattern: str) -> None:
    """Without what was left by attempts that were killed."""
    for left in folder.glob(pattern):
        left.unlink(missing_ok=True)


@contextmanager
def _unfinished(path: Path, ending: str) -> Iterator[Path]:
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}{ending}")
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _finish(file: BinaryIO, unfinished: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    unfinished.replace(path)


@asynccontextmanager
async def _new(path: Path) -> AsyncIterator[Callable[[bytes], Awaitable[object]]]:
    """Write a file, which is in its place once the block has ended well, and gone otherwise."""
    with _unfinished(path, _PART) as unfinished, unfinished.open("xb") as file:
        yield lambda piece: asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(_finish, file, unfinished, path)


# --- files in containers -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """A file that is to be saved, as far as it is known. `bytes`: the size that its container lists."""

    container_id: str
    file_id: str
    name: str
    bytes: int | None = None
    created_at: float = 0

    @property
    def mark(self) -> str:
        """Another one for a file that was written anew."""
        return mark_of(self.container_id, self.file_id, str(self.created_at), str(self.bytes))


class _NotSaved(Exception):
    """A file is not saved; the text says why."""


@dataclass
class MadeFilesActivities:
    """The activity that saves the files in containers. It writes only under the roots it is given.

    `largest`: bytes of one file; seconds: `within` for all files of a response, `pauses` before a request is repeated.
    """

    client: ResponsesClient
    outputs: OutputFolders
    largest: int = LARGEST_FILE
    within: float = SAVED_WITHIN
    pauses: Sequence[float] = field(default=(1.0, 3.0))

    @activity.defn
    async def save_files(self, save: SaveFiles) -> SavedFiles:
        """What has become of each file. Files that an earlier attempt has saved are whole, and not fetched again."""
        async with Heartbeats():
            try:
                folder = await asyncio.to_thread(_cleared, save.options, self.outputs)
            except (ArtifactError, OSError) as error:
                return SavedFiles(files={mark_of(name): _not_saved(name, _told(error)) for name in save.at.containers})
            saving = _Saving(self, save, folder)
            for container_id in save.at.containers:
                await saving.save(container_id)
            return SavedFiles(files=saving.files)

    async def repeated(self, request: Callable[[], Awaitable[T]]) -> T:
        """Its outcome; what may succeed later is repeated. Raises `ResponsesError`."""
        for pause in self.pauses:
            try:
                return await request()
            except ResponsesError as error:
                if not error.retry_read:
                    raise
                await asyncio.sleep(min(max(error.retry_after or 0.0, pause), _LONGEST_PAUSE))
        return await request()


def _cleared(options: SaveOptions, outputs: OutputFolders) -> Path:
    """The folder, without what attempts have left behind that were killed. A run saves one response at a time."""
    folder = run_folder(options, outputs)
    _clear(folder, f".*{_PART}")
    return folder


class _Saving:
    """The files of one response. `files`: what has become of each so far, by its mark."""

    def __init__(self, of: MadeFilesActivities, save: SaveFiles, folder: Path) -> None:
        self._of = of
        self._asked = save
        self._folder = folder
        self._known = set(save.known)
        self._bytes_left = save.most_bytes
        self._until = asyncio.get_running_loop().time() + of.within
        self._came: dict[str, int] = {}  # bytes of files that had fewer than listed; twice as many, the list is wrong
        self.files: dict[str, SavedFile] = {}

    async def save(self, container_id: str) -> None:
        """Save the files of a container: those it lists, and cited ones that it does not list."""
        cited = [file for file in self._asked.at.cited if file.container_id == container_id]
        try:
            listed = await self._listed(container_id)
        except (ResponsesError, _NotSaved) as error:
            listed, is_gone = [], isinstance(error, NotFound)
            for file in cited if is_gone else []:
                self.files[mark_of(container_id, file.file_id)] = _not_saved(file.name or file.file_id, str(error))
            if not (is_gone and cited):
                self.files[mark_of(container_id)] = _not_saved(container_id, str(error))
            if is_gone:
                return
        ids = {file.file_id for file in cited}
        wanted = [
            _Wanted(container_id, file.id, file.path or file.id, file.bytes, file.created_at)
            for file in listed
            if file.source != _USERS or file.id in ids
        ]
        found = {file.id for file in listed}
        wanted += [
            _Wanted(container_id, file.file_id, file.name or file.file_id)
            for file in cited
            if file.file_id not in found
        ]
        wanted = [file for file in wanted if file.mark not in self._known]
        for number, wanted_file in enumerate(wanted):
            if sum(saved.path is not None for saved in self.files.values()) >= self._asked.most_files:
                left = f"A run saves no more files; at least {len(wanted) - number} are left out."
                self.files[mark_of(container_id)] = _not_saved(container_id, left)
                return
            self.files[wanted_file.mark] = await self._saved(wanted_file)

    async def _listed(self, container_id: str) -> list[ContainerFile]:
        most = self._asked.most_files + len(self._known) + 1
        return await self._in_time(lambda: self._of.client.container_files(container_id, most=most))

    async def _saved(self, file: _Wanted) -> SavedFile:
        path = self._folder / saved_name(file.name, file.mark)
        try:
            size = await asyncio.to_thread(_size, path)
            if size is None:
                size = await self._in_time(lambda: self._fetched(file, path))
        except (ResponsesError, _NotSaved) as error:
            return _not_saved(file.name, str(error))
        except OSError as error:
            return _not_saved(file.name, _told(error))
        self._bytes_left -= size
        return SavedFile(name=_shown(file.name), path=str(path), bytes=size)

    async def _in_time(self, request: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout_at(self._until):
                return await self._of.repeated(request)
        except TimeoutError:
            raise _NotSaved(f"The files of a response have {self._of.within:g} seconds, and these are over.") from None

    async def _fetched(self, file: _Wanted, path: Path) -> int:
        """Fetch a file, in pieces, into its place, where it appears when it is whole; its bytes."""
        most = min(self._of.largest, self._bytes_left)
        if (file.bytes or 0) > most:
            raise self._too_large(file.bytes, most)
        size = 0
        async with self._of.client.container_file(file.container_id, file.file_id) as pieces, _new(path) as write:
            async for piece in pieces:
                size += len(piece)
                if size > most:
                    raise self._too_large(None, most)
                await write(piece)
            if file.bytes is not None and size < file.bytes and self._came.get(file.mark) != size:
                self._came[file.mark] = size
                raise ConnectionLost(f"Of {file.bytes:,} bytes, {size:,} came.")
        return size

    def _too_large(self, size: int | None, most: int) -> _NotSaved:
        has = "more" if size is None else f"{size:,}"
        if most < self._of.largest:
            return _NotSaved(f"It has {has} bytes, and the run may save no more than {max(most, 0):,} others.")
        return _NotSaved(f"It has {has} bytes; at most {most:,} are saved.")


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() and not path.is_symlink() else None

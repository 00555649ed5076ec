"""The first input of a run: the task, its context, and the files that the worker reads for it.

Blocking file access: call it in a thread.
"""

import base64
import stat
from pathlib import Path

from durable_responses.activities.messages import InputFile, Opening
from durable_responses.responses_api.models import InputImage, InputItem, InputText, OtherInputItem, UserMessage
from durable_responses.sizes import MEBIBYTE

TEXT_FILE_BYTES = 1 * MEBIBYTE
ALL_TEXT_BYTES = 5 * MEBIBYTE
IMAGE_BYTES = 10 * MEBIBYTE
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


class InputError(Exception):
    """An input of the caller cannot be used. `field` names it, `message` says what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def opening_input(opening: Opening, allowed_roots: list[Path]) -> list[InputItem] | str:
    """The `input` of a run's first request.

    Relative paths are relative to `opening.files_root`, else to the first allowed root. Every file must lie under
    both, symlinks resolved. Text when everything is text; a user message when there are images; the caller's items,
    followed by a user message where needed, when the task is a list of items.

    Raises `InputError` for a file, a root or an item that cannot be used.
    """
    texts, images = _read_files(opening, allowed_roots)
    if opening.context:
        texts.insert(0, f"Context: {opening.context}")
    if isinstance(opening.task, str):
        text = "\n\n".join([opening.task, *texts])
        return [_user_message([text], images)] if images else text
    items: list[InputItem] = [_raw_item(index, item) for index, item in enumerate(opening.task)]
    if texts or images:
        items.append(_user_message(["\n\n".join(texts)] if texts else [], images))
    return items


def workspace_of(given: str | None, own: Path) -> Path:
    """The folder that a run's file tools work in: the starter's, which lies in the worker's own, else that one.

    Raises `InputError` for any other folder: it is another project's.
    """
    if given is None:
        return own
    folder = Path(given)
    if not folder.is_absolute():
        raise InputError("workspace", "is not an absolute path; give the folder's absolute path.")
    folder = _resolve("workspace", folder)
    if not folder.is_relative_to(own.resolve()):
        raise InputError(
            "workspace", "is not the worker's; start a worker with it as AGENT_WORKSPACE, or leave it out for its own."
        )
    return folder


def _raw_item(index: int, item: object) -> OtherInputItem:
    if not isinstance(item, dict):
        raise InputError(f"task[{index}]", "is not an object; give Responses API input items, or the task as text.")
    return OtherInputItem.model_validate(item)


def _user_message(texts: list[str], images: list[InputImage]) -> UserMessage:
    return UserMessage(role="user", content=[*(InputText(text=text) for text in texts), *images])


def _read_files(opening: Opening, allowed_roots: list[Path]) -> tuple[list[str], list[InputImage]]:
    texts: list[str] = []
    images: list[InputImage] = []
    if not opening.files:
        return texts, images
    roots = _roots(opening.files_root, allowed_roots)
    text_bytes = 0
    for index, file in enumerate(opening.files):
        field = f"files[{index}].path"
        path = _locate(field, file.path, roots)
        if media_type := IMAGE_TYPES.get(path.suffix.lower()):
            images.append(_image(media_type, _read(field, path, IMAGE_BYTES)))
            continue
        content = _read(field, path, TEXT_FILE_BYTES)
        text_bytes += len(content)
        if text_bytes > ALL_TEXT_BYTES:
            raise InputError(field, "the text files together are larger than 5 MiB; give fewer or smaller ones.")
        texts.append(_file_block(index, file, _decode(field, content)))
    return texts, images


def _roots(files_root: str | None, allowed_roots: list[Path]) -> list[Path]:
    """The folders of which one must hold the file: the starter's root if it gave one, else the worker's."""
    allowed = [root.resolve() for root in allowed_roots]
    if files_root is None:
        if not allowed:
            raise InputError("files", "this worker allows no folder to read files from; set AGENT_FILES_ROOT for it.")
        return allowed
    root = Path(files_root)
    if not root.is_absolute():
        raise InputError("files_root", "is not an absolute path; give the folder's absolute path.")
    root = _resolve("files_root", root)
    if not any(root.is_relative_to(parent) for parent in allowed):
        raise InputError("files_root", "is outside the worker's allowed roots; set the worker's AGENT_FILES_ROOT.")
    return [root]


def _locate(field: str, path: str, roots: list[Path]) -> Path:
    located = _resolve(field, roots[0] / path)
    if not any(located.is_relative_to(root) for root in roots):
        raise InputError(field, "is outside the allowed root; give a file under it.")
    try:
        mode = located.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(field, "does not exist; give a path relative to the files root.") from error
    except OSError as error:
        raise InputError(field, f"cannot be read ({error.strerror}); check the path.") from error
    # Opening a pipe or a device would block the worker.
    if not stat.S_ISREG(mode):
        raise InputError(field, "is not a regular file; give a text file or an image.")
    return located


def _resolve(field: str, path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(field, "is not a usable path; check it for loops and forbidden characters.") from error


def _read(field: str, path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(field, f"cannot be read ({error.strerror}); check its permissions.") from error
    if len(content) > limit:
        raise InputError(field, f"is larger than {limit // MEBIBYTE} MiB; give a smaller file.")
    return content


def _decode(field: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kinds = ", ".join(suffix[1:] for suffix in IMAGE_TYPES)
        raise InputError(field, f"is neither UTF-8 text nor an image ({kinds}); convert it first.") from error


def _file_block(index: int, file: InputFile, content: str) -> str:
    lines = ["<file>", f"path: {_one_line(f'files[{index}].path', file.path)}"]
    if file.label:
        lines.append(f"label: {_one_line(f'files[{index}].label', file.label)}")
    return "\n".join([*lines, "content:", content.removesuffix("\n"), "</file>"])


def _one_line(field: str, value: str) -> str:
    if len(value.splitlines()) > 1:
        raise InputError(field, "contains a line break; give it on one line.")
    return value


def _image(media_type: str, content: bytes) -> InputImage:
    return InputImage(image_url=f"data:{media_type};base64,{base64.b64encode(content).decode()}")

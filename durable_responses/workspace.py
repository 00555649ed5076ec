"""The workspace: the folder that the file tools may read and write.

`AGENT_WORKSPACE` names it. By default it is the folder `workspace` where the program was started; if there is
none, it is a copy of the example, in the state folder.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from durable_responses.settings import PROGRAM, Settings, SetupError, copied_workspace

EXAMPLE = PROGRAM / "example_workspace"
"""The files that ship as an example; in a checkout, a link to `workspace/`."""


class WorkspaceMissing(SetupError):
    """The workspace is not a folder, or cannot be made."""


def is_copy(settings: Settings) -> bool:
    """Whether the workspace is the copy of the example, whether it exists yet or not."""
    return settings.workspace == copied_workspace(settings.state_folder)


def prepare_workspace(settings: Settings, say: Callable[[str], None]) -> None:
    """Make sure that the workspace exists: copy the example if that is used; `say` gets a line if so.

    Raises `WorkspaceMissing` for a folder that was named and does not exist.
    """
    folder = settings.workspace
    if folder.is_dir():
        return
    if not is_copy(settings):
        wrong = "is not a folder: remove it" if folder.exists() else "does not exist: create that folder"
        raise WorkspaceMissing(f"The workspace {folder} {wrong}, or set AGENT_WORKSPACE to another one.")
    try:
        _copy(EXAMPLE.resolve(), folder)
    except OSError as error:
        raise WorkspaceMissing(
            f"The workspace {folder} cannot be created ({error.strerror}): set AGENT_WORKSPACE to a folder."
        ) from None
    say(f"The file tools use a copy of the example files in {folder}. To use another folder, set AGENT_WORKSPACE.")


def _copy(example: Path, folder: Path) -> None:
    # Renamed when it is whole: several programs may start at the same time. Not `copytree`, which copies permissions as
    # well: those of an installed package may be read-only.
    unfinished = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
    for file in example.rglob("*"):
        if file.is_file():
            target = unfinished / file.relative_to(example)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    try:
        os.rename(unfinished, folder)
    except OSError:
        shutil.rmtree(unfinished)
        if not folder.is_dir():
            raise

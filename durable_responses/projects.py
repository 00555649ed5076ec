"""The projects that share an embedded stack: which there are, and on which task queue the runs of each go.

A project is a set of folders: its own, the workspace, and the roots of files and results. It has a worker of its own,
which works in these folders and with the environment of the command that started it, on task queues of its own. The
first one has the usual queue, `agents`.
"""

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from durable_responses.settings import Settings, SetupError, configured_address, temporal_namespace
from durable_responses.stack_file import StackFile
from durable_responses.workflows.contract import TaskQueue

_LONGEST_NAME = 24
_NAMED = 3  # of the projects that a sentence tells


@dataclass(frozen=True)
class Project:
    """One project: `name` is unique on this machine."""

    name: str
    workspace: Path
    folder: Path

    @classmethod
    def of(cls, settings: Settings) -> "Project":
        """The project that a command with these settings belongs to."""
        places = [settings.project_folder, settings.workspace, settings.files_root, settings.output_root]
        told = [*map(str, places), configured_address() or "", temporal_namespace()]
        mark = hashlib.sha256("\0".join(told).encode(errors="surrogateescape")).hexdigest()[:8]
        slug = re.sub(r"[^a-z0-9]+", "-", settings.project_folder.name.lower())[:_LONGEST_NAME].strip("-")
        return cls(f"{slug}-{mark}" if slug else mark, settings.workspace, settings.project_folder)

    @property
    def own_queue(self) -> str:
        """Its task queue while another project has the usual one."""
        return f"{TaskQueue.AGENTS}-{self.name}"


class ProjectRecord(BaseModel):
    """What is written down of a project. Nothing of its key or its environment."""

    workspace: Path
    folder: Path
    task_queue: str


class Projects(BaseModel):
    """The projects of a state folder, by name; those that have no worker at the moment as well."""

    projects: dict[str, ProjectRecord] = {}

    @staticmethod
    def path(settings: Settings) -> Path:
        """The file of a state folder."""
        return projects_folder(settings) / "projects.json"

    @classmethod
    def read(cls, settings: Settings) -> "Projects":
        """What is written down; nothing if it cannot be read."""
        try:
            return cls.model_validate_json(cls.path(settings).read_bytes())
        except (OSError, ValidationError):
            return cls()

    def owner_of(self, task_queue: str) -> str | None:
        """The project whose runs go on a task queue."""
        return next((name for name, each in self.projects.items() if each.task_queue == task_queue), None)

    def told(self, names: Iterable[str | None]) -> str:
        """`the projects in /a and /b`, for those of these names that are known; empty where none is."""
        folders = [str(record.folder) for name in names if (record := self.projects.get(name or ""))]
        more = [f"{len(folders) - _NAMED} more"] if len(folders) > _NAMED else []
        *others, last = [*folders[:_NAMED], *more] or [""]
        return f"the projects in {', '.join(others)} and {last}" if others else last and f"the project in {last}"


def projects_folder(settings: Settings) -> Path:
    """The folder of what belongs to single projects, in the state folder."""
    return settings.state_folder / "projects"


def stack_files(settings: Settings) -> list[StackFile]:
    """The file of the stack and those of the projects beside it. Files of dead ones may be among them."""
    paths = sorted(projects_folder(settings).glob("*/stack.json"))
    return [file for file in map(_read, (StackFile.path(settings), *paths)) if file is not None]


def _read(path: Path) -> StackFile | None:
    with suppress(SetupError):  # of another version of this program
        return StackFile.read_from(path)
    return None


def task_queue_of(settings: Settings) -> str:
    """The task queue of the project of a command; on a Temporal server that is configured, the configured one."""
    if configured_address() or "task_queue" in settings.model_fields_set:
        return settings.task_queue
    record = Projects.read(settings).projects.get(Project.of(settings).name)
    return record.task_queue if record else settings.task_queue


def projects_of_stack(settings: Settings) -> list[tuple[str, str]]:
    """The folder and the task queue of every project of the embedded stack; none where Temporal is configured."""
    known = [] if configured_address() else Projects.read(settings).projects.values()
    return [(str(record.folder), record.task_queue) for record in known]

"""Which project has which task queue: written down, so that its open runs are taken up by its own worker again.

The usual queue, `agents`, is for programs that know no projects: it belongs to the first project, until that has ended
without an open run, or its folder is gone. Every other project has one of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from durable_responses.embedded.folder import running_projects
from durable_responses.embedded.locks import LockFile
from durable_responses.projects import Project, ProjectRecord, Projects, projects_folder
from durable_responses.settings import Settings, SetupError, configured_address
from durable_responses.workflows.contract import TaskQueue


class QueueTaken(SetupError):
    """The task queue that was asked for is another project's."""


async def claim(settings: Settings) -> str:
    """The task queue of the project of these settings, which has it from now on. Raises `QueueTaken`.

    On a Temporal server that is configured it is the configured one, whoever else has it.
    """
    if configured_address():
        return settings.task_queue
    project = Project.of(settings)
    async with _changing(settings) as known:
        queue = _queue_for(project, settings, known)
        kept = {name: each for name, each in known.projects.items() if each.task_queue != queue}
        record = ProjectRecord(workspace=project.workspace, folder=project.folder, task_queue=queue)
        known.projects = {**kept, project.name: record}
    return queue


async def release(settings: Settings, project: str) -> None:
    """Give up the task queue of a project, which has no open run on it: it may have the usual one next time."""
    async with _changing(settings) as known:
        known.projects.pop(project, None)


async def move(settings: Settings) -> None:
    """Give the project a task queue of its own: on the one that it has, a worker with other settings goes on."""
    project = Project.of(settings)
    async with _changing(settings) as known:
        record = ProjectRecord(workspace=project.workspace, folder=project.folder, task_queue=project.own_queue)
        known.projects[project.name] = record


def idle_owner(settings: Settings) -> ProjectRecord | None:
    """The other project that has the usual task queue and is not running; None if there is no such one."""
    known = Projects.read(settings)
    owner = known.owner_of(TaskQueue.AGENTS)
    if owner is None or owner == Project.of(settings).name or owner in running_projects(settings):
        return None
    return known.projects[owner]


def _queue_for(project: Project, settings: Settings, known: Projects) -> str:
    if "task_queue" in settings.model_fields_set:
        owner = known.owner_of(settings.task_queue)
        if owner not in (None, project.name) and (file := running_projects(settings).get(owner or "")):
            raise QueueTaken(
                f"The task queue {settings.task_queue} is that of the project with the workspace {file.workspace}: "
                "set AGENT_TASK_QUEUE to another name, or leave it out."
            )
        return settings.task_queue
    record = known.projects.get(project.name)
    if record is not None and record.task_queue in (TaskQueue.AGENTS, project.own_queue):
        return record.task_queue
    owner = known.owner_of(TaskQueue.AGENTS)
    if owner is None or _cannot_come_back(owner, settings, known):
        return TaskQueue.AGENTS.value
    return project.own_queue


def _cannot_come_back(owner: str, settings: Settings, known: Projects) -> bool:
    """Whether a project has no worker, and no folder to start one in."""
    return owner not in running_projects(settings) and not known.projects[owner].folder.is_dir()


@asynccontextmanager
async def _changing(settings: Settings) -> AsyncIterator[Projects]:
    """What is written down, to be changed by nobody else meanwhile."""
    folder = projects_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = LockFile(folder / "projects.lock")
    while (held := await lock.take()) is None:  # noqa: ASYNC110 another process has it
        await asyncio.sleep(0.05)
    with held:
        known = Projects.read(settings)
        yield known
        unfinished = Projects.path(settings).with_suffix(".unfinished")
        unfinished.write_text(known.model_dump_json(indent=2))
        unfinished.replace(Projects.path(settings))

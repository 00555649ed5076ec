"""Which project has which task queue, without a stack."""

import asyncio
from pathlib import Path

import pytest

from durable_responses.embedded.project_queues import claim, idle_owner, move, release
from durable_responses.projects import Project, ProjectRecord, Projects, task_queue_of
from durable_responses.settings import Settings
from durable_responses.workflows.contract import TaskQueue


def project(state: Path, name: str, task_queue: str | None = None) -> Settings:
    """The settings of a command in a project's folder."""
    folder = state.parent / name
    folder.mkdir(exist_ok=True)
    here = Settings(
        state_folder=state,
        project_folder=folder,
        workspace=folder / "workspace",
        files_root=folder,
        output_root=folder,
    )
    return here if task_queue is None else here.model_copy(update={"task_queue": task_queue})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An empty state folder."""
    return tmp_path / "state"


async def test_the_first_project_has_the_usual_queue_and_every_other_one_of_its_own(state: Path) -> None:
    queues = [await claim(project(state, name)) for name in ("a", "b", "c")]
    assert queues[0] == TaskQueue.AGENTS
    assert len(set(queues)) == 3
    assert [task_queue_of(project(state, name)) for name in ("a", "b", "c")] == queues


async def test_a_project_keeps_its_queue_because_its_open_runs_are_there(state: Path) -> None:
    before = [await claim(project(state, name)) for name in ("a", "b")]
    assert [await claim(project(state, name)) for name in ("b", "a")] == [before[1], before[0]]


async def test_a_queue_that_was_given_up_goes_to_the_next_new_project(state: Path) -> None:
    first, second, third = (project(state, name) for name in ("a", "b", "c"))
    await claim(first)
    kept = await claim(second)
    await release(first, Project.of(first).name)
    await release(second, Project.of(second).name)
    assert (await claim(third), await claim(second)) == (TaskQueue.AGENTS, kept)
    assert await claim(first) == Project.of(first).own_queue


async def test_a_project_that_has_given_up_its_own_queue_takes_the_usual_one_if_it_is_free(state: Path) -> None:
    first, second = project(state, "a"), project(state, "b")
    await claim(first)
    await claim(second)
    for each in (first, second):
        await release(each, Project.of(each).name)
    assert await claim(second) == TaskQueue.AGENTS


async def test_who_has_the_usual_queue_and_is_not_running_is_known_to_others(state: Path) -> None:
    """After a kill -9 nobody has given it up."""
    first, second = project(state, "a"), project(state, "b")
    assert idle_owner(second) is None
    await claim(first)
    assert idle_owner(first) is None
    owner = idle_owner(second)
    assert owner is not None
    assert owner.folder == first.project_folder


async def test_the_queue_of_a_project_whose_folder_is_gone_goes_to_the_next_new_one(state: Path) -> None:
    """After a kill -9 nobody has given it up."""
    await claim(project(state, "a"))
    (state.parent / "a").rmdir()
    assert await claim(project(state, "b")) == TaskQueue.AGENTS


async def test_a_project_that_moves_leaves_the_usual_queue_to_others(state: Path) -> None:
    first = project(state, "a")
    await claim(first)
    await move(first)
    assert await claim(first) == Project.of(first).own_queue
    assert await claim(project(state, "b")) == TaskQueue.AGENTS


async def test_a_queue_that_is_configured_is_used(state: Path) -> None:
    named = project(state, "a", task_queue="mine")
    assert (await claim(named), task_queue_of(named)) == ("mine", "mine")
    assert await claim(project(state, "a")) == TaskQueue.AGENTS


async def test_projects_that_come_at_the_same_time_have_queues_of_their_own(state: Path) -> None:
    queues = await asyncio.gather(*(claim(project(state, f"p{number}")) for number in range(8)))
    assert len(set(queues)) == 8
    assert TaskQueue.AGENTS in queues


async def test_a_configured_server_has_no_projects(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:7233")
    assert [await claim(project(state, name)) for name in ("a", "b")] == [TaskQueue.AGENTS] * 2
    assert Projects.read(project(state, "a")).projects == {}


def test_folders_of_one_name_are_projects_of_their_own(state: Path, tmp_path: Path) -> None:
    one, other = (Settings(state_folder=state, project_folder=tmp_path / at / "same") for at in "ab")
    assert Project.of(one).name.startswith("same-")
    assert Project.of(one).name != Project.of(other).name


@pytest.mark.parametrize("name", ["Größe & Maß", "…", "a" * 200, "-"])
def test_a_folder_of_any_name_gives_a_task_queue(state: Path, tmp_path: Path, name: str) -> None:
    queue = Project.of(Settings(state_folder=state, project_folder=tmp_path / name)).own_queue
    assert queue.isascii()
    assert len(queue) < 60


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("", ""),
        ("?", ""),
        ("a", "the project in /a"),
        ("ab", "the projects in /a and /b"),
        ("abc", "the projects in /a, /b and /c"),
        ("abcde", "the projects in /a, /b, /c and 2 more"),
    ],
)
def test_a_sentence_names_three_projects_at_most(names: str, told: str) -> None:
    records = {name: ProjectRecord(workspace=Path("/w"), folder=Path(f"/{name}"), task_queue=name) for name in "abcde"}
    assert Projects(projects=records).told(names) == told

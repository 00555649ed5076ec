"""Files that the provider's tools have made are saved beside the result: whole runs at the emulator."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from durable_responses.activities.messages import ActivityName, SaveOptions
from durable_responses.emulator.faults import Answer, Delay, Fault, Operation
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import CodeInterpreterStep, FunctionCallStep, MadeFile, Script, Text
from durable_responses.workflows.contract import AgentInput, AgentResult, AgentStatus
from tests.support.runs import Agents, reached, result_of

PNG = b"\x89PNG\r\n\x1a\n"
WAYS: dict[str, dict[str, Any]] = {
    "background": {"transport": "background"},
    "stream": {"transport": "stream"},
    "websocket": {"transport": "websocket"},
    "in full": {"transport": "stream", "conversation": "full"},
}


def asks(scenario: str, way: str = "background", **fields: Any) -> AgentInput:
    save = fields.pop("save", SaveOptions(files=True))
    return AgentInput(
        task="Make files.",
        tools=[],
        enable_code_interpreter=True,
        save=save,
        metadata={"scenario": scenario},
        **WAYS[way],
        **fields,
    )


def contents(result: AgentResult) -> dict[str, bytes]:
    """What is saved, by the names that the files have at the provider; each is as large as it says."""
    saved = {file.name: Path(file.path).read_bytes() for file in result.files if file.path is not None}
    assert {file.name: file.bytes for file in result.files if file.path} == {n: len(it) for n, it in saved.items()}
    return saved


@pytest.mark.parametrize("way", WAYS)
async def test_files_of_a_container_are_saved_cited_or_not(agents: Agents, way: str) -> None:
    result = await agents.run(asks("code_interpreter?files=3&cited=1&bytes=1000", way))
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    saved = contents(result)
    assert list(saved) == ["plot.png", "table1.csv", "table2.csv"]
    assert saved["plot.png"].startswith(PNG)
    assert saved["table1.csv"].startswith(b"a,b\n1,2\n")
    assert result.artifact_path is not None
    assert {Path(file.path or "").parent.parent for file in result.files} == {Path(result.artifact_path).parent}


@pytest.mark.parametrize("way", WAYS)
async def test_images_are_saved_and_never_enter_history(agents: Agents, way: str) -> None:
    run = await agents.start(asks("image_generation?bytes=3000000", way))
    result = await result_of(run)
    [(name, image)] = contents(result).items()
    assert (name, image[:8], len(image) > 3_000_000) == ("image.png", PNG, True)
    history = await run.fetch_history()
    assert sum(event.ByteSize() for event in history.events) < 40_000


# --- when --------------------------------------------------------------------------------------------------------


async def scheduled(run: WorkflowHandle[Any, Any]) -> list[str]:
    """The activities of a run in their order."""
    events = (await run.fetch_history()).events
    names = (event.activity_task_scheduled_event_attributes.activity_type.name for event in events)
    return [name for name in names if name]


async def plays(agents: Agents, *scripts: Script) -> str:
    """The name of a scenario that plays these."""
    await agents.emulator.control.add_scenario(Scenario(name="played", responses=list(scripts)))
    return "played"


def runs_code(*names: str, then: Any = None) -> Script:
    step = CodeInterpreterStep(files=[MadeFile(name=name, text=name) for name in names])
    return Script(output=[step, then or Text(text="Done.")])


async def fails(agents: Agents, effect: Answer | Delay, *, skip: int = 0, times: int | None = None) -> None:
    fault = Fault(operation=Operation.CONTAINER, effect=effect, skip=skip, times=times)
    await agents.emulator.control.add_fault(fault)


ADD = FunctionCallStep(name="add", arguments={"a": 1, "b": 2})


async def test_files_are_saved_beside_the_calls_of_each_turn_and_listed_once(agents: Agents) -> None:
    """The second response has the container of the first, with its files."""
    scenario = await plays(agents, runs_code("a.csv", then=ADD), runs_code("b.csv"))
    run = await agents.start(asks(scenario).model_copy(update={"tools": ["add"]}))
    result = await result_of(run)
    assert {name: it.decode() for name, it in contents(result).items()} == {"a.csv": "a.csv", "b.csv": "b.csv"}
    assert len(result.files) == 2
    order = await scheduled(run)
    assert order.count(ActivityName.SAVE_FILES) == 2
    second = order.index(ActivityName.CREATE_RESPONSE, 1)
    assert {ActivityName.SAVE_FILES, ActivityName.CALL_TOOL} <= set(order[:second])
    assert order[-1] == ActivityName.SAVE_ARTIFACT


async def test_a_turn_does_not_wait_for_its_files(agents: Agents) -> None:
    scenario = await plays(agents, runs_code("a.csv", then=ADD), Script(output=[Text(text="Done.")]))
    await fails(agents, Delay(seconds=3), times=1)
    run = await agents.start(asks(scenario).model_copy(update={"tools": ["add"]}))
    state = await reached(run, lambda state: state.waiting is not None and "being saved" in state.waiting.what)
    assert (state.iteration, state.preview) == (2, "Done.")
    assert list(contents(await result_of(run))) == ["a.csv"]


@pytest.mark.parametrize("fields", [{"save": SaveOptions()}, {"save": None}], ids=["not files", "nothing"])
async def test_nothing_is_saved_unasked(agents: Agents, tmp_path: Path, fields: dict[str, Any]) -> None:
    for scenario in ("code_interpreter?cited=1", "image_generation"):
        run = await agents.start(asks(scenario, **fields))
        result = await result_of(run)
        assert (result.status, result.files) == (AgentStatus.COMPLETED, [])
        assert ActivityName.SAVE_FILES not in await scheduled(run)
        assert "files" not in result.model_dump()
    assert list(tmp_path.rglob("*_files")) == []


async def test_a_run_without_files_has_no_activity_for_them(agents: Agents) -> None:
    run = await agents.start(asks("echo"))
    assert (await result_of(run)).files == []
    assert ActivityName.SAVE_FILES not in await scheduled(run)


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["background", "stream"])
async def test_an_expired_container_is_listed_and_the_run_completes(agents: Agents, way: str) -> None:
    await fails(agents, Answer(status=404, message="Container with id 'c' not found or expired."))
    result = await agents.run(asks("code_interpreter?files=2&cited=1", way))
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    [file] = result.files
    assert (file.name, file.path) == ("plot.png", None)
    assert "not found or expired" in (file.error or "")


@pytest.mark.parametrize("way", ["background", "stream"])
async def test_a_file_that_is_gone_is_listed_beside_the_others(agents: Agents, way: str) -> None:
    await fails(agents, Answer(status=404), skip=2, times=1)
    result = await agents.run(asks("code_interpreter?files=3", way))
    assert [(file.name, file.error is None) for file in result.files] == [
        ("plot.png", True),
        ("table1.csv", False),
        ("table2.csv", True),
    ]


async def test_a_container_that_could_be_read_later_is_no_longer_listed_as_unread(agents: Agents) -> None:
    scenario = await plays(agents, runs_code("a.csv", then=ADD), runs_code("b.csv"))
    await fails(agents, Answer(status=403, message="Not now."), times=1)
    result = await agents.run(asks(scenario).model_copy(update={"tools": ["add"]}))
    assert sorted(contents(result)) == ["a.csv", "b.csv"]
    assert [file.error for file in result.files] == [None, None]


async def test_a_cancel_does_not_wait_for_files_that_do_not_come(agents: Agents) -> None:
    scenario = await plays(
        agents, runs_code("a.csv", then=FunctionCallStep(name="ask_owner", arguments={"question": "?"}))
    )
    await fails(agents, Delay())
    run = await agents.start(asks(scenario, allow_questions=True))
    await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    await run.signal("cancel", "enough")
    result = await result_of(run, seconds=60)
    assert result.status is AgentStatus.CANCELLED
    assert [(file.path, file.error) for file in result.files] == [(None, "The run ended before it was saved.")]


async def test_files_that_come_soon_are_saved_after_a_cancel(agents: Agents) -> None:
    scenario = await plays(
        agents, runs_code("a.csv", then=FunctionCallStep(name="ask_owner", arguments={"question": "?"}))
    )
    await fails(agents, Delay(seconds=2), times=1)
    run = await agents.start(asks(scenario, allow_questions=True))
    await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    await run.signal("cancel", "enough")
    assert list(contents(await result_of(run))) == ["a.csv"]

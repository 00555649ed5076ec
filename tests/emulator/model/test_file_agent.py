"""The default scenario with our own file tools, over a real folder."""

from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.tools import definitions
from durable_responses.emulator.model.script import WebSearchStep
from durable_responses.tools.registry import Registry, ToolContext, ToolError
from tests.support.conversations import book, called, conversation, ok, run, said

TASK = "Which risks do the notes about the harvest name?"


class OurTools:
    """The file tools of this project, called as the model asks for them."""

    def __init__(self, workspace: Path) -> None:
        self.registry = Registry.from_modules(["durable_responses.tools.files"])
        self.context = ToolContext(workspace=workspace)
        self.offered = [tool.model_dump() for tool in definitions(self.registry, None)]

    async def answer(self, name: str, arguments: str) -> str:
        tool = self.registry[name]
        try:
            return await tool.run(tool.parse(arguments), self.context)
        except ToolError as error:
            return f"Error: {error}"


@pytest.fixture
def ours(tmp_path: Path) -> OurTools:
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("# Orchard\n\nApples and pears.\n")
    (tmp_path / "notes" / "harvest.md").write_text("# Harvest 2026\n\nFrost is the greatest of all risks.\n")
    (tmp_path / "notes" / "ladders.md").write_text("# Ladders\n\nThree of them, one broken. No risks.\n")
    (tmp_path / "photo.png").write_bytes(b"\0\1")
    return OurTools(tmp_path)


def function(name: str, *parameters: str) -> dict[str, Any]:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": properties}}


async def test_it_lists_reads_side_by_side_searches_and_answers(ours: OurTools) -> None:
    scripts = await run(TASK, ours.answer, tools=ours.offered)
    assert [[call.name for call in called(script)] for script in scripts] == [
        ["list_files"],
        ["read_file", "read_file", "read_file"],
        ["search_files"],
        [],
    ]


async def test_the_answer_holds_what_the_files_say(ours: OurTools) -> None:
    answer = said((await run(TASK, ours.answer, tools=ours.offered))[-1])
    assert "Harvest 2026" in answer
    assert "Frost is the greatest of all risks." in answer
    assert "4 files" in answer


async def test_the_answer_says_where_the_word_was_found(ours: OurTools) -> None:
    answer = said((await run(TASK, ours.answer, tools=ours.offered))[-1])
    assert "notes/harvest.md:1: # Harvest 2026" in answer


async def test_it_writes_a_report_where_the_task_asks_for_one(ours: OurTools) -> None:
    await run("Write what the notes say to summary.md", ours.answer, tools=ours.offered)
    assert "Harvest 2026" in (ours.context.workspace / "summary.md").read_text()


async def test_it_writes_no_report_where_the_task_asks_for_a_text_of_another_kind(ours: OurTools) -> None:
    scripts = await run("Write a haiku about the harvest.", ours.answer, tools=ours.offered)
    assert "write_file" not in [call.name for script in scripts for call in called(script)]


async def test_other_tools_are_called_beside_the_first_look(ours: OurTools) -> None:
    """Five iterations, those of a run without effort, are enough for everything."""

    async def answer(name: str, given: str) -> str:
        return await ours.answer(name, given) if name in ours.registry.names else "7"

    tools = [*ours.offered, function("count_words", "text")]
    scripts = await run("Write what the notes say to summary.md", answer, tools=tools)
    assert [call.name for call in called(scripts[0])] == ["list_files", "count_words"]
    assert len(scripts) == 5


async def test_it_says_what_it_could_not_read(ours: OurTools) -> None:
    (ours.context.workspace / "notes" / "harvest.md").write_bytes(b"\0\0")
    answer = said((await run(TASK, ours.answer, tools=ours.offered))[-1])
    assert "`notes/harvest.md` could not be read (Error:" in answer


async def test_one_file_is_not_spoken_of_as_many(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Other\n")
    ours = OurTools(tmp_path)
    answer = said((await run(TASK, ours.answer, tools=ours.offered))[-1])
    assert "There is one file; I read it." in answer
    assert "(2 words in 1 line)" in answer


async def test_a_task_about_something_else_is_told_what_the_files_do_not_say(ours: OurTools) -> None:
    answer = said((await run("Write a haiku about autumn, please.", ours.answer, tools=ours.offered))[-1])
    assert answer.startswith("You asked: Write a haiku about autumn, please.")
    assert "None of the files that I read says anything about “haiku” or “autumn”." in answer
    assert "- `notes/harvest.md` (10 words in 3 lines): **Harvest 2026**" in answer


async def test_it_ends_when_the_folder_is_empty(tmp_path: Path) -> None:
    tools = OurTools(tmp_path)
    assert len(await run(TASK, tools.answer, tools=tools.offered)) == 2


async def test_it_ends_when_every_call_fails(ours: OurTools) -> None:
    async def fail(_: str, __: str) -> str:
        return "Error: the disk is on fire."

    assert "the disk is on fire" in said((await run(TASK, fail, tools=ours.offered))[-1])


async def test_it_recognises_tools_of_other_names() -> None:
    tools = [function("fs_ls", "directory"), function("open-document", "file")]
    scripts = await run("Look.", _list_two, tools=tools)
    assert [[call.name for call in called(script)] for script in scripts] == [["fs_ls"], ["open-document"] * 2, []]
    assert called(scripts[1])[0].arguments == {"file": "a.txt"}


async def _list_two(name: str, _: str) -> str:
    return "a.txt\nb.txt" if name == "fs_ls" else "One line."


async def test_it_calls_another_tool_when_the_task_names_it() -> None:
    scripts = await run("Use fetch_url on https://example.com/a please.", tools=[function("fetch_url", "url")])
    assert [call.arguments for call in called(scripts[0])] == [{"url": "https://example.com/a"}]


async def test_it_calls_every_other_tool_once_with_arguments_of_its_schema() -> None:
    tools = [function("count_words", "text"), function("getWeather", "city"), function("my-lookup", "id")]
    scripts = await run("Say hello.", tools=tools)
    made = [[(call.name, call.arguments) for call in called(script)] for script in scripts]
    arguments = {"count_words": {"text": "text"}, "getWeather": {"city": "city"}, "my-lookup": {"id": "id"}}
    assert made == [list(arguments.items()), []]
    assert "made from the schemas of the tools" in said(scripts[-1])


@pytest.mark.parametrize("name", ["send_email", "deleteFile", "run-shell", "write_note", "exec_command", "fetch_page"])
async def test_it_leaves_tools_alone_that_do_more_than_look(name: str) -> None:
    [script] = await run("Say hello.", tools=[function(name, "to")])
    assert f"Not called: `{name}`, whose name says that it does more than look." in said(script)


@pytest.mark.parametrize("name", ["address_of", "settings", "count_moves", "is_running"])
async def test_it_calls_tools_whose_names_only_have_such_words_in_them(name: str) -> None:
    assert len(await run("Say hello.", tools=[function(name, "of")])) == 2


async def test_it_calls_a_tool_that_only_calculates() -> None:
    numbers = {"a": {"type": "integer"}, "b": {"type": "number", "minimum": 3}}
    add = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": numbers}}
    scripts = await run("Say hello.", tools=[add])
    assert [call.arguments for call in called(scripts[0])] == [{"a": 1, "b": 3}]


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}])
async def test_it_calls_a_tool_without_parameters_with_an_empty_object(parameters: Any) -> None:
    scripts = await run("Say hello.", tools=[{"type": "function", "name": "now", "parameters": parameters}])
    assert [call.arguments for call in called(scripts[0])] == [{}]


async def test_tools_are_called_one_at_a_time_where_that_is_asked_for() -> None:
    tools = [function(f"look_{number}", "at") for number in range(3)]
    scripts = await run("Say hello.", tools=tools, parallel_tool_calls=False)
    assert [[call.name for call in called(script)] for script in scripts] == [["look_0"], ["look_1"], ["look_2"], []]


async def test_only_the_tools_that_may_be_called_are() -> None:
    tools = [function("look_here", "at"), function("look_there", "at")]
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look_there"}]}
    scripts = await run("Say hello.", tools=tools, tool_choice=allowed)
    assert [[call.name for call in called(script)] for script in scripts] == [["look_there"], []]


async def test_many_tools_are_called_a_few_at_a_time() -> None:
    scripts = await run("Say hello.", tools=[function(f"look_{number}", "at") for number in range(20)])
    assert [len(called(script)) for script in scripts] == [8, 8, 4, 0]


async def test_the_answer_ends_by_saying_that_no_model_has_read_it() -> None:
    [script] = await run("Say hello.")
    last = said(script).splitlines()[-1]
    assert last.startswith("No model has read this")
    assert "`OPENAI_API_KEY`" in last


async def test_it_calls_nothing_when_told_not_to(ours: OurTools) -> None:
    assert len(await run(TASK, ours.answer, tools=ours.offered, tool_choice="none")) == 1


async def test_it_answers_at_once_without_tools() -> None:
    [script] = await run("Say hello.")
    assert "Say hello." in said(script)


async def test_it_searches_the_web_where_that_is_offered() -> None:
    [script] = await run("Who won the harvest cup?", tools=[{"type": "web_search"}])
    assert isinstance(script.output[0], WebSearchStep)


async def test_it_thinks_longer_the_harder_it_shall_think() -> None:
    [low] = await run("Say hello.", ok, reasoning={"effort": "low"})
    [high] = await run("Say hello.", ok, reasoning={"effort": "high"})
    assert low.think < high.think


async def test_its_task_is_what_the_user_says_after_what_the_program_tells_of_itself() -> None:
    surroundings = {"role": "user", "content": "<environment_context>\n<cwd>/work</cwd>\n</environment_context>"}
    asked = conversation(input=[surroundings, {"role": "user", "content": "Say hello."}])
    assert "You asked: Say hello." in said(book().respond(asked))

"""The built-in scenarios, each at its word."""

import json

from durable_responses.emulator.model.script import CustomToolCallStep, ItemStep, Refuse, Text, WebSearchStep
from tests.support.conversations import book, called, conversation, run, said

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "score": {"type": "integer", "minimum": 1}},
    "required": ["answer", "score"],
    "additionalProperties": False,
}


async def test_calls_are_made_so_many_times_side_by_side() -> None:
    scripts = await run("Go.", model="scenario:calls?iterations=3&parallel=2&tool=f")
    assert [len(called(script)) for script in scripts] == [2, 2, 2, 0]


def test_calls_number_their_arguments() -> None:
    arguments = '{"n": "{iteration}.{call}"}'
    script = book().respond(conversation(metadata={"scenario": f"calls?parallel=2&tool=f&arguments={arguments}"}))
    assert [call.arguments for call in called(script)] == ['{"n": "1.1"}', '{"n": "1.2"}']


def test_calls_take_the_first_tool_that_is_offered() -> None:
    tool = {"type": "function", "name": "g", "parameters": {}, "strict": False}
    [call] = called(book().respond(conversation(model="scenario:calls", tools=[tool])))
    assert call.name == "g"


def test_calls_without_arguments_fill_the_schema_of_the_tool() -> None:
    tool = {"type": "function", "name": "g", "parameters": SCHEMA, "strict": True}
    [call] = called(book().respond(conversation(model="scenario:calls", tools=[tool])))
    assert call.arguments == '{"answer": "answer", "score": 1}'


def test_a_long_text_has_as_many_words_as_asked_for() -> None:
    script = book().respond(conversation(model="scenario:write?words=300&seconds=2"))
    assert len(said(script).split()) == 300
    assert script.writing == 2


def test_a_custom_tool_is_called_with_free_text() -> None:
    script = book().respond(conversation(model="scenario:custom_call?tool=sh&input=ls"))
    assert script.output == [CustomToolCallStep(name="sh", input="ls")]


def test_a_call_of_any_kind_can_be_asked_for() -> None:
    kinds = ["computer_call", "mcp_approval_request", "local_shell_call", "teleport_call"]
    asked = [book().respond(conversation(model=f"scenario:unanswerable_call?kind={kind}")).output for kind in kinds]
    assert [step.item["type"] for [step] in asked if isinstance(step, ItemStep)] == kinds


def test_a_web_search_cites_what_it_found() -> None:
    search, text = book().respond(conversation(model="scenario:web_search")).output
    assert isinstance(search, WebSearchStep)
    assert isinstance(text, Text)
    assert [citation.url for citation in text.citations] == search.sources


def test_a_refusal_says_no() -> None:
    assert book().respond(conversation(model="scenario:refusal")).output == [Refuse()]


def test_no_output_is_nothing() -> None:
    assert book().respond(conversation(model="scenario:no_output")).output == []


def test_an_answer_follows_the_schema_that_is_asked_for() -> None:
    form = {"type": "json_schema", "name": "answer", "schema": SCHEMA}
    script = book().respond(conversation("How many?", model="scenario:echo", text={"format": form}))
    assert json.loads(said(script)) == {"answer": "How many?", "score": 1}


def test_an_answer_is_any_json_where_json_is_asked_for() -> None:
    script = book().respond(conversation("Hi.", model="scenario:echo", text={"format": {"type": "json_object"}}))
    assert json.loads(said(script)) == {"answer": "Hi."}

"""The request of a create: its body, what a worker adds to it, and how a refused chain is rebuilt."""

import base64
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from durable_responses.activities.messages import (
    CallerTool,
    CreateResponse,
    FailureType,
    InputFile,
    ModelOptions,
    Opening,
)
from durable_responses.activities.requests import DEFAULT_INSTRUCTIONS, RequestBuilder, create_request
from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import (
    CreateRequest,
    FunctionCallOutput,
    FunctionTool,
    ReasoningEffort,
    Verbosity,
)
from durable_responses.tools.registry import Effect, Registry, tool
from tests.support.attempts import RUN_ID, WORKFLOW_ID, Attempt
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Provider, answer

IMAGE = b"\x89PNG"


@tool(effect=Effect.PURE)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(effect=Effect.PURE)
def shout(text: str) -> str:
    """Shout."""
    return text.upper()


def function(name: str, description: str, **types: str) -> dict[str, Any]:
    properties = {parameter: {"type": kind} for parameter, kind in types.items()}
    schema = {"type": "object", "properties": properties, "required": list(types), "additionalProperties": False}
    return {"type": "function", "name": name, "description": description, "parameters": schema, "strict": True}


ADD = function("add", "Add two numbers.", a="integer", b="integer")
SHOUT = function("shout", "Shout.", text="string")


async def built(client: ResponsesClient, create: CreateResponse, *roots: Path) -> dict[str, Any]:
    """The body that a worker with two tools sends for this create."""
    builder = RequestBuilder(client, Registry([add, shout]), "gpt-5.4", list(roots))

    async def build() -> CreateRequest:
        return await builder.build(create, background=True, stream=False)

    return (await Attempt().run(build)).body()


async def refusal(client: ResponsesClient, create: CreateResponse, *roots: Path) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await built(client, create, *roots)
    return caught.value


def first(task: str | list[Any] = "Go on.", **opening: Any) -> CreateResponse:
    return CreateResponse(options=ModelOptions(), iteration=1, opening=Opening(task=task, **opening))


# --- what a worker sends -----------------------------------------------------------------------------------------


async def test_the_first_create_of_a_run_says_everything(api: ResponsesClient, tmp_path: Path) -> None:
    """A26: the whole body, with context, a text file and an image. A2: background, stored, no stream."""
    (tmp_path / "notes.md").write_text("first\nsecond\n")
    (tmp_path / "plan.png").write_bytes(IMAGE)
    files = [InputFile(path="notes.md", label="mine"), InputFile(path="plan.png")]
    create = first(context="It is late.", files=files).model_copy(
        update={"options": ModelOptions(enable_web_search=True, metadata={"team": "blue"})}
    )
    text = (
        "Go on.\n\nContext: It is late.\n\n"
        "<file>\npath: notes.md\nlabel: mine\ncontent:\nfirst\nsecond\n</file>"
    )  # fmt: skip
    image = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"
    assert await built(api, create, tmp_path) == {
        "model": "gpt-5.4",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": text},
                    {"type": "input_image", "image_url": image, "detail": "auto"},
                ],
            }
        ],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [{"type": "web_search"}, ADD, SHOUT],
        "reasoning": {"effort": "medium"},
        "background": True,
        "store": True,
        "stream": False,
        "metadata": {
            "team": "blue",
            "workflow_id": WORKFLOW_ID,
            "run_id": RUN_ID,
            "iteration": "1",
            "attempt": "1",
        },
    }


async def test_a_later_create_carries_only_the_new_items(api: ResponsesClient) -> None:
    """A2, A26: every iteration; what the chain does not carry over is said again."""
    create = CreateResponse(
        options=ModelOptions(tools=["add"]),
        iteration=2,
        attempt=2,
        new_items=[FunctionCallOutput(call_id="call_1", output="3")],
        previous_response_id="resp_1",
    )
    assert await built(api, create) == {
        "model": "gpt-5.4",
        "input": [{"type": "function_call_output", "call_id": "call_1", "output": "3"}],
        "previous_response_id": "resp_1",
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [ADD],
        "reasoning": {"effort": "medium"},
        "background": True,
        "store": True,
        "stream": False,
        "metadata": {"workflow_id": WORKFLOW_ID, "run_id": RUN_ID, "iteration": "2", "attempt": "2"},
    }


async def test_a_task_of_items_is_sent_as_it_came(api: ResponsesClient) -> None:
    items = [{"role": "user", "content": "Go on."}, {"type": "item_reference", "id": "msg_1"}]
    assert (await built(api, first(items)))["input"] == items


async def test_a_run_may_do_without_function_tools(api: ResponsesClient) -> None:
    create = first().model_copy(update={"options": ModelOptions(tools=[])})
    assert "tools" not in await built(api, create)


# --- texts of the user -------------------------------------------------------------------------------------------


TEXT = {"role": "user", "content": "And be brief."}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("Go on.", [{"role": "user", "content": "Go on."}, TEXT]),
        ([{"role": "user", "content": "Hi."}], [{"role": "user", "content": "Hi."}, TEXT]),
    ],
)
async def test_a_text_that_came_before_the_first_create_follows_the_task(
    api: ResponsesClient, task: str | list[Any], expected: list[Any]
) -> None:
    create = first(task).model_copy(update={"texts": ["And be brief."]})
    assert (await built(api, create))["input"] == expected


async def test_texts_of_the_user_follow_the_answers_to_calls(api: ResponsesClient) -> None:
    answer_to_call = FunctionCallOutput(call_id="call_1", output="3")
    create = CreateResponse(
        options=ModelOptions(),
        iteration=2,
        new_items=[answer_to_call],
        texts=["And be brief."],
        previous_response_id="r",
    )
    assert (await built(api, create))["input"] == [answer_to_call.model_dump(), TEXT]


# --- what the caller gave wrong ----------------------------------------------------------------------------------


async def test_the_tools_of_the_callers_program_are_offered_beside_those_of_the_worker(api: ResponsesClient) -> None:
    whisper = CallerTool(name="whisper", description="Whisper.", parameters=ADD["parameters"], task_queue="program")
    create = first().model_copy(update={"options": ModelOptions(tools=["add"], caller_tools=[whisper])})
    offered = {"type": "function", **whisper.model_dump(exclude={"task_queue"})}
    assert (await built(api, create))["tools"] == [ADD, offered]


async def test_a_tool_of_the_callers_program_cannot_have_the_name_of_one_of_the_workers(api: ResponsesClient) -> None:
    """The model could not tell them apart."""
    own = CallerTool(name="add", parameters=ADD["parameters"], task_queue="program")
    create = first().model_copy(update={"options": ModelOptions(caller_tools=[own])})
    failure = await refusal(api, create)
    assert (failure.type, failure.non_retryable) == (FailureType.INVALID_INPUT, True)
    assert failure.message == "caller_tools: the worker has a tool of this name, too: add"


async def test_an_unknown_tool_is_refused_by_name(api: ResponsesClient) -> None:
    create = first().model_copy(update={"options": ModelOptions(tools=["whisper"])})
    failure = await refusal(api, create)
    assert (failure.type, failure.non_retryable) == (FailureType.INVALID_INPUT, True)
    assert failure.message.startswith("tools: There is no tool named 'whisper'")


async def test_an_unknown_tool_names_the_nearest_right_one(api: ResponsesClient) -> None:
    failure = await refusal(api, first().model_copy(update={"options": ModelOptions(tools=["ad"])}))
    assert failure.message.startswith("tools: There is no tool named 'ad'; available tools: ")
    assert failure.message.endswith(" Did you mean 'add'?")


async def test_a_file_outside_the_root_is_refused_by_its_field(api: ResponsesClient, tmp_path: Path) -> None:
    """A24: the worker checks against its own roots."""
    failure = await refusal(api, first(files=[InputFile(path="../secret.txt")]), tmp_path)
    assert (failure.type, failure.non_retryable) == (FailureType.INVALID_INPUT, True)
    assert failure.message.startswith("files[0].path: is outside the allowed root")


async def test_the_refusal_of_a_file_keeps_its_cause_out_of_history(api: ResponsesClient, tmp_path: Path) -> None:
    """A25: history stores causes too, and theirs may name paths of the worker."""
    failure = await refusal(api, first(files=[InputFile(path="missing.txt")]), tmp_path)
    assert failure.__cause__ is None


# --- the whole input, after the chain was refused ----------------------------------------------------------------


async def run_of_two(client: ResponsesClient) -> tuple[list[str], list[list[str]]]:
    """Two stored responses, the second an answer to the calls of the first: their ids, and the ids of their calls."""
    metadata = {"scenario": "calls?iterations=5&parallel=2&tool=add&arguments={}"}
    request = CreateRequest.model_validate({"model": "m", "input": "Add.", "tools": [ADD], "metadata": metadata})
    one = await client.create(request)
    answers = [FunctionCallOutput(call_id=call.call_id, output=f"first {call.call_id}") for call in one.function_calls]
    two = await client.create(request.model_copy(update={"input": answers, "previous_response_id": one.id}))
    return [one.id, two.id], [[call.call_id for call in each.function_calls] for each in (one, two)]


def rebuilding(responses: list[str], calls: list[str], task: str | list[Any] = "Add.") -> CreateResponse:
    return CreateResponse(
        options=ModelOptions(),
        iteration=3,
        opening=Opening(task=task),
        new_items=[FunctionCallOutput(call_id=call, output=f"second {call}") for call in calls],
        rebuild_from=responses,
    )


def outline(items: list[dict[str, Any]]) -> list[str]:
    return [item.get("output") or item.get("call_id") or item.get("type") or item["role"] for item in items]


async def test_a_refused_chain_is_rebuilt_from_the_stored_responses(emulated: ResponsesClient) -> None:
    """The opening, then each response's output with the answers to its calls, oldest first."""
    ids, [early, late] = await run_of_two(emulated)
    body = await built(emulated, rebuilding(ids, late))
    assert "previous_response_id" not in body
    assert body["input"][0] == {"role": "user", "content": "Add."}
    assert outline(body["input"][1:]) == [
        "reasoning",
        *early,
        *(f"first {call}" for call in early),
        "reasoning",
        *late,
        *(f"second {call}" for call in late),
    ]


async def test_texts_of_the_user_are_rebuilt_where_they_were_said(emulated: ResponsesClient) -> None:
    asked = CreateRequest(model="scenario:echo", input="Add.", store=True)
    one = await emulated.create(asked)
    again = {"input": [{"role": "user", "content": "Shorter."}], "previous_response_id": one.id}
    two = await emulated.create(asked.model_copy(update=again))
    body = await built(emulated, rebuilding([one.id, two.id], []).model_copy(update={"texts": ["And be brief."]}))
    said = [item["content"] for item in body["input"] if "content" in item]
    said = [content if isinstance(content, str) else content[0]["text"] for content in said]
    assert said == ["Add.", "Add.", "Shorter.", "Shorter.", "And be brief."]


async def test_a_text_that_a_server_lists_with_every_later_response_is_rebuilt_once(
    api: ResponsesClient, provider: Provider
) -> None:
    def listed(*texts: str) -> dict[str, Any]:
        message = {"type": "message", "role": "user"}
        return {"data": [message | {"id": text, "content": [{"type": "input_text", "text": text}]} for text in texts]}

    done = {"id": "resp", "status": "completed", "output": []}
    provider.will(*map(answer, (done, listed("Add."), done, listed("Add.", "Shorter."))))
    body = await built(api, rebuilding(["resp_1", "resp_2"], []))
    assert [item.get("id") for item in body["input"]] == [None, "Shorter."]


async def test_a_rebuilt_input_is_accepted_as_the_same_conversation(emulated: ResponsesClient) -> None:
    """Every call in it is answered, and nothing but calls."""
    ids, [_, late] = await run_of_two(emulated)
    body = await built(emulated, rebuilding(ids, late))
    request = CreateRequest.model_validate(body | {"background": False, "metadata": {"scenario": "echo"}})
    assert (await emulated.create(request)).output_text == f"second {late[-1]}"


async def test_a_task_of_items_opens_the_rebuilt_input(emulated: ResponsesClient) -> None:
    ids, [_, late] = await run_of_two(emulated)
    items = [{"role": "user", "content": "Add."}, {"role": "user", "content": "Now."}]
    assert (await built(emulated, rebuilding(ids, late, items)))["input"][:2] == items


async def test_answers_are_found_beyond_the_first_page(api: ResponsesClient, provider: Provider) -> None:
    """A response can have more input items than one page holds."""
    response = {
        "id": "resp_1",
        "status": "completed",
        "output": [
            {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
            {"type": "function_call", "call_id": "call_2", "name": "add", "arguments": "{}"},
        ],
    }

    def page(call: str, *, more: bool) -> dict[str, Any]:
        item = {"type": "function_call_output", "call_id": call, "output": f"out {call}"}
        return {"data": [item], "has_more": more, "last_id": call}

    provider.will(answer(response), answer(page("call_1", more=True)), answer(page("call_2", more=False)))
    body = await built(api, rebuilding(["resp_1"], []))
    assert outline(body["input"][3:]) == ["out call_1", "out call_2"]


@pytest.mark.parametrize("cumulative", [False, True])
async def test_call_ids_that_are_used_again_are_paired_by_their_place(
    api: ResponsesClient, provider: Provider, cumulative: bool
) -> None:
    """Some servers count the calls of each response from one, and some name all calls of a response alike."""

    def calls(response_id: str) -> dict[str, Any]:
        call = {"type": "function_call", "call_id": "call_0", "name": "add", "arguments": "{}"}
        return {"id": response_id, "status": "completed", "output": [call, call]}

    def given(*outputs: str) -> dict[str, Any]:
        return {"data": [{"type": "function_call_output", "call_id": "call_0", "output": text} for text in outputs]}

    before = ("one", "two") if cumulative else ()
    stored = [calls("r1"), given(), calls("r2"), given("one", "two"), calls("r3"), given(*before, "three", "four")]
    provider.will(*map(answer, stored))
    last = rebuilding(["r1", "r2", "r3"], []).model_copy(
        update={"new_items": [FunctionCallOutput(call_id="call_0", output=text) for text in ("five", "six")]}
    )
    body = await built(api, last)
    assert [item["output"] for item in body["input"] if "output" in item] == [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
    ]


async def test_a_stored_response_that_cannot_be_read_for_now_is_read_later(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    ids, [_, late] = await run_of_two(emulated)
    await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Answer(status=500)))
    failure = await refusal(emulated, rebuilding(ids, late))
    assert (failure.type, failure.non_retryable) == (FailureType.TRY_LATER, False)


async def test_a_chain_with_a_response_that_is_gone_fails_by_its_name(emulated: ResponsesClient) -> None:
    """Not as a lost response: nothing is lost that a further create could bring back."""
    ids, [_, late] = await run_of_two(emulated)
    await emulated.delete(ids[0])
    failure = await refusal(emulated, rebuilding(ids, late))
    assert (failure.type, failure.non_retryable) == (FailureType.CHAIN_REJECTED, True)
    assert ids[0] in failure.message


# --- the body, whole, for what a run may ask for -----------------------------------------------------------------


OF_THE_RUN = {"workflow_id": "agent-1", "run_id": "run-1", "iteration": "1", "attempt": "1"}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
ADDITION = FunctionTool(name="add", description="Add.", parameters=SCHEMA)

LEAST = {
    "model": "gpt-5.4",
    "input": "Go on.",
    "instructions": DEFAULT_INSTRUCTIONS,
    "reasoning": {"effort": "medium"},
    "background": True,
    "store": True,
    "stream": False,
    "metadata": OF_THE_RUN,
}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in LEAST.items() if name != key}


def body(options: ModelOptions, **given: Any) -> dict[str, Any]:
    """The body of a background create with these options; `given` replaces what comes from elsewhere."""
    arguments: dict[str, Any] = {
        "default_model": "gpt-5.4",
        "functions": [],
        "input": "Go on.",
        "previous_response_id": None,
        "metadata": OF_THE_RUN,
        "background": True,
        "stream": False,
    }
    return create_request(options, **{**arguments, **given}).body()


# fmt: off
COMBINATIONS: dict[str, tuple[ModelOptions, dict[str, Any]]] = {
    "nothing": (ModelOptions(), LEAST),
    "model": (ModelOptions(model="gpt-6"), LEAST | {"model": "gpt-6"}),
    "instructions": (
        ModelOptions(instructions="Be brief."),
        LEAST | {"instructions": f"{DEFAULT_INSTRUCTIONS}\n\nAdditional instructions: Be brief."},
    ),
    **{
        f"effort {effort}": (ModelOptions(reasoning_effort=effort), LEAST | {"reasoning": {"effort": effort.value}})
        for effort in ReasoningEffort if effort is not ReasoningEffort.NONE
    },
    "no effort": (ModelOptions(reasoning_effort=ReasoningEffort.NONE), without("reasoning")),
    "no effort, summary": (
        ModelOptions(reasoning_effort=ReasoningEffort.NONE, reasoning_summary=True), without("reasoning"),
    ),
    "summary": (
        ModelOptions(reasoning_effort=ReasoningEffort.HIGH, reasoning_summary=True),
        LEAST | {"reasoning": {"effort": "high", "summary": "auto"}},
    ),
    **{
        f"verbosity {verbosity}": (ModelOptions(verbosity=verbosity), LEAST | {"text": {"verbosity": verbosity.value}})
        for verbosity in Verbosity
    },
    "web search": (ModelOptions(enable_web_search=True), LEAST | {"tools": [{"type": "web_search"}]}),
    "code interpreter": (
        ModelOptions(enable_code_interpreter=True),
        LEAST | {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ),
    "schema": (
        ModelOptions(text_format=SCHEMA),
        LEAST | {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}},
    ),
    "a whole format": (
        ModelOptions(text_format={"type": "json_object"}), LEAST | {"text": {"format": {"type": "json_object"}}},
    ),
    "max_output_tokens": (ModelOptions(max_output_tokens=32_000), LEAST | {"max_output_tokens": 32_000}),
    "metadata": (ModelOptions(metadata={"team": "blue"}), LEAST | {"metadata": {"team": "blue", **OF_THE_RUN}}),
    "everything": (
        ModelOptions(
            model="gpt-6", instructions="Be brief.", reasoning_effort=ReasoningEffort.MAX, reasoning_summary=True,
            verbosity=Verbosity.LOW, enable_web_search=True, enable_code_interpreter=True, text_format=SCHEMA,
            max_output_tokens=64_000, metadata={"team": "blue"},
        ),
        {
            "model": "gpt-6",
            "input": "Go on.",
            "instructions": f"{DEFAULT_INSTRUCTIONS}\n\nAdditional instructions: Be brief.",
            "tools": [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}],
            "reasoning": {"effort": "max", "summary": "auto"},
            "text": {
                "verbosity": "low",
                "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True},
            },
            "max_output_tokens": 64_000,
            "background": True,
            "store": True,
            "stream": False,
            "metadata": {"team": "blue", **OF_THE_RUN},
        },
    ),
}
# fmt: on


@pytest.mark.parametrize(("options", "expected"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_the_body_is_this_and_nothing_more(options: ModelOptions, expected: dict[str, Any]) -> None:
    """A26: the whole body, per combination."""
    assert body(options) == expected


def test_function_tools_follow_the_hosted_ones() -> None:
    """A26."""
    told = body(ModelOptions(enable_web_search=True), functions=[ADDITION])
    function = {"type": "function", "name": "add", "description": "Add.", "parameters": SCHEMA, "strict": True}
    assert told["tools"] == [{"type": "web_search"}, function]


@pytest.mark.parametrize(
    ("background", "stream"), [(True, False), (True, True), (False, True)], ids=["background", "preview", "stream"]
)
def test_every_create_is_stored_whatever_its_transport(background: bool, stream: bool) -> None:
    """A2."""
    told = body(ModelOptions(), background=background, stream=stream)
    assert told == LEAST | {"background": background, "stream": stream}


def test_a_chained_create_is_stored_and_says_everything_again() -> None:
    """A2: `store: true` also with `previous_response_id`; the API carries neither instructions nor tools over."""
    answer = {"type": "function_call_output", "call_id": "call_1", "output": "3"}
    told = body(ModelOptions(enable_web_search=True), input=[answer], previous_response_id="resp_1")
    chained = {"input": [answer], "previous_response_id": "resp_1", "tools": [{"type": "web_search"}]}
    assert told == LEAST | chained


def test_a_caller_cannot_pass_for_another_run() -> None:
    """An orphan is recognised by these keys."""
    assert body(ModelOptions(metadata={"workflow_id": "agent-2", "iteration": "7"}))["metadata"] == OF_THE_RUN

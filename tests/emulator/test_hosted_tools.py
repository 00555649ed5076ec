"""Tools that run at the provider, as the official client meets them."""

import base64
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError
from openai.types import ContainerRetrieveResponse
from openai.types.containers import FileListResponse
from openai.types.responses import Response

from durable_responses.emulator.faults import Answer, Fault, Operation
from tests.support import strictly
from tests.support.emulator_control import RunningEmulator

CODE: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
PNG = b"\x89PNG\r\n\x1a\n"
AFTER_EXPIRY = 20 * 60 + 1


def server(**fields: Any) -> Any:
    return {"type": "mcp", "server_label": "files", "server_url": "https://mcp.example/mcp", **fields}


def kinds(response: Response) -> list[str]:
    return [item.type for item in response.output if item.type != "reasoning"]


def container_of(response: Response) -> str:
    return next(item.container_id for item in response.output if item.type == "code_interpreter_call")


def annotations(response: Response) -> list[dict[str, Any]]:
    return [
        note.model_dump()
        for item in response.output
        if item.type == "message"
        for part in item.content
        if part.type == "output_text"
        for note in part.annotations
    ]


async def run_code(official: AsyncOpenAI, query: str = "", **request: Any) -> Response:
    fields = {"model": f"scenario:code_interpreter{query}", "input": "Plot.", "tools": [CODE], **request}
    return await strictly.create(official, **fields)


# --- files and images --------------------------------------------------------------------------------------------


async def test_a_search_shows_its_results_where_they_are_asked_for(official: AsyncOpenAI) -> None:
    asked: Any = {"model": "scenario:file_search", "input": "Windows?"}
    plain = await strictly.create(official, **asked)
    shown = await strictly.create(official, **asked, include=["file_search_call.results"])
    results = [item.results for answer in (plain, shown) for item in answer.output if item.type == "file_search_call"]
    assert results[0] is None
    assert results[1] is not None
    [note] = annotations(shown)
    assert (note["type"], note["file_id"]) == ("file_citation", results[1][0].file_id)


@pytest.mark.parametrize("size", [0, 3_000_000])
async def test_an_image_is_a_png_of_the_size_that_was_asked_for(official: AsyncOpenAI, size: int) -> None:
    answer = await strictly.create(official, model=f"scenario:image_generation?bytes={size}", input="A cat.")
    [image] = [item for item in answer.output if item.type == "image_generation_call"]
    content = base64.b64decode(image.result or "")
    assert content.startswith(PNG)
    assert size <= len(content) < size * 1.01 + 1000
    after = await strictly.create(official, model="scenario:echo", input="And?", previous_response_id=answer.id)
    assert after.usage is not None
    assert after.usage.input_tokens < 2000


@pytest.mark.parametrize("scenario", ["image_generation", "code_interpreter", "file_search", "mcp"])
async def test_events_fit_the_published_types(official: AsyncOpenAI, scenario: str) -> None:
    tools = [server(require_approval="never")]
    seen = [event async for event in strictly.stream(official, model=f"scenario:{scenario}", input="Go.", tools=tools)]
    stem = "mcp_call" if scenario == "mcp" else f"{scenario}_call"
    assert {f"response.{stem}.in_progress", f"response.{stem}.completed"} <= {event.type for event in seen}


# --- containers --------------------------------------------------------------------------------------------------


async def test_files_of_a_container_are_listed_in_pages_cited_or_not(official: AsyncOpenAI) -> None:
    answer = await run_code(official, "?files=5&cited=1&bytes=100")
    container = container_of(answer)
    listed = [file async for file in official.containers.files.list(container, limit=2, order="asc")]
    assert [file.path for file in listed] == ["/mnt/data/plot.png", *(f"/mnt/data/table{n}.csv" for n in range(1, 5))]
    strictly.read(FileListResponse, listed[0].model_dump_json())
    [note] = annotations(answer)
    assert note["type"] == "container_file_citation"
    assert (note["container_id"], note["file_id"], note["filename"]) == (container, listed[0].id, "plot.png")
    one = await official.containers.files.retrieve(listed[1].id, container_id=container)
    content = await official.containers.files.content.retrieve(listed[1].id, container_id=container)
    assert len(content.content) == one.bytes >= 100
    plot = await official.containers.files.content.retrieve(listed[0].id, container_id=container)
    assert plot.content.startswith(PNG)


async def test_a_chain_keeps_its_container_until_it_expires(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    first = await run_code(official)
    second = await run_code(official, previous_response_id=first.id)
    assert container_of(second) == container_of(first)
    await emulator.control.advance(AFTER_EXPIRY)
    third = await run_code(official, previous_response_id=second.id)
    assert container_of(third) != container_of(first)


async def test_reading_keeps_a_container_alive(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    container = container_of(await run_code(official))
    for _ in range(2):
        await emulator.control.advance(AFTER_EXPIRY / 2)
        raw = await official.containers.with_raw_response.retrieve(container)
    assert strictly.read(ContainerRetrieveResponse, raw.content).status == "running"
    await emulator.control.advance(AFTER_EXPIRY)
    assert (await official.containers.retrieve(container)).status == "expired"
    with pytest.raises(NotFoundError, match="expired"):
        await official.containers.files.list(container)


async def test_code_of_an_expired_container_cannot_be_sent_again(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    answer = await run_code(official)
    replay: Any = [item.model_dump(exclude_none=True) for item in answer.output if item.type != "reasoning"]
    question: Any = {"role": "user", "content": "And?"}
    assert await strictly.create(official, model="scenario:echo", input=[*replay, question])
    await emulator.control.advance(AFTER_EXPIRY)
    with pytest.raises(BadRequestError, match="Expected container_id"):
        await official.responses.create(model="scenario:echo", input=[*replay, question])


async def test_a_container_can_be_refused_by_a_fault(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    container = container_of(await run_code(official))
    await emulator.control.add_fault(Fault(operation=Operation.CONTAINER, effect=Answer(status=500)))
    with pytest.raises(APIStatusError, match="500"):
        await official.containers.files.list(container)
    assert (await official.containers.files.list(container)).data


# --- remote MCP servers ------------------------------------------------------------------------------------------


async def test_a_server_that_needs_no_approval_is_called_at_once(official: AsyncOpenAI) -> None:
    asked: Any = {"model": "scenario:mcp", "tools": [server(require_approval="never")]}
    first = await strictly.create(official, **asked, input="Look it up.")
    assert kinds(first) == ["mcp_list_tools", "mcp_call", "message"]
    second = await strictly.create(official, **asked, input="Again.", previous_response_id=first.id)
    assert kinds(second) == ["mcp_call", "message"]


@pytest.mark.parametrize(("approve", "expected"), [(True, ["mcp_call", "message"]), (False, ["message"])])
async def test_a_call_waits_for_its_approval(official: AsyncOpenAI, approve: bool, expected: list[str]) -> None:
    asked: Any = {"model": "scenario:mcp?tool=delete", "tools": [server()]}
    first = await strictly.create(official, **asked, input="Delete it.")
    assert kinds(first) == ["mcp_list_tools", "mcp_approval_request"]
    answer = {"type": "mcp_approval_response", "approval_request_id": first.output[-1].id, "approve": approve}
    second = await strictly.create(official, **asked, input=[answer], previous_response_id=first.id)
    assert kinds(second) == expected


@pytest.mark.parametrize(
    ("require", "asks"),
    [
        ("always", True),
        ({"never": {"tool_names": ["delete"]}}, False),
        ({"always": {"tool_names": ["delete"]}}, True),
        ({"always": {"tool_names": ["other"]}}, False),
    ],
)
async def test_approval_is_needed_by_name(official: AsyncOpenAI, require: object, asks: bool) -> None:
    answer = await official.responses.create(
        model="scenario:mcp?tool=delete", input="Go.", tools=[server(require_approval=require)]
    )
    assert ("mcp_approval_request" in kinds(answer)) is asks


async def test_an_approval_that_nobody_asked_for_is_refused(official: AsyncOpenAI) -> None:
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": "mcpr_0", "approve": True}
    with pytest.raises(BadRequestError, match="mcpr_0"):
        await official.responses.create(model="scenario:mcp", input=[answer], tools=[server()])


async def test_a_server_wants_its_header(official: AsyncOpenAI) -> None:
    asked: Any = {"model": "scenario:mcp?header=X-Key", "input": "Go."}
    with pytest.raises(APIStatusError, match="401") as refused:
        await official.responses.create(**asked, tools=[server()])
    assert refused.value.status_code == 424
    assert await official.responses.create(**asked, tools=[server(headers={"x-key": "secret"})])


async def test_a_failed_call_says_why(official: AsyncOpenAI) -> None:
    tools = [server(require_approval="never")]
    answer = await strictly.create(official, model="scenario:mcp?error=no", input="Go.", tools=tools)
    [call] = [item for item in answer.output if item.type == "mcp_call"]
    assert (call.status, call.output) == ("failed", None)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "param", "code"),
    [
        ({"type": "banana"}, "type", "invalid_value"),
        ({"type": "web_search_2025_08_26", "depth": 3}, "depth", "unknown_parameter"),
        ({"type": "file_search"}, "vector_store_ids", "missing_required_parameter"),
        ({"type": "file_search", "vector_store_ids": []}, "vector_store_ids", "empty_array"),
        ({"type": "code_interpreter"}, "container", "missing_required_parameter"),
        ({"type": "mcp", "server_url": "https://mcp.example"}, "server_label", "missing_required_parameter"),
        ({"type": "mcp", "server_label": "files"}, "server_url", "missing_required_parameter"),
        (server(secret="x"), "secret", "unknown_parameter"),
        ({"type": "image_generation", "colour": "red"}, "colour", "unknown_parameter"),
        ({"type": "function", "name": "f", "parameters": {}, "timeout": 3}, "timeout", "unknown_parameter"),
    ],
)
async def test_a_tool_that_the_api_does_not_take_is_refused_by_its_field(
    official: AsyncOpenAI, tool: Any, param: str, code: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(model="emulated", input="Hi.", tools=[CODE, tool])
    assert (refused.value.param, refused.value.code) == (f"tools[1].{param}", code)

"""Calls of servers that ask in the middle of them: real ones, of revision 2025-11-25."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable_responses.mcp_tools.calls import McpTool, OutcomeUnknown
from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.held_calls import HeldCall, HeldCalls
from durable_responses.mcp_tools.sessions import NOTHING, Answer, AsksFirst, Given, Sessions
from durable_responses.tools.registry import ToolContext, ToolError
from tests.support.processes import free_port, port_serves

PROJECT = Path(__file__).parents[2]
GREEN = {"action": "accept", "content": {"color": "green"}}


def asking(folder: Path, *arguments: str) -> McpServer:
    """The server as a program."""
    given = ["-m", "tests.support.asking_mcp_server", str(folder), *arguments]
    return McpServer.model_validate(
        {"command": sys.executable, "args": given, "cwd": str(PROJECT), "trust": "annotations"}
    )


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Sessions]:
    """A session with it."""
    async with Sessions({"it": asking(tmp_path)}) as sessions:
        yield sessions


async def call(sessions: Sessions, tool: str, given: Given = NOTHING) -> str:
    """What a call answers, as its activity makes it."""
    listed = (await sessions.listing("it")).tools[tool]
    unheard: list[str] = []
    known = McpTool(sessions, listed, f"it__{tool}", listed.treatment.effect, 30, unheard.append, given)
    return (await known.run({}, ToolContext(PROJECT))).text


async def unheard(progress: float, total: float | None, message: str | None) -> None:
    """Nobody wants to know."""


async def asked(sessions: Sessions, tool: str, given: Given = NOTHING) -> AsksFirst:
    """What is asked, and the call that waits for it."""
    with pytest.raises(AsksFirst) as asks:
        await call(sessions, tool, given)
    return asks.value


def answering(asks: AsksFirst, answer: Any = GREEN) -> Given:
    """The answer to what was asked."""
    return Given({each.key: answer for each in asks.questions}, None, asks.held)


def lines(folder: Path, name: str) -> list[str]:
    file = folder / name
    return file.read_text().splitlines() if file.exists() else []


async def until_noted(folder: Path, name: str) -> None:
    async with asyncio.timeout(20):
        while not lines(folder, name):
            await asyncio.sleep(0.02)


async def test_a_call_waits_in_its_server_for_the_answer(shop: Sessions, tmp_path: Path) -> None:
    asks = await asked(shop, "order")
    [question] = asks.questions
    assert (question.message, list(question.fields["properties"]), question.url) == ("Which color?", ["color"], None)
    assert await call(shop, "order", answering(asks)) == "order: green"
    assert lines(tmp_path, "order") == ["x"]


async def test_a_refusal_is_passed_on(shop: Sessions, tmp_path: Path) -> None:
    for action in ("decline", "cancel"):
        asks = await asked(shop, "order")
        assert await call(shop, "order", answering(asks, {"action": action})) == f"order: {action}"
    assert lines(tmp_path, "answers") == ["decline", "cancel"]


async def test_a_call_may_ask_again(shop: Sessions, tmp_path: Path) -> None:
    first = await asked(shop, "order_twice")
    second = await asked(shop, "order_twice", answering(first))
    assert second.held == first.held
    assert [each.message for each in second.questions] == ["And which second color?"]
    assert await call(shop, "order_twice", answering(second)) == "order_twice: green and green"
    assert lines(tmp_path, "order_twice") == ["x"]


async def test_an_address_is_shown(shop: Sessions) -> None:
    asks = await asked(shop, "log_in")
    assert [each.url for each in asks.questions] == ["https://shop.example/login?id=1"]
    assert await call(shop, "log_in", answering(asks, {"action": "accept"})) == "log_in: accept"


async def test_a_call_that_is_refused_until_an_address_was_opened_is_made_again(shop: Sessions, tmp_path: Path) -> None:
    asks = await asked(shop, "after_log_in")
    assert ([each.message for each in asks.questions], asks.held) == (["Log in first."], None)
    with pytest.raises(ToolError, match="its owner did not open the address"):
        await call(shop, "after_log_in", answering(asks, {"action": "decline"}))
    assert lines(tmp_path, "after_log_in") == ["x"]
    assert await call(shop, "after_log_in", answering(asks, {"action": "accept"})) == "after_log_in: logged in"


async def test_other_calls_are_made_while_one_waits(shop: Sessions) -> None:
    asks = await asked(shop, "order")
    assert await asyncio.gather(*(call(shop, "echo") for _ in range(5))) == ["echo: echo"] * 5
    other = await asked(shop, "look_up")
    assert await call(shop, "order", answering(asks)) == "order: green"
    assert await call(shop, "look_up", answering(other, {"action": "decline"})) == "look_up: decline"


async def test_a_question_is_that_of_the_call_which_is_left_when_the_others_have_ended(
    shop: Sessions, tmp_path: Path
) -> None:
    """Nothing says which call it belongs to."""
    slow = asyncio.create_task(call(shop, "slow"))
    await until_noted(tmp_path, "slow")
    asking = asyncio.create_task(asked(shop, "order"))
    await until_noted(tmp_path, "order")
    (tmp_path / "open").touch()
    assert await slow == "slow: done"
    assert await call(shop, "order", answering(await asking)) == "order: green"


async def test_of_two_calls_that_ask_at_once_one_is_cancelled_and_then_they_come_one_by_one(
    shop: Sessions, tmp_path: Path
) -> None:
    both = (call(shop, "order_together"), call(shop, "order_together"))
    results = await asyncio.gather(*both, return_exceptions=True)
    [asks] = [each for each in results if isinstance(each, AsksFirst)]
    assert "order_together: cancel" in results
    assert await call(shop, "order_together", answering(asks)) == "order_together: green"
    looking, ordering = await asyncio.gather(asked(shop, "look_up"), asked(shop, "order"))
    red = {"action": "accept", "content": {"color": "red"}}
    assert await call(shop, "look_up", answering(looking)) == "look_up: green"
    assert await call(shop, "order", answering(ordering, red)) == "order: red"
    assert lines(tmp_path, "answers") == ["cancel", "accept", "accept", "accept"]


@pytest.mark.parametrize(("tool", "answer"), [("look_up", "look_up: green"), ("order", None)])
async def test_a_call_whose_worker_was_lost_is_made_again_only_where_that_does_no_harm(
    tmp_path: Path, tool: str, answer: str | None
) -> None:
    """It is not asked again what was answered."""
    async with Sessions({"it": asking(tmp_path)}) as lost:
        given = answering(await asked(lost, tool))
    async with Sessions({"it": asking(tmp_path)}) as sessions:
        if answer is None:
            with pytest.raises(OutcomeUnknown, match="its worker, which kept it while"):
                await call(sessions, tool, given)
        else:
            assert await call(sessions, tool, given) == answer
    assert len(lines(tmp_path, tool)) == (2 if answer else 1)


@pytest.mark.parametrize("tool", ["impatient_look_up", "impatient_order"])
async def test_a_server_that_did_not_wait_is_called_again_only_where_that_does_no_harm(
    shop: Sessions, tmp_path: Path, tool: str
) -> None:
    asks = await asked(shop, tool)
    (tmp_path / "patient").touch()
    await until_noted(tmp_path, "given_up")
    await call(shop, "echo")  # comes after what the server has said before
    if tool == "impatient_look_up":
        assert await call(shop, tool, answering(asks)) == "impatient_look_up: green"
    else:
        with pytest.raises(ToolError, match="nobody has answered in time"):
            await call(shop, tool, answering(asks))
    assert len(lines(tmp_path, tool)) == (2 if tool == "impatient_look_up" else 1)


async def test_a_question_that_nobody_answers_is_cancelled(tmp_path: Path) -> None:
    async with Sessions({"it": asking(tmp_path)}, held=0.05) as sessions:
        await asked(sessions, "order")
        await until_noted(tmp_path, "answers")
    assert lines(tmp_path, "answers") == ["cancel"]


async def test_a_session_is_not_idle_while_a_call_waits_in_it(tmp_path: Path) -> None:
    async with Sessions({"it": asking(tmp_path)}, idle=0.01) as sessions:
        asks = await asked(sessions, "order")
        await asyncio.sleep(0.05)  # what is shown is that nothing happens in it
        assert await call(sessions, "order", answering(asks)) == "order: green"


async def test_calls_that_wait_are_cancelled_side_by_side_in_the_end() -> None:
    """Each of these ends only with the other."""
    calls, begun, cancelled = HeldCalls(60), asyncio.Barrier(3), asyncio.Barrier(2)

    async def wait(held: HeldCall) -> Answer:
        try:
            await begun.wait()
            await asyncio.get_running_loop().create_future()
        finally:
            await cancelled.wait()
        return Answer(held.id, is_error=False)

    waiting = [asyncio.create_task(calls.answer(wait, unheard, NOTHING)) for _ in range(2)]
    await begun.wait()
    async with asyncio.timeout(4):  # one of them alone is waited for longer
        await calls.aclose()
    for each in waiting:
        with pytest.raises(asyncio.CancelledError):
            await each


async def test_a_call_waits_over_http_too(tmp_path: Path) -> None:
    port = free_port()
    served = asking(tmp_path, str(port))
    process = await asyncio.create_subprocess_exec(served.command or "", *served.args, cwd=PROJECT)
    try:
        server = McpServer.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "trust": "annotations"})
        async with asyncio.timeout(30):
            while not port_serves(port):
                await asyncio.sleep(0.05)
        async with Sessions({"it": server}) as sessions:
            asks = await asked(sessions, "order")
            assert await call(sessions, "order", answering(asks)) == "order: green"
    finally:
        process.kill()
        await process.wait()

"""Async tools on event loops of their own: their results, their cancels, and one that blocks."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

from durable_responses.tools.loops import ToolLoops


@pytest.fixture
def loops() -> Iterator[ToolLoops]:
    with ToolLoops(blocked_after=0.3) as loops:
        yield loops


async def own_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def test_all_calls_share_one_loop_which_is_not_the_workers(loops: ToolLoops) -> None:
    """So an HTTP client that a tool keeps works in its next call."""
    first, second = await loops.run(own_loop, "first"), await loops.run(own_loop, "second")
    assert first is second
    assert first is not asyncio.get_running_loop()


async def test_an_exception_of_a_tool_is_raised(loops: ToolLoops) -> None:
    async def fail() -> None:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        await loops.run(fail, "fail")


async def test_a_tool_sees_the_context_of_its_call(loops: ToolLoops) -> None:
    """Traces go by it."""
    variable = contextvars.ContextVar[str]("variable")
    variable.set("seen")

    async def look() -> str:
        return variable.get()

    assert await loops.run(look, "look") == "seen"


async def test_a_cancel_reaches_the_tool_and_waits_for_its_end(loops: ToolLoops) -> None:
    started, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    running = asyncio.create_task(loops.run(wait, "wait"))
    assert await asyncio.to_thread(started.wait, 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_tool_that_blocks_is_named_in_the_log_and_holds_up_no_later_call(
    loops: ToolLoops, caplog: pytest.LogCaptureFixture
) -> None:
    end = threading.Event()

    async def block() -> str:
        end.wait(20)
        return "ended at last"

    blocking = asyncio.create_task(loops.run(block, "block"))
    async with asyncio.timeout(10):
        while "Tool block has blocked the event loop of the async tools" not in caplog.text:
            await asyncio.sleep(0.01)
        assert "end.wait(20)" in caplog.text
        await loops.run(own_loop, "other")
    assert not blocking.done()
    end.set()
    assert await blocking == "ended at last"

"""While something long happens, a word is said from time to time."""

import asyncio

import pytest

from durable_responses.progress import Progress, Words, told_while


def test_nobody_waits_longer_than_ten_seconds_without_a_word_and_nothing_short_is_talked_about() -> None:
    now, said = 0.0, list[str]()
    words = Words("building", said.append, clock=lambda: now)
    for second in range(4 * 28):
        now = second / 4
        words.come()
    assert said == ["  … building, 5 s", "  … building, 15 s", "  … building, 25 s"]


def test_what_may_take_hours_is_talked_about_more_and_more_seldom() -> None:
    now, said = 0.0, list[str]()
    words = Words("waiting", said.append, slower=2, clock=lambda: now)
    for second in range(2000):
        now = float(second)
        words.come()
    assert [line.split()[2] for line in said] == ["5", "15", "35", "75", "155", "315", "635", "1235", "1835"]


def test_a_word_has_the_size_of_what_there_is() -> None:
    now, said = 0.0, list[str]()
    words = Words("downloading", said.append, clock=lambda: now)
    now = 6.0
    words.come("34 MB")
    assert said == ["  … downloading, 6 s, 34 MB"]
    assert isinstance(said[0], Progress)


async def test_the_result_of_the_work_and_its_error_come_through() -> None:
    async def fail() -> None:
        raise OSError("the disk is full")

    assert await told_while(asyncio.sleep(0, "done"), "working", print) == "done"
    with pytest.raises(OSError, match="the disk is full"):
        await told_while(fail(), "working", print)


async def test_who_no_longer_waits_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(told_while(work(), "working", print))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()

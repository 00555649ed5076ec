"""What Temporal and the run are told while an activity is under way, and that telling is never in the way."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.heartbeats import (
    Heartbeats,
    ReportSchedule,
    RunReports,
    earlier_heartbeat,
    send_heartbeat,
)
from durable_responses.activities.messages import PREVIEW_CHARACTERS, CreatePhase, HeartbeatDetails, ProgressReport
from tests.support.attempts import Attempt, Reports


async def within(attempt: Attempt, work: Callable[[], Awaitable[None]]) -> None:
    """Do this as an activity."""
    await attempt.run(work)


# --- heartbeats --------------------------------------------------------------------------------------------------


async def told(attempt: Attempt, heartbeats: int) -> None:
    async with asyncio.timeout(5):
        while len(attempt.told) < heartbeats:
            await asyncio.sleep(0.005)


async def test_a_pulse_heartbeats_regularly() -> None:
    attempt = Attempt()

    async def work() -> None:
        async with Heartbeats(every=0.05):
            await told(attempt, 4)

    began = time.time()
    await within(attempt, work)
    times = [began, *(at for at, _ in attempt.told)]
    assert all(0.045 <= later - earlier < 1 for earlier, later in pairwise(times))


async def test_what_is_over_soon_does_not_heartbeat() -> None:
    """Each heartbeat is a call to Temporal."""
    attempt = Attempt()

    async def work() -> None:
        async with Heartbeats(every=0.05):
            pass

    await within(attempt, work)
    assert attempt.told == []


async def test_a_pulse_tells_how_far_things_are_by_now() -> None:
    attempt = Attempt()
    state = HeartbeatDetails(phase=CreatePhase.POSTING)

    async def work() -> None:
        nonlocal state
        async with Heartbeats(lambda: state, every=60) as heartbeats:
            heartbeats.heartbeat()
            state = HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1")
            heartbeats.heartbeat()

    await within(attempt, work)
    assert [heartbeat.phase for heartbeat in attempt.heartbeats] == [CreatePhase.POSTING, CreatePhase.CREATED]


async def test_a_pulse_ends_with_its_activity_also_when_that_fails() -> None:
    attempt = Attempt()
    before = asyncio.all_tasks()

    async def work() -> None:
        async with Heartbeats(every=0.01):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await within(attempt, work)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(("seconds", "heartbeats"), [(60, 0), (0, 1), (-1, 1)])
async def test_a_heartbeat_that_says_what_the_result_says_is_left_out(seconds: float, heartbeats: int) -> None:
    attempt = Attempt()

    async def work() -> None:
        async with Heartbeats(every=60) as pulse:
            pulse.heartbeat_soon(seconds)

    await within(attempt, work)
    assert len(attempt.told) == heartbeats


async def test_a_heartbeat_that_was_to_come_soon_comes_while_the_result_is_awaited() -> None:
    attempt = Attempt()

    async def work() -> None:
        async with Heartbeats(every=60) as pulse:
            pulse.heartbeat_soon(0.01)
            await told(attempt, 1)

    await within(attempt, work)
    assert len(attempt.told) == 1


async def test_a_heartbeat_that_was_to_come_soon_is_sent_when_the_activity_fails() -> None:
    """Else the next attempt would not know of the response."""
    attempt = Attempt()
    known = HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1")

    async def work() -> None:
        async with Heartbeats(lambda: known, every=60) as pulse:
            pulse.heartbeat_soon(60)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await within(attempt, work)
    assert attempt.heartbeats == [known]


async def test_a_heartbeat_without_news_has_no_details() -> None:
    """The details of an earlier heartbeat stay as they are on the server's side of a retry."""
    attempt = Attempt()

    async def work() -> None:
        send_heartbeat(None)

    await within(attempt, work)
    assert [heartbeat for _, heartbeat in attempt.told] == [None]


async def test_a_heartbeat_carries_the_end_of_a_long_text() -> None:
    """Details that are too large fail the activity."""
    attempt = Attempt()
    text = "".join(f"{number} " for number in range(3000))

    async def work() -> None:
        send_heartbeat(HeartbeatDetails(response_id="resp_1", preview=text))

    await within(attempt, work)
    assert attempt.heartbeats[0].preview == text[-PREVIEW_CHARACTERS:]


async def test_the_last_heartbeat_of_an_earlier_attempt_is_remembered() -> None:
    """A20."""
    heartbeat = HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1", preview="so far")
    found: list[HeartbeatDetails | None] = []

    async def work() -> None:
        found.append(earlier_heartbeat())

    await within(Attempt(2, earlier=heartbeat), work)
    await within(Attempt(2), work)
    assert found == [heartbeat, None]


# --- reports to the run ------------------------------------------------------------------------------------------


def report(text: str) -> ProgressReport:
    return ProgressReport(response_id="resp_1", response_status="in_progress", preview=text)


async def reporting(reports: Reports, work: Callable[[RunReports], Awaitable[None]]) -> None:
    """Do this as an activity, with reports that are sent from 5 s after the start on."""

    async def activity() -> None:
        await work(RunReports(started_at=0))

    await within(Attempt(reports=reports), activity)


async def test_a_report_waits_for_its_time(reports: Reports) -> None:
    async def work(sending: RunReports) -> None:
        sending.tell(report("a"), now=4.9)
        sending.tell(report("b"), now=5)
        await sending.finish()

    await reporting(reports, work)
    assert [told.preview for told in reports.told] == ["b"]


async def test_a_growing_text_is_reported_again_and_again(reports: Reports) -> None:
    """The same object every time, as an activity has it."""
    growing = report("")

    async def work(sending: RunReports) -> None:
        for second in range(60):
            growing.preview = "x" * second
            sending.tell(growing, now=second)
            await sending.finish()

    await reporting(reports, work)
    lengths = [len(told.preview or "") for told in reports.told]
    assert lengths[:3] == [5, 7, 9]
    assert len(lengths) > 8


async def test_reports_are_sent_one_at_a_time(reports: Reports) -> None:
    """What comes while one is on its way is left out; the activity goes on meanwhile."""
    reports.arriving.clear()

    async def work(sending: RunReports) -> None:
        for text in "abc":
            sending.tell_at_once(report(text))
            await asyncio.sleep(0)
        reports.arriving.set()
        await sending.finish()

    await reporting(reports, work)
    assert [told.preview for told in reports.told] == ["a"]


async def test_a_report_arrives_before_the_activity_ends(reports: Reports) -> None:
    """Else it would come after the response's end, which it knows nothing of."""
    reports.arriving.clear()

    async def work(sending: RunReports) -> None:
        sending.tell_at_once(report("a"))
        finishing = asyncio.create_task(sending.finish())
        done, _ = await asyncio.wait((finishing,), timeout=0.02)
        assert not done
        reports.arriving.set()
        await finishing

    await reporting(reports, work)


@pytest.mark.parametrize(
    ("status", "warnings"), [(RPCStatusCode.NOT_FOUND, 0), (RPCStatusCode.UNAVAILABLE, 1)], ids=["ended", "away"]
)
async def test_a_report_that_does_not_arrive_does_not_fail_the_activity(
    reports: Reports, caplog: pytest.LogCaptureFixture, status: RPCStatusCode, warnings: int
) -> None:
    """A run that has ended meanwhile is no matter; anything else is said in the log."""
    reports.fails_with = RPCError("no", status, b"")

    async def work(sending: RunReports) -> None:
        sending.tell_at_once(report("a"))
        await sending.finish()

    with caplog.at_level(logging.WARNING, "durable_responses.activities"):
        await reporting(reports, work)
    assert len(caplog.records) == warnings


async def test_without_reports_there_is_nothing_to_wait_for() -> None:
    await RunReports(started_at=0).finish()


# --- how often: on a clock of numbers ----------------------------------------------------------------------------


def progress(preview: str | None) -> ProgressReport:
    return ProgressReport(response_id="resp_1", response_status="in_progress", preview=preview)


def test_an_hour_of_growing_text_is_told_in_tens_of_reports() -> None:
    schedule = ReportSchedule(started_at=0)
    told = [second for second in range(3600) if schedule.due(progress(f"text {second}"), second)]
    assert told[0] == 5
    assert all(later - earlier <= 61 for earlier, later in pairwise(told))
    assert 50 < len(told) < 90


def test_nothing_is_told_without_a_preview_or_when_nothing_changed() -> None:
    schedule = ReportSchedule(started_at=0)
    assert not any(schedule.due(progress(None), second) for second in range(600))
    assert schedule.due(progress("text"), 600)
    assert not any(schedule.due(progress("text"), second) for second in range(601, 1200))

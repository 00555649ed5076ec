"""Whether an attempt may be so old that it is no longer ours, by clocks that are set, stand still, or run apart."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.claims import Claim, Claims, came_first
from durable_responses.activities.messages import CreatePhase, FailureType, HeartbeatDetails
from tests.support.attempts import Attempt, Reports

T = TypeVar("T")
POSTING = HeartbeatDetails(phase=CreatePhase.POSTING)
GONE = RPCError("not found", RPCStatusCode.NOT_FOUND, b"")
SILENT = RPCError("unavailable", RPCStatusCode.UNAVAILABLE, b"")


@dataclass
class Clocks:
    """What a worker's clocks show, and the server's."""

    steady: float = 1000.0
    wall: float = 1_800_000_000.0
    server: float = 1_800_000_000.0

    def pass_by(self, seconds: float) -> None:
        """Time passes."""
        self.steady += seconds
        self.wall += seconds
        self.server += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def claims(clocks: Clocks) -> Claims:
    return Claims(lambda: clocks.steady, lambda: clocks.wall)


async def attempted(work: Callable[[], Awaitable[T]], clocks: Clocks, late: float, reports: Reports | None = None) -> T:
    """Work in an attempt with a heartbeat timeout of 5 s that comes so many seconds after its start."""
    attempt = Attempt(heartbeat_timeout=5, reports=reports)
    attempt.info = replace(attempt.info, started_time=datetime.fromtimestamp(clocks.server - late, UTC))
    return await attempt.run(work)


async def begun(claims: Claims, clocks: Clocks, *, late: float = 0.0) -> Claim:
    async def begin() -> Claim:
        return claims.begin()

    return await attempted(begin, clocks, late)


async def test_an_attempt_that_has_just_come_is_not_late(claims: Claims, clocks: Clocks) -> None:
    assert not (await begun(claims, clocks)).is_late


@pytest.mark.parametrize(("seconds", "late"), [(2, False), (3, True)])
async def test_an_attempt_is_late_after_half_its_heartbeat_timeout(
    claims: Claims, clocks: Clocks, seconds: float, late: bool
) -> None:
    claim = await begun(claims, clocks)
    clocks.pass_by(seconds)
    assert claim.is_late is late


async def test_a_task_that_lay_in_a_frozen_process_is_late_when_it_begins(claims: Claims, clocks: Clocks) -> None:
    await begun(claims, clocks)
    clocks.pass_by(28)
    assert (await begun(claims, clocks, late=27)).is_late


async def test_the_first_task_of_a_worker_may_be_late_too(claims: Claims, clocks: Clocks) -> None:
    assert (await begun(claims, clocks, late=27)).is_late


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_a_wall_clock_that_is_wrong_hides_no_late_task(claims: Claims, clocks: Clocks, skew: float) -> None:
    clocks.wall += skew
    await begun(claims, clocks)
    clocks.pass_by(28)
    assert (await begun(claims, clocks, late=27)).is_late


async def test_a_wall_clock_that_is_set_back_hides_no_late_attempt(claims: Claims, clocks: Clocks) -> None:
    claim = await begun(claims, clocks)
    clocks.pass_by(28)
    clocks.wall -= 120
    assert claim.is_late


async def test_a_virtual_machine_that_was_paused_is_late_once_its_wall_clock_is_set_right(
    claims: Claims, clocks: Clocks
) -> None:
    claim = await begun(claims, clocks)
    clocks.server += 28
    clocks.wall += 28
    assert claim.is_late


async def test_an_attempt_that_was_proven_is_not_late(claims: Claims, clocks: Clocks, reports: Reports) -> None:
    async def proven() -> Claim:
        claim = claims.begin()
        clocks.pass_by(4)
        assert claim.is_late
        await claim.prove(POSTING)
        return claim

    claim = await attempted(proven, clocks, 0, reports)
    assert not claim.is_late
    assert [heartbeat for _, heartbeat in reports.proofs] == [POSTING]


async def test_the_server_is_asked_until_it_answers(claims: Claims, clocks: Clocks, reports: Reports) -> None:
    reports.answers = [SILENT, SILENT]

    async def prove() -> None:
        await claims.begin().prove(POSTING)

    await attempted(prove, clocks, 0, reports)
    assert len(reports.proofs) == 3


async def test_an_attempt_that_is_over_says_so(claims: Claims, clocks: Clocks, reports: Reports) -> None:
    reports.answers = [SILENT, GONE]

    async def prove() -> None:
        await claims.begin().prove(POSTING)

    with pytest.raises(ApplicationError) as caught:
        await attempted(prove, clocks, 0, reports)
    assert caught.value.type == FailureType.ATTEMPT_OVER


async def test_a_server_whose_clock_is_set_back_costs_one_question(
    claims: Claims, clocks: Clocks, reports: Reports
) -> None:
    """Its answer proves that the task cannot be that old."""
    await begun(claims, clocks)
    clocks.server -= 3600

    async def prove() -> None:
        claim = claims.begin()
        assert claim.is_late
        await claim.prove(POSTING)

    await attempted(prove, clocks, 0, reports)
    assert not (await begun(claims, clocks)).is_late


# --- which attempt it is -----------------------------------------------------------------------------------------


def which(number: int, *, rescheduled: float = 0.0) -> Attempt:
    """An attempt that was scheduled so many seconds after its activity was."""
    attempt = Attempt(number)
    at = attempt.info.scheduled_time + timedelta(seconds=rescheduled)
    attempt.info = replace(attempt.info, current_attempt_scheduled_time=at)
    return attempt


@pytest.mark.parametrize(
    ("attempt", "first"),
    [
        pytest.param(lambda: which(1), True, id="first"),
        pytest.param(lambda: which(2, rescheduled=1), False, id="second"),
        pytest.param(lambda: which(1, rescheduled=1), False, id="number set back"),
    ],
)
def test_an_attempt_came_first_if_it_was_scheduled_with_its_activity(
    attempt: Callable[[], Attempt], first: bool
) -> None:
    assert attempt().run(came_first) is first

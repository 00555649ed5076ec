"""The steering messages of a run: what becomes of each, and that none is given to the model twice."""

from typing import Any

import pytest

from durable_responses.activities.messages import ProgressReport, SteerOutcome, SteerStatus
from durable_responses.workflows.contract import AgentState, Steer
from durable_responses.workflows.ledger import Ledger
from durable_responses.workflows.payloads import Unreadable
from durable_responses.workflows.steering import SteeringMessages

PENDING, ACCEPTED, FAILED = SteerStatus.PENDING, SteerStatus.ACCEPTED, SteerStatus.FAILED
NEXT_INPUT, UNKNOWN = SteerStatus.NEXT_INPUT, SteerStatus.UNKNOWN
CONNECTION = "c0ffee"


class Run:
    """A run that a message can be sent into, and how it looks from outside."""

    def __init__(self, *received: object) -> None:
        self.ledger = Ledger(state=AgentState())
        self.messages = SteeringMessages(self.ledger)
        self.turn_begins()
        for text in received:
            self.messages.receive(text)

    def turn_begins(self) -> None:
        self.ledger.progress_reported(ProgressReport(response_id="resp_1", queue="worker-1"))

    def sent(self, status: SteerStatus) -> None:
        """The next message is sent, and this is what the worker says of it."""
        steer = self.messages.next_to_send()
        assert steer is not None
        self.messages.told(SteerOutcome(id=steer.id, status=status))

    def turn_ends(self, *statuses: SteerStatus, connection: str | None = CONNECTION) -> None:
        """The turn ends, saying this of the messages in order."""
        ids = [steer.id for steer in self.shown]
        self.messages.turn_ended(
            connection, [SteerOutcome(id=i, status=s) for i, s in zip(ids, statuses, strict=False)]
        )

    @property
    def shown(self) -> list[Steer]:
        return self.ledger.state.steers

    @property
    def statuses(self) -> list[SteerStatus]:
        return [steer.status for steer in self.shown]


def test_a_message_waits_until_something_is_known_of_it() -> None:
    run = Run("Be brief.")
    assert run.shown == [Steer(id="steer-1", text="Be brief.", status=PENDING)]
    assert run.messages.are_waiting


def test_a_message_that_cannot_be_decoded_says_why() -> None:
    run = Run(Unreadable("its encoding is not json/plain"))
    reason = "It cannot be used: its encoding is not json/plain."
    assert run.shown == [Steer(id="steer-1", text="", status=FAILED, reason=reason)]
    assert not run.messages.are_waiting


def test_a_long_message_is_shown_in_part_and_sent_in_full() -> None:
    run = Run("x" * 1000)
    assert run.shown[0].text == "x" * 200
    steer = run.messages.next_to_send()
    assert steer is not None
    assert steer.text == "x" * 1000


@pytest.mark.parametrize("text", ["", None, 7, ["text"], "x" * 70_000])
def test_what_cannot_be_taken_is_shown_with_the_reason(text: Any) -> None:
    run = Run(text)
    assert run.statuses == [FAILED]
    assert run.shown[0].reason
    assert not run.messages.are_waiting


def test_texts_are_sent_in_the_order_in_which_they_came() -> None:
    run = Run("first", "second")
    run.sent(ACCEPTED)
    steer = run.messages.next_to_send()
    assert steer is not None
    assert (steer.id, steer.text) == ("steer-2", "second")


def test_nothing_is_sent_while_no_worker_is_known_to_take_it() -> None:
    run = Run("Be brief.")
    run.ledger.turn_ended()
    assert run.messages.next_to_send() is None


@pytest.mark.parametrize("status", [ACCEPTED, FAILED, UNKNOWN])
def test_a_message_is_sent_once(status: SteerStatus) -> None:
    run = Run("Be brief.")
    run.sent(status)
    assert run.messages.next_to_send() is None


def test_what_the_provider_has_accepted_is_not_given_again() -> None:
    run = Run("Be brief.")
    run.sent(ACCEPTED)
    run.turn_ends(ACCEPTED)
    assert (run.statuses, run.messages.for_next_create()) == ([ACCEPTED], [])


@pytest.mark.parametrize("status", [ACCEPTED, UNKNOWN])
def test_what_a_turn_that_ended_says_nothing_more_of_stays_as_it_was(status: SteerStatus) -> None:
    run = Run("Be brief.")
    run.sent(status)
    run.turn_ends()
    assert (run.statuses, run.messages.for_next_create(), run.ledger.texts) == ([status], [], {})


@pytest.mark.parametrize("at_first", [ACCEPTED, FAILED, UNKNOWN])
def test_what_the_provider_hands_back_becomes_the_next_input(at_first: SteerStatus) -> None:
    """Also when it had accepted it before, or when its answer came late."""
    run = Run("Be brief.")
    run.sent(at_first)
    run.turn_ends(FAILED)
    assert run.messages.for_next_create() == ["Be brief."]
    assert run.statuses == [NEXT_INPUT]


def test_what_was_never_sent_becomes_the_next_input() -> None:
    run = Run("Be brief.")
    run.turn_ends()
    assert run.messages.for_next_create() == ["Be brief."]


def test_the_same_create_once_more_carries_the_same_messages() -> None:
    run = Run("first")
    run.messages.for_next_create()
    run.messages.receive("second")
    assert run.messages.for_next_create() == ["first", "second"]


def test_a_message_is_given_once() -> None:
    run = Run("Be brief.")
    run.messages.for_next_create()
    run.messages.given()
    assert (run.messages.for_next_create(), run.statuses) == ([], [NEXT_INPUT])


def test_what_was_given_does_not_keep_the_run_going() -> None:
    run = Run("Be brief.")
    run.messages.for_next_create()
    run.messages.given()
    assert not run.messages.are_waiting


@pytest.mark.parametrize("told", [ACCEPTED, UNKNOWN])
def test_what_was_sent_into_a_turn_that_was_lost_is_unknown_and_never_given_again(told: SteerStatus) -> None:
    run = Run("Be brief.")
    run.sent(told)
    run.messages.turn_lost()
    assert (run.statuses, run.messages.for_next_create()) == ([UNKNOWN], [])


@pytest.mark.parametrize("status", [PENDING, FAILED])
def test_what_is_still_here_when_a_turn_is_lost_becomes_the_next_input(status: SteerStatus) -> None:
    run = Run("Be brief.")
    if status is FAILED:
        run.sent(FAILED)
    run.messages.turn_lost()
    assert run.messages.for_next_create() == ["Be brief."]


# --- kept at the provider until calls are answered ---------------------------------------------------------------


def kept() -> Run:
    """A run whose text the provider keeps until the calls of the response are answered."""
    run = Run("Be brief.")
    run.sent(ACCEPTED)
    run.turn_ends(PENDING)
    run.turn_begins()
    return run


def test_a_kept_message_is_neither_sent_nor_given_again() -> None:
    run = kept()
    assert (run.statuses, run.messages.next_to_send(), run.messages.for_next_create()) == ([PENDING], None, [])
    assert not run.messages.are_waiting


def test_a_kept_message_goes_with_the_next_turn_over_the_same_connection() -> None:
    run = kept()
    run.turn_ends()
    assert run.statuses == [ACCEPTED]


@pytest.mark.parametrize("connection", ["another", None])
def test_what_became_of_a_kept_message_is_unknown_after_a_turn_over_another_connection(connection: str | None) -> None:
    run = kept()
    run.turn_ends(connection=connection)
    assert run.statuses == [UNKNOWN]


def test_what_became_of_a_kept_message_is_unknown_when_the_next_turn_is_lost() -> None:
    run = kept()
    run.messages.turn_lost()
    assert run.statuses == [UNKNOWN]


def test_two_turns_over_http_are_not_one_connection() -> None:
    run = Run("Be brief.")
    run.sent(ACCEPTED)
    run.turn_ends(PENDING, connection=None)
    run.turn_ends(connection=None)
    assert run.statuses == [UNKNOWN]


# --- the end, and a new history ----------------------------------------------------------------------------------


def test_what_still_waits_at_the_end_of_the_run_has_failed() -> None:
    run = Run("first", "second")
    run.sent(ACCEPTED)
    run.messages.run_ended()
    assert not run.ledger.texts
    assert run.statuses == [ACCEPTED, FAILED]


def test_texts_are_carried_into_a_new_history() -> None:
    run = Run("Be brief.")
    carried = SteeringMessages(Ledger.model_validate(run.ledger.model_dump(mode="json")))
    carried.receive("And polite.")
    assert carried.for_next_create() == ["Be brief.", "And polite."]


def test_the_newest_hundred_are_shown() -> None:
    run = Run()
    for number in range(120):
        run.messages.receive(f"{number}")
        run.messages.for_next_create()
        run.messages.given()
    assert [steer.text for steer in run.shown] == [str(number) for number in range(20, 120)]

"""Scripts laid out in time: items, usage and events, by arithmetic."""

import json

import pytest

from durable_responses.emulator.model.script import (
    Citation,
    CustomToolCallStep,
    Ending,
    FunctionCallStep,
    ItemStep,
    Refuse,
    Script,
    Step,
    Text,
    WebSearchStep,
    within,
)
from durable_responses.emulator.model.timeline import Timeline
from durable_responses.responses_api.models import FunctionCall, Message, ResponseStatus

FOREVER = float("inf")
ALL_STEPS: list[Step] = [
    Text(text="I look it up.", citations=[Citation(url="https://example.com", title="Example", quote="look")]),
    Refuse(),
    FunctionCallStep(name="f", arguments={"n": 1}),
    CustomToolCallStep(name="sh", input="ls"),
    WebSearchStep(query="apples"),
    ItemStep(item={"type": "hologram"}),
]


def laid_out(script: Script, *, reasons: bool = False, summary: bool = False, background: bool = True) -> Timeline:
    return Timeline(script, "0" * 48, background=background, reasons=reasons, shows_summary=summary)


def kinds(timeline: Timeline) -> list[str]:
    return [moment.type.removeprefix("response.") for moment in timeline.moments]


def test_events_are_in_order_of_time() -> None:
    script = Script(queue=1, think=2, write=3, summary=["One.", "Two."], output=ALL_STEPS)
    times = [moment.at for moment in laid_out(script, reasons=True, summary=True).moments]
    assert times == sorted(times)


def test_the_same_key_gives_the_same_events() -> None:
    script = Script(think=1, output=ALL_STEPS)
    assert laid_out(script).moments == laid_out(script).moments


def test_ids_are_unique() -> None:
    ids = [item.id for item in laid_out(Script(output=ALL_STEPS), reasons=True).output(FOREVER)]
    assert len(set(ids)) == len(ALL_STEPS) + 1


def test_a_background_response_is_announced_as_queued() -> None:
    assert kinds(laid_out(Script()))[:3] == ["created", "queued", "in_progress"]


def test_a_foreground_response_is_never_queued() -> None:
    assert kinds(laid_out(Script(), background=False)) == ["created", "in_progress"]


def test_a_response_that_is_stuck_says_no_more_than_that_it_is_queued() -> None:
    assert kinds(laid_out(Script(queue=None, output=ALL_STEPS))) == ["created", "queued"]


def test_a_text_is_announced_written_and_done() -> None:
    assert kinds(laid_out(Script(output=[Text(text="Two words")])))[3:] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]


def test_a_summary_is_shown_only_when_asked_for() -> None:
    script = Script(think=1, summary=["Because."])
    assert "reasoning_summary_text.done" in kinds(laid_out(script, reasons=True, summary=True))
    assert "reasoning_summary_text.done" not in kinds(laid_out(script, reasons=True))


def test_a_long_text_comes_in_a_bounded_number_of_deltas() -> None:
    deltas = [kind for kind in kinds(laid_out(Script(output=[Text(text="word " * 10_000)]))) if kind.endswith("delta")]
    assert 100 <= len(deltas) <= 201


def test_a_citation_points_at_its_quote() -> None:
    [message] = laid_out(Script(output=ALL_STEPS[:1])).output(FOREVER)
    assert isinstance(message, Message)
    part = message.model_dump()["content"][0]
    note = part["annotations"][0]
    assert part["text"][note["start_index"] : note["end_index"]] == "look"


def test_arguments_as_text_are_sent_as_they_stand() -> None:
    [call] = laid_out(Script(output=[FunctionCallStep(name="f", arguments="{not json")])).output(FOREVER)
    assert isinstance(call, FunctionCall)
    assert call.arguments == "{not json"


def test_arguments_as_an_object_are_sent_as_json() -> None:
    [call] = laid_out(Script(output=ALL_STEPS[2:3])).output(FOREVER)
    assert isinstance(call, FunctionCall)
    assert json.loads(call.arguments) == {"n": 1}


def test_half_way_through_half_the_text_is_there() -> None:
    [message] = laid_out(Script(think=2, write=4, output=[Text(text="0123456789")])).output(4.0)
    assert isinstance(message, Message)
    assert (message.text, message.status) == ("01234", "incomplete")


def test_before_the_first_word_there_is_nothing() -> None:
    assert laid_out(Script(think=2, output=[Text(text="Hi.")])).output(1.0) == []


def test_thoughts_are_paid_for_as_they_are_thought() -> None:
    timeline = laid_out(Script(queue=1, think=10, reasoning_tokens=100))
    assert [timeline.reasoning_tokens(at) for at in (0.5, 6.0, 11.0, FOREVER)] == [0, 50, 100, 100]


def test_the_last_message_of_an_incomplete_response_is_incomplete() -> None:
    script = Script(
        output=[Text(text="Half")], ending=Ending(status=ResponseStatus.INCOMPLETE, reason="content_filter")
    )
    [message] = laid_out(script).output(FOREVER)
    assert message.status == "incomplete"


# --- max_output_tokens -------------------------------------------------------------------------------------------


def test_a_script_that_fits_is_not_cut() -> None:
    script = Script(output=[Text(text="x" * 400)])
    assert within(script, 100) == script


def test_a_text_is_cut_where_the_tokens_end() -> None:
    cut = within(Script(output=[Text(text="x" * 400)]), 40)
    assert cut.output == [Text(text="x" * 160)]
    assert (cut.ending.status, cut.ending.reason) == ("incomplete", "max_output_tokens")


def test_thoughts_count() -> None:
    cut = within(Script(reasoning_tokens=90, output=[Text(text="x" * 400)]), 100)
    assert cut.output == [Text(text="x" * 40)]


def test_thoughts_may_use_up_all_tokens() -> None:
    cut = within(Script(reasoning_tokens=500, output=[Text(text="Never said.")]), 100)
    assert (cut.output, cut.thought_tokens) == ([], 100)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_scaled_script_costs_the_same(factor: float) -> None:
    script = Script(queue=1, think=2, write=3, output=[Text(text="Hi.")])
    scaled = script.scaled(factor)
    assert (scaled.queue, scaled.think, scaled.write) == (factor, 2 * factor, 3 * factor)
    assert scaled.thought_tokens == script.thought_tokens

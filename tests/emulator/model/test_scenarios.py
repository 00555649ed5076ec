"""Which script answers a request, and which of its responses comes next."""

import pytest

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.emulator.objects.api_errors import ApiError
from tests.support.conversations import book, called, conversation, said

CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
ANSWER = {"type": "function_call_output", "call_id": "call_1", "output": "ok"}
TWO = Scenario(
    name="two", responses=[Script(output=[FunctionCallStep(name="f")]), Script(think=1.0, output=[Text(text="Done.")])]
)


def test_metadata_names_the_scenario() -> None:
    assert said(book().respond(conversation("Echo me.", metadata={"scenario": "echo"}))) == "Echo me."


def test_a_model_name_names_the_scenario() -> None:
    assert said(book().respond(conversation("Echo me.", model="scenario:echo"))) == "Echo me."


def test_metadata_goes_before_the_model_name() -> None:
    asked = conversation("Echo me.", model="scenario:refusal", metadata={"scenario": "echo"})
    assert said(book().respond(asked)) == "Echo me."


def test_parameters_follow_the_name() -> None:
    script = book().respond(conversation(model="scenario:think?seconds=2.5&tokens=70"))
    assert (script.think, script.thought_tokens) == (2.5, 70)


def test_an_unknown_scenario_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ApiError, match=r"There is no scenario 'ehco'\. There are: agent, .*echo"):
        book().respond(conversation(model="scenario:ehco"))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("second=1", r"Scenario 'think' has no parameter 'second'\. There are: .*\. Did you mean 'seconds'\?"),
        ("seconds=soon", "Scenario 'think', parameter 'seconds': must be a number, not 'soon'"),
        ("tokens=1.5", "Scenario 'think', parameter 'tokens': must be a whole number, not '1.5'"),
        ("seconds=-1", "Scenario 'think', parameter 'seconds': .*greater than"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(query: str, said: str) -> None:
    with pytest.raises(ApiError, match=said):
        book().respond(conversation(model=f"scenario:think?{query}"))


def test_a_registered_scenario_hides_the_built_in_one() -> None:
    scenarios = book()
    scenarios.register(Scenario(name="echo", responses=[Script(output=[Text(text="Mine.")])]))
    assert said(scenarios.respond(conversation(model="scenario:echo"))) == "Mine."


def test_responses_follow_one_another() -> None:
    scenarios = book()
    scenarios.register(TWO)
    assert called(scenarios.respond(conversation(model="scenario:two")))
    chained = conversation(model="scenario:two", before=[{"role": "user", "content": "x"}, CALL])
    assert said(scenarios.respond(chained)) == "Done."


def test_the_response_is_the_same_when_the_conversation_is_sent_in_full() -> None:
    scenarios = book()
    scenarios.register(TWO)
    full = conversation(model="scenario:two", input=[{"role": "user", "content": "x"}, CALL, ANSWER])
    assert said(scenarios.respond(full)) == "Done."


def test_calls_of_any_kind_are_responses_of_the_model() -> None:
    scenarios = book()
    scenarios.register(TWO)
    call = {"type": "computer_call", "call_id": "call_1"}
    answer = {"type": "computer_call_output", "call_id": "call_1"}
    assert said(scenarios.respond(conversation(model="scenario:two", before=[call], input=[answer]))) == "Done."


def test_the_last_response_repeats() -> None:
    scenarios = book()
    scenarios.register(TWO)
    said_already = {"role": "assistant", "content": "Done."}
    user = {"role": "user", "content": "More."}
    asked = conversation(model="scenario:two", input=[user, CALL, ANSWER, said_already, user, said_already, user])
    assert said(scenarios.respond(asked)) == "Done."


def test_the_time_scale_slows_a_scenario_down() -> None:
    scenarios = book()
    scenarios.register(TWO.model_copy(update={"time_scale": 3.0}))
    assert scenarios.respond(conversation(model="scenario:two", before=[CALL])).think == 3.0


def test_a_scenario_of_version_0_1_can_be_read() -> None:
    written = '{"name": "old", "turns": [{"think": 1}, {"think": 2}]}'
    assert [script.think for script in Scenario.model_validate_json(written).responses] == [1, 2]

"""Answers and streams as the API sends them: those of the emulator, computed without a server."""

import json
from typing import Any

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
)
from durable_responses.emulator.state.lifecycle import StoredResponse
from durable_responses.responses_api.models import ResponseStatus
from tests.support.conversations import request

_CITED = Text(
    text="Apples are red. Pears are green.", citations=[Citation(url="https://example.com", title="A", quote="red")]
)
_TWO_MESSAGES: list[Step] = [
    Text(text="I look it up.", phase="commentary"),
    Text(text="It is so.", phase="final_answer"),
]
_INCOMPLETE = Ending(status=ResponseStatus.INCOMPLETE, reason="max_output_tokens")
_FAILED = Ending(status=ResponseStatus.FAILED, code="server_error", message="Something broke.")

_SCRIPTS = [
    Script(output=[_CITED]),
    Script(output=_TWO_MESSAGES),
    Script(think=1, summary=["Because."], output=[WebSearchStep(query="apples"), _CITED]),
    Script(output=[Text(text="Let me add."), *([FunctionCallStep(name="add", arguments={"a": 1, "b": 2})] * 2)]),
    Script(output=[CustomToolCallStep(name="sh", input="ls"), ItemStep(item={"type": "hologram"}), Text(text="Done.")]),
    Script(output=[Refuse()]),
    Script(output=[Text(text="Half of an")], ending=_INCOMPLETE),
    Script(output=[Text(text="Then it")], ending=_FAILED),
]


def _responses() -> list[StoredResponse]:
    asked = request(metadata={"team": "a"}, reasoning={"effort": "high", "summary": "auto"})
    return [
        StoredResponse(f"resp_{number:048}", 1000.0, asked, [], script, previous=None, input_tokens=7, cached_tokens=3)
        for number, script in enumerate(_SCRIPTS)
    ]


ANSWERS: list[dict[str, Any]] = [json.loads(response.body(1e9)) for response in _responses()]
STREAMS: list[list[dict[str, Any]]] = [
    [json.loads(response.event(number, moment)) for number, moment in enumerate(response.moments())]
    for response in _responses()
]
STREAMS_WITHOUT_OUTPUT = [
    [*stream[:-1], stream[-1] | {"response": stream[-1]["response"] | {"output": []}}] for stream in STREAMS
]
"""The same streams by a gateway that does not repeat the output in the last event."""

"""Which script answers a request.

The request names it: `metadata.scenario`, else a model called `scenario:<name>`, else the default. The name of a
built-in scenario may carry parameters: `calls?iterations=3&tool=read_file`.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from durable_responses.emulator.model.conversation import Conversation
from durable_responses.emulator.model.script import Script, Scripted, Step, Text
from durable_responses.emulator.model.tool_choice import ToolChoice
from durable_responses.emulator.objects.api_errors import invalid
from durable_responses.emulator.objects.json_values import value_for
from durable_responses.emulator.objects.request_bodies import CreateBody, TextFormat
from durable_responses.nearest_name import did_you_mean

METADATA_KEY = "scenario"
MODEL_PREFIX = "scenario:"


class Scenario(Scripted):
    """One script for each response; the last one repeats. `time_scale` 2 makes everything twice as slow.

    `context_window`: the tokens that its model has room for, whatever the emulator says of models.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    time_scale: float = Field(1.0, ge=0)
    context_window: int | None = Field(None, ge=1)
    responses: list[Script] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, given: Any) -> Any:
        """Files of version 0.1 call the scripts `turns`."""
        if not isinstance(given, dict) or "turns" not in given:
            return given
        return {"responses": given["turns"], **{name: value for name, value in given.items() if name != "turns"}}

    def respond(self, conversation: Conversation) -> Script:
        """The script of the next response."""
        script = self.responses[min(conversation.rounds, len(self.responses) - 1)]
        return script.scaled(self.time_scale) if self.time_scale != 1.0 else script


class Parameters(Scripted):
    """The parameters of every built-in scenario. `context_window`: the tokens that its model has room for."""

    context_window: int | None = Field(None, ge=1)


P = TypeVar("P", bound=Parameters)


_EXPECTED = {
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
}


@dataclass(frozen=True)
class BuiltIn(Generic[P]):
    """A scenario written in Python."""

    name: str
    parameters: type[P]
    function: Callable[[Conversation, P], Script]

    def respond(self, conversation: Conversation, query: str) -> Script:
        """The script of the next response. Raises: ApiError 400 for a parameter that does not fit."""
        return _formatted(self.function(conversation, self.given(query)), conversation.request)

    def given(self, query: str) -> P:
        """The parameters in a query. Raises: ApiError 400 for one that does not fit."""
        try:
            return self.parameters.model_validate(dict(parse_qsl(query, keep_blank_values=True)))
        except ValidationError as error:
            raise invalid(self._why_unusable(error.errors(include_url=False)[0]), "metadata.scenario") from error

    def _why_unusable(self, problem: ErrorDetails) -> str:
        field = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            near = did_you_mean(field, self._names)
            return f"Scenario '{self.name}' has no parameter '{field}'. There are: {', '.join(self._names)}.{near}"
        expected = _EXPECTED.get(problem["type"], problem["msg"])
        return f"Scenario '{self.name}', parameter '{field}': {expected}, not '{problem['input']}'."

    @property
    def _names(self) -> list[str]:
        return sorted(self.parameters.model_fields)


class ScenarioBook:
    """All scenarios by name. A registered one hides the built-in one of that name."""

    def __init__(self, built_in: Iterable[BuiltIn[Any]], default: str) -> None:
        self._built_in = {scenario.name: scenario for scenario in built_in}
        self.default = default
        self.registered: dict[str, Scenario] = {}

    def register(self, scenario: Scenario) -> None:
        """Add a scenario, or replace the one of that name."""
        self.registered[scenario.name] = scenario

    def name_for(self, request: CreateBody) -> str:
        """The scenario, with its parameters, that a request asks for."""
        if request.metadata and METADATA_KEY in request.metadata:
            return request.metadata[METADATA_KEY]
        if request.model.startswith(MODEL_PREFIX):
            return request.model.removeprefix(MODEL_PREFIX)
        return self.default

    def respond(self, conversation: Conversation) -> Script:
        """The script of the next response. Raises: ApiError 400 for an unknown scenario or parameter."""
        request = conversation.request
        return ToolChoice.of(request).applied(self._scripted(conversation), request, conversation.task)

    def context_window(self, request: CreateBody) -> int | None:
        """The window that the scenario of a request names. Raises: ApiError 400 for an unknown parameter."""
        name, _, query = self.name_for(request).partition("?")
        if name in self.registered:
            return self.registered[name].context_window
        return self._built_in[name].given(query).context_window if name in self._built_in else None

    def check(self) -> None:
        """Whether the default scenario can be used. Raises: ApiError 400 for an unknown scenario or parameter."""
        request = CreateBody(model="default", input="")
        self._scripted(Conversation(request, [], []))

    def names(self) -> list[str]:
        """The scenarios that there are."""
        return sorted({*self.registered, *self._built_in})

    def _scripted(self, conversation: Conversation) -> Script:
        name, _, query = self.name_for(conversation.request).partition("?")
        if name in self.registered:
            return self.registered[name].respond(conversation)
        if name not in self._built_in:
            near = did_you_mean(name, self.names())
            there_are = f"There are: {', '.join(self.names())}."
            raise invalid(f"There is no scenario '{name}'. {there_are}{near}", "metadata.scenario")
        return self._built_in[name].respond(conversation, query)


def _formatted(script: Script, request: CreateBody) -> Script:
    """The script with its texts as JSON, where the request asks for JSON."""
    form = request.text.format if request.text else None
    if form is None or form.type == "text":
        return script
    output: list[Step] = [_as_json(step, form) if isinstance(step, Text) else step for step in script.output]
    return script.model_copy(update={"output": output})


def _as_json(step: Text, form: TextFormat) -> Text:
    hints = dict.fromkeys(("answer", "text", "summary", "result", "report", "output"), step.text)
    value = {"answer": step.text} if form.json_schema is None else value_for(form.json_schema, hints)
    return step.model_copy(update={"text": json.dumps(value, ensure_ascii=False), "citations": []})

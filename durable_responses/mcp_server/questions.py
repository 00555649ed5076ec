"""What a run asks its owner, as forms that MCP clients show, and what their answers say. Pure.

The form is that of `elicitation/create`, flat, for tasks, classic clients and calls that are repeated alike. Clients
take each key of a task once (ext-tasks fails the call where a form changes under its key, Claude Code ignores the
seventeenth key): so a form is made of what never changes of a request, and what is asked again has a new key.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
from pydantic import BaseModel, Field

from durable_responses.jobs.job_view import JobView
from durable_responses.mcp_server import next_steps
from durable_responses.shown_text import shown
from durable_responses.workflows.answers import DENY, STOP
from durable_responses.workflows.contract import InputRequest, InputRequestKind, Limit

ANSWER, WORDS, OTHER = "answer", "words", "other"
MOST_KEYS = 15
"""Keys of one task. The last of them says where further questions are answered."""

_SURELY_SHOWN = 100  # characters
_MAY_BE_CUT = "This may be cut: gpt5_agent_poll shows the whole call."
_MOST_TIMES = 9  # the SDK's client gives up after ten
_TITLES = {
    Limit.MAX_ITERATIONS: f"New total of iterations, or {STOP}",
    Limit.DEADLINE: f"More seconds, or {STOP}",
    Limit.USD: f"New total in USD, or {STOP}",
    Limit.TOKENS: f"New total of tokens, or {STOP}",
    Limit.WORKING_SECONDS: f"New total of seconds, or {STOP}",
}
_DENIALS: Mapping[InputRequestKind | None, Any] = {
    InputRequestKind.REFUSAL: STOP,
    InputRequestKind.LIMIT: STOP,
    InputRequestKind.BUDGET: STOP,
    InputRequestKind.APPROVAL: {"decision": DENY},
    InputRequestKind.QUESTION: "The owner declines to answer.",
}


class Key(NamedTuple):
    """The name of a question: the request, and the how manieth question of the run it is."""

    request_id: str
    asked_as: int

    def __str__(self) -> str:
        return f"{self.request_id}.{self.asked_as}"

    @classmethod
    def read(cls, text: str) -> "Key | None":
        """The key of that name; None for a name that is not one of ours."""
        request_id, _, asked_as = text.rpartition(".")
        if not request_id or not (asked_as.isascii() and asked_as.isdigit()) or len(asked_as) > 9:
            return None
        return cls(request_id, int(asked_as))


def key_of(request: InputRequest) -> Key:
    """The key under which a request is asked at the moment."""
    return Key(request.id, request.asked_as)


def forms_of(view: JobView) -> dict[str, ElicitRequest]:
    """The forms of what the job asks at the moment, by their keys."""
    return {str(key_of(request)): form_of(request, view.job_id) for request in view.open_requests}


def forms_of_task(view: JobView) -> dict[str, ElicitRequest]:
    """The same, without those for which a task has no keys left."""
    asked = [request for request in view.open_requests if request.asked_as <= MOST_KEYS]
    return {
        str(key_of(request)): form_of(request, view.job_id, is_last=request.asked_as == MOST_KEYS) for request in asked
    }


def form_of(request: InputRequest, job_id: str, *, is_last: bool = False) -> ElicitRequest:
    """The form of a request."""
    parts = [request.not_taken, request.message, f"({request.id} of job {job_id})"]
    if request.call is not None and len(request.message) > _SURELY_SHOWN:
        parts.insert(0, _MAY_BE_CUT)
    if is_last:
        parts.append(next_steps.no_more_keys(job_id))
    # One line each: Claude Code shows three, each cut at the width of the terminal.
    message = shown("\n".join(filter(None, parts)))
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=_schema_of(request)))


def _schema_of(request: InputRequest) -> dict[str, Any]:
    answer: dict[str, Any] = {"type": "string", "title": "Answer"}
    fields, required = {ANSWER: answer}, [ANSWER]
    if request.limit is not None:
        answer |= {"title": _TITLES[request.limit], "minLength": 1}
    elif request.choices:
        answer["enum"] = request.choices
    else:
        answer["minLength"] = 1
    if request.kind is InputRequestKind.APPROVAL:
        fields[WORDS] = {"type": "string", "title": "Words to the model"}
    elif request.kind is InputRequestKind.QUESTION and request.choices:
        fields[OTHER] = {"type": "string", "title": "Or another answer"}
        required = []
    return {"type": "object", "properties": fields, "required": required}


# --- calls that are repeated -------------------------------------------------------------------------------------


class RepeatedCall(BaseModel):
    """A call that was answered with forms, and is made again with what they say: what it carries from time to time.

    `put_away`: the keys of forms that were put away without an answer. `times`: how often it was answered with forms.
    """

    job_id: str
    times: int = Field(ge=0)
    put_away: list[str] = []
    responses: dict[str, Any] = Field({}, exclude=True)

    @classmethod
    def of(cls, state: str, responses: Mapping[str, Any]) -> "RepeatedCall":
        """The call that carries this state. Raises `ValueError` for a state that is not one of ours."""
        call = cls.model_validate_json(state)
        dismissed = [text for text, response in responses.items() if response.get("action") == Action.CANCEL]
        return call.model_copy(update={"responses": responses, "put_away": [*call.put_away, *dismissed]})


def asks_again(view: JobView, call: RepeatedCall | None) -> InputRequiredResult | None:
    """What answers a call with forms; None if nothing is asked that the client's user has not put away."""
    before = call or RepeatedCall(job_id=view.job_id, times=0)
    forms = {key: form for key, form in forms_of(view).items() if key not in before.put_away}
    if not forms or before.times >= _MOST_TIMES:
        return None
    state = before.model_copy(update={"times": before.times + 1})
    return InputRequiredResult(input_requests=dict(forms), request_state=state.model_dump_json())


# --- answers -----------------------------------------------------------------------------------------------------


class Action(StrEnum):
    """What somebody did with a form."""

    ACCEPT = "accept"
    DECLINE = "decline"
    CANCEL = "cancel"


def answer_in(response: object, request_id: str) -> object:
    """The answer that a client's response to a form gives; None if the form was only put away.

    What is not a response at all reads as an answer that no request takes: the form was shown, and is asked again.
    """
    if not isinstance(response, Mapping):
        return ""
    match response.get("action"):
        case Action.CANCEL:
            return None
        case Action.DECLINE:
            return _DENIALS.get(kind_of(request_id), "")
        case Action.ACCEPT:
            content = response.get("content")
            return _answer_of(content, kind_of(request_id)) if isinstance(content, Mapping) else ""
        case _:
            return ""


def _answer_of(content: Mapping[str, object], kind: InputRequestKind | None) -> object:
    answer, other, words = content.get(ANSWER), content.get(OTHER), content.get(WORDS)
    if kind is InputRequestKind.APPROVAL:
        # As an object: of a text alone all that is not `allow` would deny, a slip of a client too.
        return {"decision": answer, "words": words if isinstance(words, str) and words.strip() else None}
    if kind is InputRequestKind.QUESTION and isinstance(other, str) and other.strip():
        return other
    return "" if answer is None else answer


def kind_of(request_id: str) -> InputRequestKind | None:
    """The kind of a request, which its id begins with."""
    kind = request_id.rpartition("-")[0]
    return InputRequestKind(kind) if kind in set(InputRequestKind) else None

"""The answers to input requests, as plain Python: what an answer is, which request it is for, whether that takes it.

An update's validator asks before anything is written to history, its handler obeys. All is total over what anybody may
send; every refusal is one sentence that says what to send instead.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import isfinite

from pydantic import ValidationError

from durable_responses.json_text import cut, text_bytes, well_formed
from durable_responses.workflows import rules
from durable_responses.workflows.contract import (
    AgentState,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
    Limit,
    Respond,
)
from durable_responses.workflows.payloads import Unreadable

RETRY, STOP = "retry", "stop"
ALLOW, DENY = "allow", "deny"
MOST_ITERATIONS = 1000
LONGEST_EXTENSION = timedelta(days=30)

_LONGEST_BY = 200  # bytes
_LONGEST_SHOWN = 200  # characters of an answer that is refused
_LONGEST_WORDS = 32 * 1024  # bytes of what the model is told
_MEANT_FOR_THE_LAST = timedelta(minutes=1)
_FORM = 'Send one JSON object such as {"id": "refusal-1", "answer": "retry", "by": "Ada"}.'


def respond_of(arguments: Sequence[object]) -> Respond:
    """What the arguments of `respond` say: one object, an answer alone, or id and answer. Raises `ValueError`."""
    unreadable = next((argument for argument in arguments if isinstance(argument, Unreadable)), None)
    if unreadable is not None:
        raise ValueError(f"The answer cannot be used: {unreadable.why}. {_FORM}")
    match list(arguments):
        case [dict() as given] | [dict() as given, None]:
            return _parsed(given)
        case [str() | bool() | int() | float() as answer] | [str() | bool() | int() | float() as answer, None]:
            return Respond(answer=answer)
        case [str() as id_, answer]:
            return _parsed({"id": id_, "answer": answer})
        case _:
            raise ValueError(f"The answer cannot be used. {_FORM}")


def _parsed(given: dict[object, object]) -> Respond:
    unknown = sorted(str(name) for name in given if name not in Respond.model_fields)
    if unknown:
        raise ValueError(f"{unknown[0][:_LONGEST_SHOWN]} is not a field of an answer. {_FORM}")
    try:
        respond = Respond.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{rules.place_of(first)}: {rules.what_is_expected(first)}. {_FORM}") from None
    if respond.answer is None:
        raise ValueError(f"answer: is required. {_FORM}")
    return respond


def request_for(respond: Respond, requests: Sequence[InputRequest], now: datetime) -> InputRequest:
    """The input request that an answer is for. Raises `ValueError`.

    One without an id, sent twice, must not answer the question after the one that it was meant for: so it has to name
    the id within a minute of another answer.
    """
    still_open = [request for request in requests if request.is_open]
    names = ", ".join(request.id for request in still_open) or "none"
    if respond.id is not None:
        found = next((request for request in requests if request.id == respond.id), None)
        if found is None:
            shown = well_formed(respond.id[:_LONGEST_SHOWN])
            raise ValueError(f"This run has no input request {shown}; open at the moment: {names}.")
        return found
    if not still_open:
        raise ValueError("Nothing is asked at the moment.")
    if len(still_open) > 1:
        raise ValueError(f"Several input requests are open: name the id of one ({names}).")
    answered = [request.closed_at for request in requests if request.answer is not None and request.closed_at]
    if answered and now - max(answered) < _MEANT_FOR_THE_LAST:
        raise ValueError(
            f"Another answer came less than a minute ago, and this one may be meant for the same question: name the "
            f"id ({names})."
        )
    return still_open[0]


def accepted(answer: object, request: InputRequest, state: AgentState) -> str:
    """An answer as it is kept, if the request takes it. Raises `ValueError`."""
    if request.kind is InputRequestKind.APPROVAL:
        return _decision(answer)[0]
    text = _text_of(answer)
    chosen = next((choice for choice in request.choices if choice.casefold() == text.strip().casefold()), None)
    if chosen is not None:
        return chosen
    if request.kind is InputRequestKind.QUESTION:
        return _words(text)
    match request.limit:
        case Limit.MAX_ITERATIONS:
            return _iterations(text, state)
        case Limit.DEADLINE:
            return _seconds(text)
        case Limit.USD | Limit.TOKENS | Limit.WORKING_SECONDS:
            return _budget(text, request.limit, state)
        case None:
            raise ValueError(f"{_shown(text)} does not answer {request.id}: send {_either(request.choices)}.")


def words_of(answer: object, request: InputRequest) -> str | None:
    """What the owner said with an answer that `accepted` takes."""
    return _decision(answer)[1] if request.kind is InputRequestKind.APPROVAL else None


def _decision(answer: object) -> tuple[str, str | None]:
    """Whether a call is allowed, and the owner's words. Only what allows it without any doubt does."""
    said: object = answer
    words: object = None
    if isinstance(answer, dict):
        if unknown := sorted(str(name) for name in answer if name not in ("decision", "words")):
            raise ValueError(f"{well_formed(unknown[0][:_LONGEST_SHOWN])} is not a part of the answer. {_DECISION}")
        said, words = answer.get("decision"), answer.get("words")
        if not isinstance(said, str) or said.strip().casefold() not in (_ALLOWS | _DENIES):
            raise ValueError(f"decision: must be {ALLOW} or {DENY}. {_DECISION}")
    if not isinstance(said, str) or not (words is None or isinstance(words, str)):
        raise ValueError(f"The answer cannot be used. {_DECISION}")
    word = said.strip().casefold()
    kept = _words(words) if isinstance(words, str) and words.strip() else None
    if word in _ALLOWS:
        return ALLOW, kept
    if word in _DENIES:
        return DENY, kept
    return DENY, _words(_without_denial(said))


_ALLOWS, _DENIES = frozenset({ALLOW, "yes", "y"}), frozenset({DENY, "no", "n"})
_DECISION = (
    f'Send {ALLOW}, {DENY}, text, which denies and is told to the model, or {{"decision": "{ALLOW}", "words": "…"}}.'
)


def _without_denial(text: str) -> str:
    """`deny: not today` says `not today`."""
    first, separator, rest = text.strip().partition(":")
    return rest if separator and first.strip().casefold() in _DENIES and rest.strip() else text


def _words(text: str) -> str:
    text = well_formed(text).strip()
    if not text:
        raise ValueError("The answer is empty.")
    if text_bytes(text) > _LONGEST_WORDS:
        raise ValueError(f"The answer is too long: at most {_LONGEST_WORDS} bytes.")
    return text


def check_open(request: InputRequest) -> None:
    """Raise `ValueError` for a request that is over."""
    if not request.is_open:
        raise ValueError(f"{request.id} is already over: {outcome(request)}.")


def outcome(request: InputRequest) -> str:
    """What has become of an input request, in words."""
    match request.status:
        case InputRequestStatus.OPEN:
            return "open"
        case InputRequestStatus.ANSWERED:
            said = cut(request.answer or "", _LONGEST_SHOWN)
            words = f": {cut(request.words, _LONGEST_SHOWN)}" if request.words else ""
            return f"answered {said}" + (f" by {request.by}" if request.by else "") + words
        case InputRequestStatus.EXPIRED if request.default is None:
            return "nobody answered in time"
        case InputRequestStatus.EXPIRED:
            return f"nobody answered in time, so {request.default} was taken"
        case InputRequestStatus.RESUMED:
            return "the run went on by itself when its time had come"
        case InputRequestStatus.WITHDRAWN:
            return "the run was stopped, or its time was up"


def named(by: str | None) -> str | None:
    """Who answered, on one line."""
    return cut(" ".join(by.split()), _LONGEST_BY) or None if by else None


def _iterations(text: str, state: AgentState) -> str:
    try:
        wanted = int(text)
    except ValueError:
        wanted = 0
    if not state.iteration < wanted <= MOST_ITERATIONS:
        raise ValueError(
            f"{_shown(text)} is not a new limit: send a whole number of iterations from {state.iteration + 1} to "
            f"{MOST_ITERATIONS}, or {STOP}."
        )
    return str(wanted)


def _seconds(text: str) -> str:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    longest = LONGEST_EXTENSION.total_seconds()
    if not (isfinite(seconds) and 0 < seconds <= longest):
        raise ValueError(
            f"{_shown(text)} is not a time: send the seconds that the run may go on, at most {longest:.0f}, or {STOP}."
        )
    return f"{seconds:.12g}"


def _budget(text: str, limit: Limit, state: AgentState) -> str:
    """A new total of a budget, which is more than the one before."""
    name, unit, most = _TOTALS[limit]
    before = (getattr(state.budget, name) if state.budget is not None else None) or 0
    try:
        wanted = int(text) if limit is Limit.TOKENS else float(text)
    except ValueError:
        wanted = 0.0
    if not (isfinite(wanted) and before < wanted <= most):
        raise ValueError(
            f"{_shown(text)} is not a new budget: send the total of {unit} that the run may use, more than "
            f"{before:,.10g} and at most {most:,}, or {STOP}."
        )
    return str(wanted) if limit is Limit.TOKENS else f"{wanted:.12g}"


_TOTALS = {
    Limit.USD: ("usd", "USD", 1_000_000),
    Limit.TOKENS: ("tokens", "tokens", 10**12),
    Limit.WORKING_SECONDS: ("working_seconds", "seconds", 31_536_000),
}


def _text_of(answer: object) -> str:
    if isinstance(answer, str):
        return well_formed(answer)
    if isinstance(answer, int | float) and not isinstance(answer, bool) and abs(answer) < 10**12:
        return str(int(answer) if isinstance(answer, float) and answer.is_integer() else answer)
    raise ValueError("The answer must be text or a number.")


def _shown(text: str) -> str:
    return f'"{" ".join(text[:_LONGEST_SHOWN].split())}"'


def _either(choices: Sequence[str]) -> str:
    return " or ".join(choices)

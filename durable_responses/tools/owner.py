"""The tool with which a model asks its run's owner. It is answered by the run itself, never executed by a worker."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from durable_responses.json_text import mended_json

ASK_OWNER = "ask_owner"
DESCRIPTION = (
    "Ask your owner, a person, what only they can know or decide. The answer may take hours: first do everything that "
    "does not depend on it, and ask all that you need to know at once, one call for each question."
)

_LONGEST_QUESTION = 4000  # characters
_MOST_CHOICES, _LONGEST_CHOICE = 20, 200

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_LONGEST_QUESTION)]
_Choice = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_LONGEST_CHOICE)]


def _none_is_empty(value: Any) -> Any:
    return [] if value is None else value


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class Question(BaseModel):
    """The arguments of a call of `ask_owner`."""

    model_config = ConfigDict(extra="ignore")

    question: _Text
    choices: Annotated[list[_Choice], BeforeValidator(_none_is_empty), Field(max_length=_MOST_CHOICES)] = []
    why: Annotated[_Text | None, BeforeValidator(_blank_is_none)] = None


PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "description": "One question, with all that is needed to answer it."},
        "choices": {
            "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
            "description": "Answers to choose from; the owner may answer otherwise.",
        },
        "why": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "description": "What depends on the answer.",
        },
    },
    "required": ["question", "choices", "why"],
    "additionalProperties": False,
}


_WHY = "\n\nWhy: "


def message_of(question: Question) -> str:
    """What the owner reads."""
    return f"{question.question}{_WHY}{question.why}" if question.why else question.question


def question_in(message: str) -> str:
    """The question alone, of what the owner has read."""
    return message.partition(_WHY)[0]


def read_question(arguments: str) -> Question:
    """What a call asks. Raises `ValueError`, with what the model is told."""
    try:
        given = from_json(mended_json(arguments), allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"The arguments of {ASK_OWNER} are not valid JSON ({error}). Send one JSON object.") from None
    try:
        question = Question.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        raise ValueError(f"The arguments of {ASK_OWNER} do not fit: {where}: {first['msg']}.") from None
    unique: dict[str, str] = {}
    for choice in question.choices:
        unique.setdefault(choice.casefold(), choice)
    return question.model_copy(update={"choices": list(unique.values())})

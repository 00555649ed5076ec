"""What a run is started with beside its input: its id, and what Temporal's UI shows of it from the first moment."""

import hashlib
import json
import re
import secrets
import unicodedata

from pydantic import BaseModel

from durable_responses.responses_api.redaction import masked, redact, without_secrets
from durable_responses.shown_text import is_name
from durable_responses.workflows.contract import AgentInput
from durable_responses.workflows.rules import transport_for
from durable_responses.workflows.web_ui import DETAILS_BYTES, fit, task_text

MEMO_FINGERPRINT = "arguments"
"""Key of the workflow's memo: what was asked for with an idempotency key, as a hash."""
MEMO_PROJECT = "project"
"""Key of the workflow's memo: the project that the run belongs to, where several share a server."""

_TASK_CHARACTERS = 4000
_LONGEST_JOB_ID = 1000  # Temporal's limit of ids
_SLUG_CHARACTERS = 24
_READ_CHARACTERS = 400  # of a task, for its slug
_WITHOUT_STROKES = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_NAMELESS = "agent"  # for a task without a word in Latin letters


def slug_of(task: str) -> str:
    """The first words of a task, as the beginning of an id: lower-case Latin letters and digits, with hyphens."""
    # A key in a task is to stand in no address.
    folded = redact(task[:_READ_CHARACTERS]).casefold().translate(_WITHOUT_STROKES)
    letters = unicodedata.normalize("NFKD", folded).replace("'", "").replace("’", "")
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.findall(r"[a-z0-9]+", re.sub(r"[^\x00-\x7f]+", " ", plain).lower())
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word
        if len(longer) > _SLUG_CHARACTERS:
            break
        slug = longer
    return slug or (words[0][:_SLUG_CHARACTERS] if words else _NAMELESS)


def new_job_id(task: str) -> str:
    """A new job id for people: the slug of the task and 6 characters. It may be taken."""
    return f"{slug_of(task)}-{secrets.token_hex(3)}"


def unguessable_job_id(task: str) -> str:
    """A new job id for clients that share a server: the slug of the task and 128 random bits."""
    return f"{slug_of(task)}-{secrets.token_hex(16)}"


def check_job_id(job_id: str) -> None:
    """Raise ValueError, one sentence, for an id that Temporal or a terminal cannot hold."""
    if not job_id:
        raise ValueError("The job id is empty: choose one, or leave it out.")
    if not is_name(job_id):
        raise ValueError("The job id contains line breaks, control characters or half a character: choose another id.")
    if len(job_id.encode()) > _LONGEST_JOB_ID:
        raise ValueError(f"The job id has more than {_LONGEST_JOB_ID} bytes: choose a shorter one.")


def job_id_for(idempotency_key: str) -> str:
    """The job id of an idempotency key: the same for the same key, and 128 bits like any other."""
    return f"agent-{hashlib.sha256(idempotency_key.encode(errors='surrogatepass')).hexdigest()[:32]}"


def fingerprint_of(arguments: BaseModel, *, without: str = "") -> str:
    """The same for the same arguments, whether defaults are written out or not; `without` one of them."""
    said = arguments.model_dump(mode="json", exclude_defaults=True, exclude={without})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def static_details_of(request: AgentInput) -> str:
    """Markdown for the Web UI: the task, model, effort and transport, and what was asked for besides."""
    always = {"model": request.model or "the worker's", "reasoning_effort": request.reasoning_effort}
    asked = request.model_dump(mode="json", exclude_defaults=True, exclude={"task", "context", "metadata"})
    said = without_secrets({**always, "transport": transport_for(request), **asked})
    options = "\n".join(f"- {name}: `{json.dumps(value, ensure_ascii=False)}`" for name, value in said.items())
    return fit(f"{masked(task_text(request)[:_TASK_CHARACTERS])}\n\n{options}", DETAILS_BYTES)

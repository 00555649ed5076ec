"""What a client should do next, in one sentence. Pure.

It stands in the text of an answer and in its structured content: there are clients that show a model only one of them.
"""

from collections.abc import Sequence
from urllib.parse import quote

from durable_responses.mcp_server.arguments import LONGEST_WAIT
from durable_responses.shell_words import typed

LONG_OUTPUT = 10_000
"""Bytes of an output from which on clients are known to cut it: they get the ways to the whole of it as well."""


def state_uri(job_id: str) -> str:
    """The address of a job's state, as a resource."""
    return f"job://{quote(job_id, safe='')}"


def result_uri(job_id: str) -> str:
    """The address of a job's result, as a resource."""
    return f"{state_uri(job_id)}/result"


def poll(job_id: str) -> str:
    """The call that looks at a job."""
    return f'Call gpt5_agent_poll with {{"job_id": "{job_id}"}}'


def after_start(job_id: str, *, has_ended: bool) -> str:
    """What follows on a start."""
    return f"{poll(job_id)} {'for its result' if has_ended else 'to follow it'}."


def while_open(job_id: str, next_poll_ms: int) -> str:
    """What follows while a job is open."""
    return (
        f"{poll(job_id)} in about {next_poll_ms / 1000:.0f} s, or at once with wait_seconds up to {LONGEST_WAIT}; "
        "gpt5_agent_cancel stops it. Do not start it again: it runs on its own."
    )


def respond(job_id: str, request_id: str, answers: str) -> str:
    """The call that answers an input request."""
    arguments = f'{{"job_id": "{job_id}", "request_id": "{request_id}", "answer": "…"}}'
    return f"call gpt5_agent_respond with {arguments} ({answers})"


def while_asking(job_id: str, asked: Sequence[tuple[str, str]]) -> str:
    """What follows while a job waits for its owner; `asked`: ids of input requests, and what answers each."""
    calls = "; ".join(respond(job_id, *each) for each in asked)
    return (
        "The job waits for its owner, as long as it has to. Ask your user, and do not decide for them; then "
        f"{calls}. Do not start it again. gpt5_agent_cancel stops it."
    )


def no_more_keys(job_id: str) -> str:
    """Where the further questions of a task are answered."""
    return (
        "Further questions of this job cannot be asked here: answer them with "
        f"`durable-responses respond {typed(job_id)}`, or by the tool gpt5_agent_respond."
    )


def after_cancel(job_id: str) -> str:
    """What follows on a cancel that is not confirmed yet."""
    return f"{poll(job_id)} to see it end."


def after_end(job_id: str, path: str | None, size: int, continues: str | None, *, is_kept_back: bool) -> str:
    """Where the whole of an output is, of `size` bytes, if it is not in the answer or may be cut, and how to continue.

    `continues`: the response that a next job may continue from, if there is one.
    """
    whole = _whole(job_id, path, size, is_kept_back=is_kept_back)
    return " ".join(filter(None, [whole, _further(job_id, continues)]))


def _further(job_id: str, continues: str | None) -> str:
    by_job = f'call gpt5_agent_continue with {{"job_id": "{job_id}", "task": "…"}}'
    forgotten = 'add "rebuild": true if the provider no longer has the conversation.'
    if continues is None:
        return f"To continue this job, {by_job}; {forgotten}"
    by_response = f'pass {{"previous_response_id": "{continues}"}} to gpt5_agent'
    return f"To continue from here, {by_response}, or {by_job}; {forgotten}"


def _whole(job_id: str, path: str | None, size: int, *, is_kept_back: bool) -> str | None:
    if is_kept_back:
        return f"The output ({size:,} bytes) is in {path}; it is not shown, because display_in_chat is false."
    if size < LONG_OUTPUT:
        return None
    places = [f"the file {path}"] if path else []
    places.append(f"the resource {result_uri(job_id)}")
    return f"The output has {size:,} bytes. If it is cut here, read {' or '.join(places)}."

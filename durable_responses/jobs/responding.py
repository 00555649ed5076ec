"""Answering what a run asks its owner. Every door of ours goes through here, so that each says the same answer alike.

The update comes first: its validator refuses what is not an answer. An update that nobody answered may be delivered
later all the same, and one without a worker waits in the server's memory only; so a signal follows, which is kept. That
is safe because a run takes the same answer to the same request twice, and an answer names its request.
"""

import asyncio
import hashlib
import json
import re
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.jobs.job_errors import AnswerRefused, asking_temporal
from durable_responses.jobs.job_view import JobView
from durable_responses.json_text import read_json
from durable_responses.workflows import answers
from durable_responses.workflows.contract import REFUSED_ANSWER, RESPOND, InputRequest, InputRequestKind, Respond

_UPDATE_TIMEOUT = timedelta(seconds=5)  # a worker answers in milliseconds

# What the server says when it takes no more updates of a run: ten at once, two thousand in all.
_NO_MORE_UPDATES = {RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT}


class Taken(StrEnum):
    """What has become of an answer.

    `taken`: the run has it, perhaps since an earlier time that it was given. `noted`: Temporal keeps it until a worker
    takes it, and perhaps one already has. `over`: the run has ended.
    """

    TAKEN = "taken"
    NOTED = "noted"
    OVER = "over"


class Responded(BaseModel):
    """The outcome of an answer, and one sentence that says it. `request`: as it is now, where that is known."""

    taken: Taken
    sentence: str
    request: InputRequest | None = None


def update_id_of(job_id: str, respond: Respond) -> str:
    """The id of the update that carries an answer: the same for the same answer, whoever sends it."""
    said = json.dumps([job_id, respond.id, respond.answer], sort_keys=True, default=str)
    return f"{RESPOND}-{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def request_meant(view: JobView, request_id: str | None) -> str | None:
    """The id of the request that an answer is for: the given one, or of the only one that is known to be open.

    Raises `AnswerRefused` where several are open.
    """
    if request_id is not None:
        return request_id
    still_open = [request.id for request in view.open_requests]
    if len(still_open) > 1:
        raise AnswerRefused(f"Several input requests are open: name the id of one ({', '.join(still_open)}).")
    return still_open[0] if still_open else None


_NEARLY_ALLOWED = {
    *("ok", "okay", "yep", "yeah", "yup", "ye", "sure", "true", "1", "go", "fine", "ja", "oui", "si", "sí", "да"),
    *("allowed", "approve", "approved", "accept", "accepted", "confirm", "confirmed", "proceed", "lgtm"),
    *("yes please", "yes go ahead", "go ahead", "allow it", "i allow it", "approve it", "do it", "please do", "run it"),
}


def as_meant(answer: object, request_id: str | None) -> object:
    """A decision that was typed as JSON, as in `{"decision": "deny", "words": "…"}`; any other answer as it is.

    Raises `AnswerRefused` for words that sound like leave for a call: they would deny it, as all words do that do not
    surely allow it, and nobody would have meant that.
    """
    if not (isinstance(answer, str) and (request_id or "").startswith(f"{InputRequestKind.APPROVAL}-")):
        return answer
    if re.sub(r"[\s.,!]+", " ", answer).strip().casefold() in _NEARLY_ALLOWED:
        said = " ".join(answer.split())
        raise AnswerRefused(f'"{said}" neither allows the call nor denies it: send allow, deny, or why not.')
    try:
        read = read_json(answer) if answer.lstrip().startswith("{") else None
    except ValueError:
        return answer
    return read if isinstance(read, dict) else answer


def over(view: JobView, request_id: str | None) -> Responded:
    """What an answer to a run that has ended hears. Raises `AnswerRefused` for a request that it never had."""
    assert view.result is not None
    found = next((request for request in reversed(view.input_requests) if request_id in (request.id, None)), None)
    if found is None:
        had = f"it had no input request {request_id!r}" if request_id is not None else "it had no input request"
        raise AnswerRefused(f"Job {view.job_id} has ended ({view.result.status}); {had}.")
    sentence = f"{found.id} is already over: {answers.outcome(found)}. Job {view.job_id} has ended."
    return Responded(taken=Taken.OVER, sentence=sentence, request=found)


async def by_update(client: Client, job_id: str, respond: Respond) -> Responded | None:
    """Send the answer as an update; None if nobody can say what became of it, or the run has ended.

    Raises `AnswerRefused`, `TemporalNotAnswering`, `TemporalRefused`.
    """
    handle = client.get_workflow_handle(job_id)
    try:
        async with asking_temporal(seconds=2 * _UPDATE_TIMEOUT.total_seconds()):
            return await _updated(handle.execute_update, job_id, respond)
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == REFUSED_ANSWER:
            raise AnswerRefused(cause.message) from None
        return None  # the run ended in this very moment, or its worker does not know of updates


async def _updated(execute: Any, job_id: str, respond: Respond) -> Responded | None:
    try:
        async with asyncio.timeout(_UPDATE_TIMEOUT.total_seconds()):
            request: InputRequest = await execute(
                RESPOND,
                respond,
                # Without a request's id the same words may be meant for another request.
                id=update_id_of(job_id, respond) if respond.id is not None else None,
                result_type=InputRequest,
                rpc_timeout=_UPDATE_TIMEOUT,
            )
    except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError):
        # The SDK makes this of a cancel, too.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from None
        return None
    except RPCError as error:
        if error.status in _NO_MORE_UPDATES or error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return Responded(taken=Taken.TAKEN, sentence=f"{request.id}: {answers.outcome(request)}.", request=request)


async def by_signal(client: Client, job_id: str, respond: Respond) -> bool:
    """Send the answer as a signal, which Temporal keeps. False if the run has ended meanwhile.

    Raises `TemporalNotAnswering`, `TemporalRefused`.
    """
    async with asking_temporal():
        try:
            await client.get_workflow_handle(job_id).signal(RESPOND, respond)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
    return True


def noted(job_id: str, request_id: str | None, *, perhaps_taken: bool) -> Responded:
    """What an answer hears that a worker will take later."""
    name = request_id or "the input request that is open"
    if perhaps_taken:
        how = "no worker has confirmed it in time: perhaps it is taken already"
    else:
        how = "no worker is running, or it is not responding: the run takes it as soon as there is one"
    return Responded(taken=Taken.NOTED, sentence=f"Noted for {name} of job {job_id}; {how}.")

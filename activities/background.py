"""Whether the server has background responses: not all do, and some that do not say nothing of it.

Those answer the create with the whole response, or refuse it. What they show is remembered (`capabilities`), so that
the next run, where the choice is ours, streams at once.
"""

import asyncio
import re
from collections.abc import AsyncIterator

from temporalio.exceptions import ApplicationError

from durable_responses.activities.cures import NO_REASONING, NO_STREAM
from durable_responses.activities.messages import (
    NO_BACKGROUND,
    CreateResponse,
    FailureDetail,
    FailureType,
    ResponseRecord,
)
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.responses_api.errors import GiveUp, NoSuchEndpoint, ResponsesError
from durable_responses.responses_api.events import Event, ResponseEvent
from durable_responses.responses_api.models import ANSWERED, IncompleteDetails, Response, ResponseStatus

IGNORED = "background was ignored, so an answer comes with its create, and a crash before it loses it"
_NAMED = re.compile(r"\bbackground\b", re.IGNORECASE)
_REFUSES_FIELDS = (400, 403, 404, 405, 406, 412, 422, 500, 501)


def refuse_without_background(capabilities: Capabilities, create: CreateResponse) -> None:
    """Raise `ApplicationError` where the server is known to have none, before anything is sent.

    A run that is under way goes on: its answers come with the create. So does one of an older history.
    """
    if create.transport_asked is None or capabilities.can(Capability.BACKGROUND) is not False:
        return
    if create.transport_asked and (create.iteration > 1 or create.attempt > 1):
        return
    found = capabilities.table().get(Capability.BACKGROUND)
    raise ApplicationError(
        _sentence(capabilities, found.why if found else None),
        FailureDetail(code=NO_BACKGROUND),
        type=FailureType.UNSUPPORTED_BY_PROVIDER,
        non_retryable=True,
    )


def names_background(refused: GiveUp) -> bool:
    """Whether a refusal is about `background`."""
    if refused.status not in _REFUSES_FIELDS:
        return False
    return refused.param == "background" or (not refused.param and _NAMED.search(str(refused)) is not None)


def no_background(capabilities: Capabilities, refused: GiveUp) -> NoSuchEndpoint:
    """The error for a create that was refused for its `background`, which is remembered."""
    capabilities.learned(Capability.BACKGROUND, False, str(refused))
    return NoSuchEndpoint(_sentence(capabilities, str(refused)), status=refused.status, code=NO_BACKGROUND)


def learn_of_background(capabilities: Capabilities, response: Response) -> list[str]:
    """Remember what the answer to a create shows. Returns what the run's result has to say of it."""
    if not response.is_finished:
        capabilities.learned(Capability.BACKGROUND, True)
        return []
    if response.background is True or response.status not in ANSWERED or capabilities.can(Capability.BACKGROUND):
        return []  # it failed at once, or was quick: every run would be refused for an hour because of it
    capabilities.learned(Capability.BACKGROUND, False, "it answered the create with the finished response")
    return [IGNORED]


def is_only_named(response: Response) -> bool:
    """Whether the answer to a create says nothing of the response but its id, by which it can be read."""
    says = response.model_fields_set & {"status", "usage", "error", "incomplete_details"}
    return not response.output and not any(getattr(response, name) is not None for name in says)


def learn_of_stream(capabilities: Capabilities, streamed: ResponseRecord) -> None:
    """Remember what a response that was to be streamed shows."""
    changes, usage = streamed.changes or [], streamed.usage
    streams = NO_STREAM.name not in changes
    capabilities.learned(Capability.STREAM, streams, None if streams else "it refused to stream")
    if NO_REASONING.name in changes:
        capabilities.learned(Capability.REASONING, False, f"{streamed.model or 'the model'} refused it")
    elif usage is not None and usage.output_tokens_details.reasoning_tokens:
        capabilities.learned(Capability.REASONING, True)


def unless_cut(record: ResponseRecord, most_tokens: int | None, capabilities: Capabilities) -> ResponseRecord:
    """The record of a finished response, which is incomplete where it has all the tokens that it was allowed.

    llama.cpp and others call such an answer completed. OpenAI does not, so there its word holds; and a model that has
    asked for a call has said what it wanted.
    """
    if most_tokens is None or record.usage is None or capabilities.is_openai or record.function_calls:
        return record
    if record.status == ResponseStatus.COMPLETED and record.usage.output_tokens >= most_tokens:
        record.status = ResponseStatus.INCOMPLETE
        record.incomplete_details = IncompleteDetails(reason="max_output_tokens")
    return record


async def first_stage(events: AsyncIterator[Event], *, has_background: bool) -> Response:
    """The response as soon as it may be left alone: at its first event, if it runs in the background.

    A server that ignores `background` ends a response when nobody follows it; so then it is followed to its end. A
    cancel, or a stream that breaks, leaves it as it is known, once it is: then it is read by its id.
    """
    response: Response | None = None
    try:
        async for event in events:
            if isinstance(event, ResponseEvent):
                response = event.response
                if has_background or _runs_alone(response):
                    return response
    except (asyncio.CancelledError, ResponsesError):
        if response is None:
            raise
    if response is None:
        raise AssertionError("a stream that ends without its terminal event raises")
    return response


def _runs_alone(response: Response) -> bool:
    return response.background is True or response.is_finished or response.status == ResponseStatus.QUEUED


def _sentence(capabilities: Capabilities, why: str | None) -> str:
    said = f" ({why.rstrip('.')})" if why else ""
    return (
        f"{capabilities.server or 'The provider'} has no background responses{said}: "
        "choose the transport stream, or auto."
    )

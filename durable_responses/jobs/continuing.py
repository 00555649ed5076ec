"""The input of a run that continues another, ended one. Pure: stories in, an input out.

A continuation takes over the options, not the task. It goes on from the last response that can be continued, which the
provider still has; or it tells the model all that was said, from Temporal's history.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from durable_responses.jobs.story import NOT_EXECUTED, CallStep, ResponseStep, Story
from durable_responses.responses_api.models import McpApprovalResponse
from durable_responses.workflows.contract import AgentInput

MEMO_CONTINUES = "continues"
"""Key of the workflow's memo: the job that the run continues."""

_OF_THE_OPENING = {"task", "context", "files", "files_root", "previous_response_id"}


def continued(story: Story, text: str) -> dict[str, Any] | None:
    """The fields of an input that goes on from the last response of a run; None if it has none to go on from.

    Calls of that response are answered: with their results as far as there are any, else that they were not executed.
    """
    last = next((step for step in reversed(story.steps) if _is_continued(step)), None)
    if not isinstance(last, ResponseStep) or not last.is_kept:
        return None
    answers = [*_denials(last), *_answers(last, _outputs(story))]
    task = [*answers, _said_by("user", text)] if answers else text
    return {**_options(story.request), "previous_response_id": last.response_id, "task": task}


def rebuilt(stories: Sequence[Story], text: str) -> dict[str, Any]:
    """The fields of an input that tells the model all that was said in these runs, the oldest first, and then `text`.

    For where there is no response to go on from, or the provider has forgotten it.
    """
    items: list[dict[str, Any]] = []
    opening: dict[str, Any] = {}
    for story in stories:
        if story.request is not None:
            task = story.request.task
            items += [_said_by("user", task)] if isinstance(task, str) else task
            given = _given(story.request)
            opening = opening or {name: given[name] for name in ("context", "files", "files_root") if name in given}
        outputs = _outputs(story)
        for step in story.steps:
            if isinstance(step, ResponseStep):
                items += [_said_by("assistant", step.text)] if step.text.strip() else []
                items += _calls_and_answers(step, outputs) if step.can_be_continued else []
    return {**_options(stories[-1].request), **opening, "task": [*items, _said_by("user", text)]}


def _is_continued(step: ResponseStep | CallStep) -> bool:
    return isinstance(step, ResponseStep) and step.can_be_continued and step.response_id is not None


def _options(request: AgentInput | None) -> dict[str, Any]:
    """What a continuation takes over. A file name was for the first answer: a second one may not overwrite it."""
    kept = {name: value for name, value in _given(request).items() if name not in _OF_THE_OPENING}
    if isinstance(save := kept.get("save"), dict):
        kept["save"] = {name: value for name, value in save.items() if name != "filename"}
    return kept


def _given(request: AgentInput | None) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude_defaults=True) if request is not None else {}


def _outputs(story: Story) -> Mapping[str, str]:
    return {step.call_id: step.output for step in story.steps if isinstance(step, CallStep) and step.output is not None}


def _answers(step: ResponseStep, outputs: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"type": "function_call_output", "call_id": call.call_id, "output": outputs.get(call.call_id, NOT_EXECUTED)}
        for call in step.calls
    ]


def _denials(step: ResponseStep) -> list[dict[str, Any]]:
    """What is answered to calls of the provider's that nobody has decided about."""
    return [
        McpApprovalResponse(approval_request_id=id_, approve=False, reason=NOT_EXECUTED).model_dump()
        for id_ in step.to_approve
    ]


def _calls_and_answers(step: ResponseStep, outputs: Mapping[str, str]) -> list[dict[str, Any]]:
    return [*({"type": "function_call", **call.model_dump()} for call in step.calls), *_answers(step, outputs)]


def _said_by(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}

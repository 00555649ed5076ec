"""How a run ends for a program: a result with an object of its class, or an exception that carries the result."""

import pickle
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

import durable_responses
from durable_responses import (
    DurableResponsesError,
    JobError,
    OutputInvalid,
    RunCancelled,
    RunError,
    RunFailed,
    RunIncomplete,
    SetupError,
)
from durable_responses.python import outcomes
from durable_responses.python.outcomes import RunResult, result_of
from durable_responses.workflows.contract import AgentError, AgentResult, AgentStatus, AgentUsage

COST = AgentUsage(input_tokens=5, output_tokens=2, total_tokens=7)


class Release(BaseModel):
    name: str
    on: date


def ended(status: AgentStatus, **fields: Any) -> AgentResult:
    return AgentResult(status=status, usage=COST, **fields)


def test_the_answer_is_an_object_of_the_class() -> None:
    result = ended(AgentStatus.COMPLETED, structured_output={"name": "2.0", "on": "2026-11-29"})
    told = result_of("job", result, Release)
    assert isinstance(told, RunResult)
    assert (told.job_id, told.output, told.usage) == ("job", Release(name="2.0", on=date(2026, 11, 29)), COST)
    assert told.structured_output == result.structured_output


def test_without_a_class_there_is_no_object() -> None:
    assert result_of("job", ended(AgentStatus.COMPLETED, output_text="Hi")).output is None


@pytest.mark.parametrize(
    ("result", "kind", "sentence"),
    [
        (
            ended(AgentStatus.FAILED, error=AgentError(type="quota_exhausted", message="The quota is used up.")),
            RunFailed,
            "Run job failed: The quota is used up.",
        ),
        (
            ended(AgentStatus.INCOMPLETE, incomplete_reason="max_iterations", output_text="So far"),
            RunIncomplete,
            "Run job ended incomplete (max_iterations).",
        ),
        (
            ended(
                AgentStatus.INCOMPLETE,
                incomplete_reason="deadline",
                error=AgentError(type="deadline", message="The run waited for a free slot."),
            ),
            RunIncomplete,
            "Run job ended incomplete (deadline): The run waited for a free slot.",
        ),
        (ended(AgentStatus.CANCELLED), RunCancelled, "Run job was cancelled."),
        (ended(AgentStatus.CANCELLED, cancel_reason="no need"), RunCancelled, "Run job was cancelled: no need"),
        (
            ended(AgentStatus.COMPLETED, structured_output={"name": 5}),
            OutputInvalid,
            "The answer of run job is not a Release: name: must be text; on: is required.",
        ),
        (
            ended(AgentStatus.COMPLETED, output_text="I refuse."),
            OutputInvalid,
            "The answer of run job is not a Release: it is not valid JSON.",
        ),
    ],
)
def test_any_other_end_is_an_exception_with_the_result_and_what_it_cost(
    result: AgentResult, kind: type[RunError], sentence: str
) -> None:
    with pytest.raises(RunError) as caught:
        result_of("job", result, Release)
    assert type(caught.value) is kind
    assert str(caught.value) == sentence
    assert (caught.value.job_id, caught.value.result) == ("job", result)
    assert caught.value.result.usage.total_tokens == 7
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.result) == (kind, sentence, result)


def test_all_that_is_raised_has_one_ancestor() -> None:
    for kind in (SetupError, JobError, RunError):
        assert issubclass(kind, DurableResponsesError)
    tree = outcomes.__doc__ or ""
    exported = {
        name
        for name in durable_responses.__all__
        if isinstance(kind := getattr(durable_responses, name), type) and issubclass(kind, DurableResponsesError)
    }
    assert {name for name in exported if name not in tree} == set()

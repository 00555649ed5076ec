"""How a run ends, for a Python program: a result, or an exception that carries one.

DurableResponsesError
├── SetupError             something around the program is missing or wrong: a key, a server, a variable
├── JobError               a job cannot be started or read
│   ├── JobNotFound        no run has this id
│   ├── JobExists          the id is taken
│   ├── InvalidInput       what was asked for cannot be done; nothing was paid
│   ├── TemporalNotAnswering, TemporalRefused
└── RunError               the run has ended without a usable answer; `result` says what it cost
    ├── RunFailed
    ├── RunIncomplete      it ended with part of its answer: `result.incomplete_reason`
    ├── RunCancelled
    └── OutputInvalid      the answer is not of the type that was asked for
"""

from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from durable_responses.errors import DurableResponsesError
from durable_responses.workflows.contract import AgentResult, AgentStatus
from durable_responses.workflows.rules import place_of, what_is_expected
from durable_responses.workflows.text_formats import answer_of

OutputT = TypeVar("OutputT")

_SHOWN_PROBLEMS = 5


class RunResult(AgentResult, Generic[OutputT]):
    """The end of a run. `output` is its answer as a value of the type that was asked for; None if none was."""

    job_id: str
    output: OutputT


class RunError(DurableResponsesError):
    """A run has ended without a usable answer.

    `job_id` is the run's, `result` how it ended: with the text so far, what it cost, and the error of a failed one.
    """

    def __init__(self, message: str, job_id: str, result: AgentResult) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.job_id, self.result)


class RunFailed(RunError):
    """The run has failed: `result.error` says why."""


class RunIncomplete(RunError):
    """The run has ended with part of its answer: `result.incomplete_reason` says why, `result.output_text` is it."""


class RunCancelled(RunError):
    """The run was cancelled."""


class OutputInvalid(RunError):
    """The run has completed, and its answer is not of the type that was asked for."""


def result_of(job_id: str, result: AgentResult, output: Any = None) -> RunResult[Any]:
    """The result of a run that has completed; `output` is the type of its answer. Raises `RunError` for others."""
    if result.status is not AgentStatus.COMPLETED:
        raise _error_of(job_id, result)
    value = None if output is None else _output(job_id, result, output)
    return RunResult[Any].model_construct(**dict(result), job_id=job_id, output=value)


def _error_of(job_id: str, result: AgentResult) -> RunError:
    match result.status:
        case AgentStatus.INCOMPLETE:
            why = f": {result.error.message}" if result.error else "."
            reason = result.incomplete_reason
            return RunIncomplete(f"Run {job_id} ended incomplete ({reason}){why}", job_id, result)
        case AgentStatus.CANCELLED:
            reason = f": {result.cancel_reason}" if result.cancel_reason else "."
            return RunCancelled(f"Run {job_id} was cancelled{reason}", job_id, result)
        case _:
            why = result.error.message if result.error else "nothing is known of why."
            return RunFailed(f"Run {job_id} failed: {why}", job_id, result)


def _output(job_id: str, result: AgentResult, output: Any) -> Any:
    try:
        return answer_of(output, result.structured_output)
    except ValidationError as error:
        problems = [f"{place_of(each) or 'it'}: {what_is_expected(each)}" for each in error.errors()]
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        if result.structured_output is None:
            shown = "it is not valid JSON"
        name = getattr(output, "__name__", output)
        raise OutputInvalid(f"The answer of run {job_id} is not a {name}: {shown}.", job_id, result) from None

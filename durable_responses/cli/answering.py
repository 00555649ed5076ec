"""`respond`: answer what a run asks its owner."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from durable_responses.cli.command import Connection, command
from durable_responses.cli.options import JobId
from durable_responses.cli.output import ExitCode, Output, UsageError, width_of
from durable_responses.cli.sources import STANDARD_INPUT, text_of
from durable_responses.cli.wrapping import wrapped_prompt
from durable_responses.shell_words import typed

if TYPE_CHECKING:
    from durable_responses.jobs.job_view import JobView


@command("respond")
async def respond(
    connection: Connection,
    output: Output,
    job: JobId = None,
    request_or_answer: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Which question; not needed while one is open.", show_default=False),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Argument(metavar="ANSWER", help="The answer; - reads it from standard input.", show_default=False),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Who answers (default: the user's name).", metavar="NAME", show_default=False),
    ] = None,
) -> ExitCode:
    """Answer what a run asks: its provider refuses to go on, a limit is reached, or the model needs to know something.

    Without ANSWER it shows the question, and asks for the answer on a terminal. An answer can be given again: a run
    takes it once.
    """
    from durable_responses.cli.asking import user_name
    from durable_responses.cli.questions import is_request_id

    job_id = await connection.find(job)
    connection = await connection.with_worker_for(job_id)
    name = by or user_name()
    request_id, said = request_or_answer, answer
    if said is None and request_id is not None and not is_request_id(request_id):
        request_id, said = None, request_id
    if said is None:
        return await _ask(connection, output, job_id, request_id, name)
    text = text_of(STANDARD_INPUT, "ANSWER").strip() if said == STANDARD_INPUT else said
    if not text.strip():
        raise UsageError("The answer is empty.")
    return await _give(connection, output, job_id, request_id, text, name)


async def _give(
    connection: Connection, output: Output, job_id: str, request_id: str | None, text: str, by: str | None
) -> ExitCode:
    from durable_responses.cli.questions import answer_text, is_answered_like
    from durable_responses.cli.reports import GivenAnswer
    from durable_responses.jobs.job_errors import AnswerRefused
    from durable_responses.jobs.responding import Taken

    view = await connection.jobs.state(job_id)
    meant = next((each for each in view.open_requests if request_id in (each.id, None)), None)
    text = answer_text(text, meant)
    responded = await connection.jobs.respond(job_id, request_id, text, by)
    request = responded.request
    if responded.taken is Taken.OVER and (request is None or not is_answered_like(text, request)):
        raise AnswerRefused(responded.sentence)
    if output.as_json:
        output.object(GivenAnswer(job_id=job_id, web_ui=connection.web_ui(job_id), **dict(responded)))
    output.say(responded.sentence)
    return ExitCode.COMPLETED


async def _ask(connection: Connection, output: Output, job_id: str, request_id: str | None, by: str | None) -> ExitCode:
    """Show what is open, and ask for the answers, one after the other."""
    from durable_responses.cli.asking import answer_to
    from durable_responses.cli.questions import choice_lines, question_lines, ways_to_answer
    from durable_responses.jobs.job_errors import AnswerRefused

    view = await connection.jobs.state(job_id)
    found = [each for each in view.open_requests if request_id in (each.id, None)]
    if not found:
        raise AnswerRefused(_nothing_to_answer(view, request_id))
    left = 0
    for request in found:
        output.say_all([*question_lines(request, datetime.now(UTC)), *choice_lines(request)])
        if not output.asks:
            output.say_all(ways_to_answer(job_id, request, view.state))
            continue
        while (text := await answer_to(request, _prompt, output.say)) is not None:
            try:
                await _give(connection, output, job_id, request.id, text, by)
            except AnswerRefused as error:
                output.say(str(error))
            else:
                break
        left += text is None
    if not output.asks:
        raise UsageError("ANSWER is missing.")
    if left:
        output.say(f"Left open. Answer it at any time: durable-responses respond {typed(job_id)}")
    return ExitCode.COMPLETED


def _prompt(question: str) -> None:
    sys.stderr.write(wrapped_prompt(question, width_of(sys.stderr) or len(question)))
    sys.stderr.flush()


def _nothing_to_answer(view: "JobView", request_id: str | None) -> str:
    from durable_responses.cli.questions import outcome_line
    from durable_responses.workflows.contract import AgentStatus

    known = [each for each in view.input_requests if request_id in (each.id, None)]
    if request_id is not None and known:
        return f"{outcome_line(known[-1])}."
    if view.state.status is AgentStatus.INPUT_REQUIRED and not view.worker_running:
        return (
            f"What {view.job_id} asks is known to its worker only, and none is running: start one, or give the answer "
            f"itself, `durable-responses respond {typed(view.job_id)} ANSWER`."
        )
    last = f" The last question: {outcome_line(known[-1])}." if known else ""
    return f"{view.job_id} asks {request_id or 'nothing'} at the moment: it is {view.state.status}.{last}"

"""Asking the user of an MCP client what a job asks its owner, and handing on what they answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult
from pydantic import ValidationError

from durable_responses.jobs.job_errors import AnswerRefused, JobError
from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs
from durable_responses.mcp_server.questions import Key, answer_in, forms_of, key_of

logger = logging.getLogger("durable_responses.mcp_server")

Ask = Callable[[ElicitRequestFormParams], Awaitable[ElicitResult]]
"""Shows a form to the client's user; raises `MCPError` if the client cannot."""


async def hand_on(jobs: Jobs, job_id: str, responses: Mapping[str, object], by: str) -> bool:
    """Give a job what forms were answered with, by their keys. Whether any of it was an answer.

    An answer that its request does not take closes the form all the same: it is kept by the job as not taken, which
    asks again, under another key. What was not asked, or is over, is ignored. Raises `JobError`.
    """
    handed_on = False
    for text, response in responses.items():
        key = Key.read(text)
        answer = answer_in(response, key.request_id) if key is not None else None
        if key is None or answer is None:
            continue
        handed_on = True
        try:
            await jobs.respond(job_id, key.request_id, answer, by)
        except AnswerRefused as refused:
            view = await jobs.state(job_id)
            if any(key_of(request) == key for request in view.open_requests):
                logger.info("Job %s is asked %s again: %s", job_id, key.request_id, refused)
                await jobs.respond_by_signal(job_id, key.request_id, answer, by)
    return handed_on


class AskingClient:
    """The questions of one job, asked by way of a client that shows forms while a call waits.

    An async context manager: forms that are still open at its end are taken back.
    """

    def __init__(self, jobs: Jobs, job_id: str, ask: Ask, by: str) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._ask = ask
        self._by = by
        self._forms: dict[str, asyncio.Task[None]] = {}
        self._put_away: set[str] = set()

    def look(self, view: JobView) -> None:
        """Show what is new, and take back what somebody else has answered."""
        forms = forms_of(view)
        for key, form in forms.items():
            if key not in self._forms:
                self._forms[key] = asyncio.create_task(self._show(key, form))
        for key, task in self._forms.items():
            if key not in forms:
                task.cancel()

    def is_put_away(self, view: JobView) -> bool:
        """Whether the user has put away, without an answer, all that the job asks."""
        forms = forms_of(view)
        return bool(forms) and forms.keys() <= self._put_away

    async def _show(self, key: str, form: ElicitRequest) -> None:
        assert isinstance(form.params, ElicitRequestFormParams)
        try:
            result = await self._ask(form.params)
            response = {key: result.model_dump(by_alias=True, mode="json")}
            answered = await hand_on(self._jobs, self._job_id, response, self._by)
        except (MCPError, ValidationError, JobError) as error:
            logger.warning("The client did not answer %s of job %s: %s", key, self._job_id, error)
            answered = False
        if not answered:
            self._put_away.add(key)

    async def __aenter__(self) -> "AskingClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._forms.values():
            task.cancel()
        if self._forms:
            await asyncio.wait(self._forms.values())

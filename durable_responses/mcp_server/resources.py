"""Jobs as resources, for clients to attach: `job://{id}` is the live state, `job://{id}/result` the saved result."""

import re
from pathlib import Path
from urllib.parse import unquote

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, Resource, ResourceTemplate, TextResourceContents

from durable_responses.jobs.job_errors import JobError, JobNotFound
from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs
from durable_responses.mcp_server.answers import job_answer
from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.next_steps import result_uri, state_uri
from durable_responses.mcp_server.tools import RESULT_TYPE, check_job_id, now
from durable_responses.settings import Settings, SetupError
from durable_responses.shown_text import shown

_URI = re.compile(r"job://(?P<job>[^/?#]+)(?P<result>/result)?")
_SHOWN_JOBS = 20
_LARGEST_FILE = 10 * 1024 * 1024
_JSON = "application/json"

TEMPLATES = [
    ResourceTemplate(
        name="job",
        title="State of a job",
        uri_template="job://{id}",
        description="The live state of a job, as gpt5_agent_poll returns it.",
        mime_type=_JSON,
    ),
    ResourceTemplate(
        name="job result",
        title="Result of a job",
        uri_template="job://{id}/result",
        description="The result of a job that has ended: the saved file, or the output if none was saved.",
        mime_type=RESULT_TYPE,
    ),
]


class JobResources:
    """The resources of one backend. Files are read under the output root only, symlinks resolved."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._root = settings.output_root

    async def recent(self) -> list[Resource]:
        """The newest jobs. None while Temporal is not up yet: clients ask as soon as they connect."""
        jobs = self._backend.ready
        if jobs is None:
            return []
        try:
            views = await jobs.recent(limit=_SHOWN_JOBS)
        except JobError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        return [resource for view in views for resource in _of(view)]

    async def read(self, uri: str) -> TextResourceContents:
        """What an address refers to. Raises `MCPError`: invalid parameters if there is nothing."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise _nothing(uri, "The address of a job is job://ID, that of its result job://ID/result.")
        try:
            view = await self._job(unquote(match["job"]))
        except JobNotFound as error:
            raise _nothing(uri, str(error)) from None
        except (SetupError, JobError) as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        if match["result"] is None:
            return TextResourceContents(
                uri=uri, mime_type=_JSON, text=job_answer(view, now()).model_dump_json(indent=2)
            )
        if view.result is None:
            raise _nothing(uri, f"The job has no result yet: it is {view.state.status}.")
        saved = self._saved(view.result.artifact_path)
        return TextResourceContents(uri=uri, mime_type=RESULT_TYPE, text=shown(saved or view.result.output_text))

    async def _job(self, job_id: str) -> JobView:
        check_job_id(job_id)
        jobs: Jobs = await self._backend.to_read()
        return await jobs.state(job_id)

    def _saved(self, path: str | None) -> str | None:
        """The file's text; None if it is not here, or not where results are saved."""
        if path is None:
            return None
        resolved = Path(path).resolve()
        if not resolved.is_relative_to(self._root) or not resolved.is_file():
            return None
        with resolved.open("rb") as file:
            return file.read(_LARGEST_FILE).decode(errors="replace")


def _of(view: JobView) -> list[Resource]:
    uri = state_uri(view.job_id)
    about = view.summary or view.job_id
    state = Resource(
        name=view.job_id, title=about, uri=uri, mime_type=_JSON, description=f"State of a job ({view.state.status})."
    )
    if view.result is None:
        return [state]
    result = Resource(
        name=f"{view.job_id} result",
        title=f"Result: {about}",
        uri=result_uri(view.job_id),
        size=len(view.result.output_text.encode()),
        mime_type=RESULT_TYPE,
        description=f"Result of a job ({view.state.status}).",
    )
    return [state, result]


def _nothing(uri: str, why: str) -> MCPError:
    return MCPError(INVALID_PARAMS, why, {"uri": uri})

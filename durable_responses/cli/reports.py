"""What commands print with `--json`."""

from pydantic import BaseModel

from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.responding import Responded
from durable_responses.workflows.contract import AgentResult, AgentState


class StartedJob(BaseModel):
    """`start --json`, and `run --json` left by Ctrl-C: the job, and its page in the Web UI where there is one."""

    job_id: str
    web_ui: str | None


class JobResult(AgentResult, StartedJob):
    """`run --json`, `watch --json`, `result --json`: the result of a job."""

    @classmethod
    def of(cls, outcome: AgentResult, job_id: str, web_ui: str | None) -> "JobResult":
        """The report of a job that ended with this outcome."""
        return cls(job_id=job_id, web_ui=web_ui, **dict(outcome))


class JobReport(AgentState, StartedJob):
    """`status --json`, `cancel --json`: the state of a job, and its source."""

    summary: str | None
    source: str
    worker_running: bool
    paused: list[str] = []
    absent_build: str | None = None

    @classmethod
    def of(cls, view: JobView, web_ui: str | None) -> "JobReport":
        """The report of a job that looks like this."""
        return cls(
            job_id=view.job_id,
            web_ui=web_ui,
            summary=view.summary,
            source=view.source,
            worker_running=view.worker_running,
            paused=view.paused,
            absent_build=view.absent_build,
            **dict(view.state),
        )


class JobList(BaseModel):
    """`list --json`."""

    jobs: list[JobReport]


class GivenAnswer(Responded, StartedJob):
    """`respond --json`: what has become of an answer."""


class Problem(BaseModel):
    """What a command prints with `--json` when it cannot do its work."""

    error: str
    exit_code: int

"""`status`, `cancel` and `list`, with a worker and without one."""

import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from durable_responses.cli.jobs import SortKey, in_order
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.workflows.contract import AgentInput, AgentState, AgentUsage, RunCost
from tests.support.runs import until
from tests.support.shell import COMPLETED, USAGE, Shell, has_response


async def test_status_shows_an_open_run(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    await until(lambda: has_response(shell.jobs, job_id))
    done = await shell.run("status", job_id)
    assert done.code == COMPLETED
    assert re.match(r"running · iteration 1 of 10 · 0:\d\d\nDo it\.\n", done.out)
    assert re.search(rf"^{job_id}  resp_\w+$", done.out, re.MULTILINE)
    await shell.jobs.cancel(job_id)


@pytest.mark.parametrize("command", ["status", "cancel"])
async def test_without_a_worker_commands_answer_soon_and_say_so(bare: Shell, command: str) -> None:
    job_id = await bare.start("echo")
    done = await bare.run(command, job_id)
    assert done.code == COMPLETED
    assert done.out.startswith("queued · ")
    assert "No worker is running" in done.out


async def test_the_list_is_filtered_by_what_temporal_knows_of_a_run(shell: Shell) -> None:
    tenant = f"tenant-{secrets.token_hex(4)}"
    job_id = await shell.start("echo", tenant=tenant)
    await shell.jobs.result(job_id)

    async def is_listed() -> bool:
        where = f'AgentTenant = "{tenant}" AND AgentStatus = "completed"'
        listed = (await shell.run("list", "--json", "--where", where)).json["jobs"]
        return [job["job_id"] for job in listed] == [job_id]

    await until(is_listed)
    listed = await shell.run("list", "--open", "--where", f'AgentTenant = "{tenant}" OR AgentTenant = "nobody"')
    assert (listed.code, listed.out) == (COMPLETED, "")


async def test_runs_that_have_ended_lately_are_listed_the_last_one_first(shell: Shell) -> None:
    tenant = f"tenant-{secrets.token_hex(4)}"
    first, second, still_open = [await shell.start("think?seconds=600", tenant=tenant) for _ in range(3)]
    for job_id in (second, first):
        await shell.jobs.cancel(job_id)
        await shell.jobs.result(job_id)

    async def are_listed() -> bool:
        where = f'AgentTenant = "{tenant}"'
        listed = (await shell.run("list", "--json", "--ended", "1h", "--where", where)).json["jobs"]
        return [job["job_id"] for job in listed] == [first, second]

    await until(are_listed)
    await shell.jobs.cancel(still_open)


async def test_a_filter_that_temporal_does_not_understand_is_refused_in_one_sentence(bare: Shell) -> None:
    done = await bare.run("list", "--where", "AgentTenant is release")
    assert (done.code, done.out) == (USAGE, "")
    assert "AgentTenant is release" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--open"]])
@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("TaskQueue =", "it has a syntax error at its end."),
        ("TaskQueue = 'a' AND", "it has a syntax error at its end."),
        ("TaskQueue = 'a", "it has a syntax error at its end."),
        ("TaskQueue = = 'a'", "it has a syntax error at character 13, '='."),
        ("ORDER BY StartTime", "it has a syntax error at character 1, 'ORDER'."),
        ("TaskQueue is release", "it has a syntax error at character 14, 'release'."),
        ("StartTim > '2026-01-01'", "Did you mean 'StartTime'?"),
        ("agentstatu = 'failed'", "Did you mean 'AgentStatus'?"),
        ("ExecutionStatus = 'Runing'", "Did you mean 'Running'?"),
        ("ExecutionStatus = Running", "(did you forget to quote 'Running'?)."),
    ],
)
async def test_a_filter_that_is_wrong_is_told_as_it_was_typed(
    bare: Shell, where: str, why: str, options: list[str]
) -> None:
    done = await bare.run("list", *options, "--where", where)
    assert (done.code, done.err.startswith(f"The filter {where!r} is not understood: ")) == (USAGE, True)
    assert done.err.endswith(f"{why}\n")


async def test_without_a_worker_the_list_answers_soon_and_says_so(bare: Shell) -> None:
    job_id = await bare.start("echo")
    done = await bare.run("list", "--open")
    assert [row.split("\t")[0] for row in done.out.splitlines() if job_id in row] == ["queued"]
    assert "No worker is running" in done.err


async def test_without_a_worker_json_says_so(bare: Shell) -> None:
    job_id = await bare.start("echo")
    report = (await bare.run("status", job_id, "--json")).json
    assert (report["status"], report["source"], report["worker_running"]) == ("queued", "server", False)
    listed = (await bare.run("list", "--json")).json["jobs"]
    assert job_id in [job["job_id"] for job in listed]


@pytest.mark.parametrize("command", ["status", "cancel", "watch", "result"])
async def test_a_job_is_meant_by_its_id_or_the_beginning_of_it_or_by_being_the_newest(
    shell: Shell, command: str
) -> None:
    name = f"named-{secrets.token_hex(4)}"
    for job_id in (f"{name}-one", f"{name}-two"):
        await shell.jobs.start(AgentInput(task="Say it.", metadata={"scenario": "echo"}), job_id=job_id)
        await shell.jobs.until_listed(job_id)
        await shell.jobs.result(job_id)
    for words, meant in [([f"{name}-one"], "one"), ([f"{name}-o"], "one"), ([], "two")]:
        done = await shell.run(command, *words, "--json")
        assert (done.code, done.json["job_id"]) == (COMPLETED, f"{name}-{meant}")
    assert f"The newest run: {name}-two" in done.err
    several = await shell.run(command, f"{name}-")
    assert several.code == USAGE
    assert f"{name}-one" in several.err
    assert f"{name}-two" in several.err


@pytest.mark.parametrize("said", ["", "'", 'a" OR WorkflowId != "', "no-such-run-", "%", "_"])
async def test_what_no_id_begins_with_is_an_unknown_job(shell: Shell, said: str) -> None:
    await shell.jobs.result(await shell.start("echo"))
    done = await shell.run("cancel", said)
    assert (done.code, done.out) == (USAGE, "")
    assert "There is no agent run" in done.err


async def test_an_id_that_is_mistyped_names_the_nearest(shell: Shell) -> None:
    job_id = f"mistyped-{secrets.token_hex(4)}"
    await shell.jobs.start(AgentInput(task="Say it.", metadata={"scenario": "echo"}), job_id=job_id)
    await shell.jobs.until_listed(job_id)
    for mistyped in (job_id.replace("mistyped", "mystiped"), job_id.upper()):
        done = await shell.run("status", mistyped)
        assert done.code == USAGE
        assert f"Did you mean '{job_id}'?" in done.err


async def test_an_id_may_speak_of_a_namespace(shell: Shell) -> None:
    """The server's sentence about an unknown id quotes it, and one about an unknown namespace is another error."""
    job_id = f"list-the-namespaces-{secrets.token_hex(4)}"
    await shell.jobs.start(AgentInput(task="Say it.", metadata={"scenario": "echo"}), job_id=job_id)
    await shell.jobs.until_listed(job_id)
    assert (await shell.run("status", job_id[:-3], "--json")).json["job_id"] == job_id
    assert "There is no agent run" in (await shell.run("status", f"no-namespace-{secrets.token_hex(4)}")).err


async def test_without_any_run_the_newest_is_asked_for_in_vain(bare: Shell) -> None:
    done = await bare.run("status")
    assert (done.code, done.err.count("\n")) == (USAGE, 1)
    assert "no agent runs yet" in done.err


async def test_the_list_has_columns_on_a_terminal(bare: Shell) -> None:
    job_id = await bare.start("echo")
    async with bare.on_terminal("list", "--open") as terminal:
        assert await terminal.ended() == COMPLETED
    assert re.search(rf"queued +(just now|\d+ seconds ago) +0/10 +{job_id}", terminal.text)


@pytest.mark.parametrize(
    ("by", "order"),
    [
        (SortKey.STARTED, ["new", "old", "none"]),
        (SortKey.ENDED, ["old", "new", "none"]),
        (SortKey.TIME, ["old", "new", "none"]),
        (SortKey.TOKENS, ["new", "old", "none"]),
        (SortKey.COST, ["old", "new", "none"]),
    ],
)
def test_a_list_can_be_sorted(by: SortKey, order: list[str]) -> None:
    moment = datetime(2026, 11, 29, 12, tzinfo=UTC)

    def view(name: str, started: int | None, ended: int | None, tokens: int, usd: float | None) -> JobView:
        at = [None if minutes is None else moment + timedelta(minutes=minutes) for minutes in (started, ended)]
        state = AgentState(
            started_at=at[0], usage=AgentUsage(input_tokens=tokens, total_tokens=tokens), cost=RunCost(usd=usd)
        )
        return JobView(job_id=name, run_id="r", state=state, source=Source.SERVER, worker_running=True, closed_at=at[1])

    views = [view("none", None, None, 0, None), view("new", 5, 6, 9, 1.5), view("old", 1, 7, 3, 2.5)]
    assert [each.job_id for each in in_order(views, by, moment)] == order

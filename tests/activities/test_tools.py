"""Function calls as an activity: every call is answered, in time, and stopped when it should be."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from durable_responses.activities.messages import CallTool, FailureType, ToolHeartbeat, ToolOutcome, ToolResult
from durable_responses.activities.tools import OUTPUT_CHARACTERS, ToolActivities, definitions
from durable_responses.json_text import text_bytes
from durable_responses.mcp_tools.sessions import Asked, AsksFirst
from durable_responses.responses_api.redaction import Secrets
from durable_responses.tools.approvals import Action, Approvals, call_hash
from durable_responses.tools.registry import Effect, Registry, Tool, ToolContext, ToolError, UnknownToolError, tool
from tests.support.attempts import Attempt, Reports


@tool(effect=Effect.PURE)
def shout(text: str) -> str:
    """Shout a text."""
    return text.upper()


def answer(
    each: Tool[..., Any],
    arguments: str = "{}",
    *,
    attempt: int = 1,
    allowed: list[str] | None = None,
    timeout: float = 10,
    environment: ActivityEnvironment | None = None,
    fields: dict[str, Any] | None = None,
    workspace: Path = Path("a workspace that is missing"),
) -> "asyncio.Task[ToolResult]":
    """Start the activity for one call of a tool."""
    environment = environment or Attempt()
    environment.info = replace(environment.info, attempt=attempt, workflow_id="agent-1")
    activities = ToolActivities(Registry([each]), ToolContext(workspace=workspace))
    call = CallTool(
        call_id="call_1", name=each.name, arguments=arguments, timeout=timeout, allowed=allowed, **(fields or {})
    )
    return asyncio.ensure_future(environment.run(activities.call_tool, call))


def raising(error: BaseException) -> Tool[[], Any]:
    @tool(effect=Effect.PURE)
    async def fail() -> None:
        """Fail."""
        raise error

    return fail


def test_the_api_is_told_strict_functions() -> None:
    """A12: what the model may call."""
    [definition] = definitions(Registry([shout]), None)

    assert definition.model_dump() == {
        "type": "function",
        "name": "shout",
        "description": "Shout a text.",
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        },
        "strict": True,
    }


def test_a_run_cannot_ask_for_a_tool_that_does_not_exist() -> None:
    with pytest.raises(UnknownToolError, match="'whisper'; available tools: shout"):
        definitions(Registry([shout]), ["whisper"])


async def test_a_call_is_answered_with_what_the_tool_returns() -> None:
    """A12: the answer carries the call's id."""
    assert await answer(shout, '{"text": "hey"}') == ToolResult(call_id="call_1", output="HEY")


# --- what goes wrong is told to the model ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"text": "hey"', "The arguments of shout are not valid JSON"),
        ("", "- text: Field required"),
        ('["hey"]', "The arguments of shout must be one JSON object"),
        ('{"text": 5}', "- text: Input should be a valid string (got 5)"),
    ],
)
async def test_bad_arguments_are_told_to_the_model(arguments: str, told: str) -> None:
    """A12: failures are told to the model in `output`."""
    result = await answer(shout, arguments)

    assert told in result.output
    assert result.outcome is ToolOutcome.FAILED


async def test_a_tool_works_in_the_runs_workspace_and_in_no_other_projects(tmp_path: Path) -> None:
    """H1: whatever worker takes the call."""

    @tool(effect=Effect.PURE)
    def where(context: ToolContext) -> str:
        """Say where you work."""
        return str(context.workspace)

    activities = ToolActivities(Registry([where]), ToolContext(workspace=tmp_path / "mine"))

    async def called(workspace: Path | None) -> ToolResult:
        given = str(workspace) if workspace else None
        call = CallTool(call_id="c", name="where", arguments="{}", timeout=1, workspace=given)
        return await ActivityEnvironment().run(activities.call_tool, call)

    assert (await called(None)).output == str(tmp_path / "mine")
    assert (await called(tmp_path / "mine" / "inner")).output == str(tmp_path / "mine" / "inner")
    refused = await called(tmp_path / "other")
    assert (refused.outcome, "workspace: is not the worker's" in refused.output) == (ToolOutcome.FAILED, True)


async def test_an_unknown_tool_is_told_to_the_model() -> None:
    """A12: failures are told to the model in `output`."""
    activities = ToolActivities(Registry([shout]), ToolContext(workspace=Path()))

    result = await ActivityEnvironment().run(
        activities.call_tool, CallTool(call_id="c", name="whisper", arguments="{}", timeout=1)
    )

    assert result.output == "Error: There is no tool named 'whisper'; available tools: shout."
    assert result.outcome is ToolOutcome.FAILED


async def test_a_tool_that_the_run_does_not_offer_is_not_run() -> None:
    """A12: the model cannot reach beyond the tools of its run."""
    result = await answer(shout, '{"text": "hey"}', allowed=["count", "add"])

    assert result.output == "Error: There is no tool named 'shout'; available tools: add, count."
    assert result.outcome is ToolOutcome.FAILED


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ToolError("Ask for less."), "Error: Ask for less."),
        (ValueError("no such thing"), "Error: fail failed: ValueError: no such thing"),
        (asyncio.CancelledError(), "Error: fail failed: something that it waited for was cancelled."),
        (SystemExit(3), "Error: fail tried to end the process (SystemExit)."),
    ],
)
async def test_an_exception_is_told_to_the_model(error: BaseException, told: str) -> None:
    """A12: failures are told to the model in `output`."""
    result = await answer(raising(error))

    assert result.output == told
    assert result.outcome is ToolOutcome.FAILED


async def test_an_exception_text_is_redacted_and_capped(caplog: pytest.LogCaptureFixture) -> None:
    """A25: neither the model nor the log sees a key, and the text ends after 2 kB."""
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"

    result = await answer(raising(RuntimeError(f"used {key} " + "x" * 10_000)))

    assert key not in result.output
    assert key not in caplog.text
    assert len(result.output) <= 2048 + len("Error: ")


async def test_the_log_shows_where_a_tool_failed(caplog: pytest.LogCaptureFixture) -> None:
    await answer(raising(ValueError("no such thing")))

    assert "Traceback" in caplog.text
    assert "raise error" in caplog.text


async def test_a_result_that_has_no_json_form_is_told_to_the_model() -> None:
    """A12: failures are told to the model in `output`."""

    @tool(effect=Effect.PURE)
    def give() -> object:
        """Give."""
        return object()

    result = await answer(give)

    assert "Unable to serialize" in result.output
    assert result.outcome is ToolOutcome.FAILED


async def test_a_huge_output_that_cannot_be_kept_is_cut_with_a_note() -> None:
    """A12: 5 MB do not fit into history."""

    @tool(effect=Effect.PURE)
    def flood() -> str:
        """Flood."""
        return "x" * 5_000_000

    result = await answer(flood)

    cut = "[cut: the first 100,000 of 5,000,000 characters. The rest cannot be kept here (No such file or directory). "
    assert result.output == "x" * OUTPUT_CHARACTERS + f"\n{cut}If you need the rest, get it in smaller parts.]"
    assert result.outcome is ToolOutcome.SUCCEEDED


async def test_text_that_cannot_be_encoded_is_mended() -> None:
    @tool(effect=Effect.PURE)
    def odd() -> str:
        """Give half a character."""
        return "a\ud800b"

    assert (await answer(odd)).output == "a\ufffdb"


# --- time --------------------------------------------------------------------------------------------------------


def hanging(effect: Effect, timeout: float = 60) -> Tool[[], Any]:
    @tool(effect=effect, timeout=timeout)
    async def hang() -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    return hang


@pytest.mark.parametrize(("own", "asked"), [(0.05, 60), (60, 0.05)])
async def test_a_call_is_bounded_by_the_smaller_timeout(own: float, asked: float) -> None:
    """A12: a tool that does not end is answered all the same."""
    result = await answer(hanging(Effect.PURE, own), timeout=asked)

    assert result.output == "Error: hang did not end within 0.05 seconds."
    assert result.outcome is ToolOutcome.FAILED


async def test_the_outcome_of_a_once_tool_that_ran_out_of_time_is_unknown() -> None:
    """A12: it may have taken effect."""
    result = await answer(hanging(Effect.ONCE), timeout=0.05)

    assert result.output.startswith("Outcome unknown: hang did not end within 0.05 seconds.")
    assert result.outcome is ToolOutcome.UNKNOWN


async def test_a_thread_that_runs_on_does_not_hold_up_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A12: a blocking tool is bounded too, and the log says that it runs on."""
    end = threading.Event()

    @tool(effect=Effect.PURE)
    def block() -> None:
        """Block."""
        end.wait(10)

    result = await answer(block, timeout=0.05)
    end.set()

    assert "did not end within" in result.output
    assert "its thread cannot be stopped" in caplog.text


async def test_a_tool_that_ignores_its_cancellation_does_not_hold_up_the_answer() -> None:
    """A12: bounded means bounded."""
    end = threading.Event()

    @tool(effect=Effect.PURE)
    async def cling() -> None:
        """Ignore being cancelled."""
        while not end.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    result = await answer(cling, timeout=0.05)
    end.set()

    assert "did not end within" in result.output


async def test_a_heartbeat_is_sent_beside_a_tool_that_says_nothing() -> None:
    """A12: so that a cancel arrives, and a lost worker is noticed."""
    environment = ActivityEnvironment()
    heartbeats = 0
    enough = threading.Event()

    def count(*details: object) -> None:
        nonlocal heartbeats
        heartbeats += 1
        if heartbeats == 3:
            enough.set()

    environment.on_heartbeat = count

    @tool(effect=Effect.PURE)
    async def wait() -> str:
        """Wait for three heartbeats."""
        while not enough.is_set():
            await asyncio.sleep(0.01)
        return "seen"

    assert (await answer(wait, environment=environment)).output == "seen"


# --- effects and interruptions -----------------------------------------------------------------------------------


def counting(effect: Effect) -> tuple[Tool[[ToolContext], str], list[str]]:
    runs: list[str] = []

    @tool(effect=effect)
    def work(context: ToolContext) -> str:
        """Work."""
        runs.append(context.idempotency_key)
        return "done"

    return work, runs


async def test_a_once_tool_is_not_run_by_a_second_attempt() -> None:
    """A12: the model is told that the outcome is unknown."""
    work, runs = counting(Effect.ONCE)

    result = await answer(work, attempt=2)

    assert runs == []
    assert result.output.startswith("Outcome unknown: work was interrupted")
    assert result.outcome is ToolOutcome.UNKNOWN


async def test_a_once_tool_is_not_run_where_a_heartbeat_says_that_it_may_have_run(reports: Reports) -> None:
    """An operator may set the number of the attempt back, and keeps the heartbeat."""
    work, runs = counting(Effect.ONCE)
    attempt = Attempt(reports=reports)
    attempt.info = replace(attempt.info, heartbeat_details=[ToolHeartbeat().model_dump()])

    assert (await answer(work, environment=attempt)).outcome is ToolOutcome.UNKNOWN
    assert runs == []


async def test_the_heartbeat_of_a_once_tool_is_at_the_server_before_it_is_run(reports: Reports) -> None:
    at_the_server: list[Any] = []

    @tool(effect=Effect.ONCE)
    def look() -> None:
        """Look at what the server knows."""
        at_the_server.extend(heartbeat for _, heartbeat in reports.proofs)

    await answer(look, environment=Attempt(reports=reports))
    assert at_the_server == [ToolHeartbeat()]


async def test_a_once_tool_is_not_run_by_an_attempt_that_was_given_to_others(reports: Reports) -> None:
    work, runs = counting(Effect.ONCE)
    reports.answers = [RPCError("not found", RPCStatusCode.NOT_FOUND, b"")]

    with pytest.raises(ApplicationError) as caught:
        await answer(work, environment=Attempt(reports=reports))
    assert (caught.value.type, runs) == (FailureType.ATTEMPT_OVER, [])


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.IDEMPOTENT])
async def test_other_tools_ask_nobody(reports: Reports, effect: Effect) -> None:
    work, _ = counting(effect)
    await answer(work, environment=Attempt(reports=reports, heartbeat_timeout=5))
    assert reports.proofs == []


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.IDEMPOTENT])
async def test_other_tools_are_run_again(effect: Effect) -> None:
    """A12: an interrupted call is answered after all."""
    work, runs = counting(effect)

    result = await answer(work, attempt=2)

    assert len(runs) == 1
    assert result.outcome is ToolOutcome.SUCCEEDED


async def test_every_attempt_of_a_call_has_the_same_idempotency_key() -> None:
    work, runs = counting(Effect.IDEMPOTENT)

    await answer(work, attempt=1)
    await answer(work, attempt=2)

    assert runs == ["agent-1:call_1"] * 2


async def test_a_call_id_that_is_used_again_makes_another_idempotency_key() -> None:
    """Some servers count the calls of each response from one."""
    work, runs = counting(Effect.IDEMPOTENT)
    places = [(1, 0, "resp_1"), (1, 1, "resp_1"), (2, 0, "resp_1"), (2, 0, "resp_2")]

    for iteration, position, response_id in places:
        for attempt in (1, 2):
            place = {"iteration": iteration, "position": position, "response_id": response_id}
            await answer(work, attempt=attempt, fields=place)

    assert runs[0] == "agent-1:1:0:resp_1:call_1"
    assert runs == [key for key in dict.fromkeys(runs) for _ in range(2)]
    assert len(set(runs)) == 4


@pytest.mark.parametrize("arguments", ["", "  ", "null", "{}"])
async def test_no_arguments_are_written_in_several_ways(arguments: str) -> None:
    work, runs = counting(Effect.PURE)

    result = await answer(work, arguments=arguments)

    assert (result.outcome, len(runs)) == (ToolOutcome.SUCCEEDED, 1)


async def test_a_long_output_is_kept_whole_and_the_model_is_given_its_ends(tmp_path: Path) -> None:
    whole = "".join(f"{number:07}\n" for number in range(50_000))

    @tool(effect=Effect.PURE)
    def recite() -> str:
        """Recite."""
        return whole

    result = await answer(recite, fields={"iteration": 3, "position": 1}, workspace=tmp_path)

    assert (result.outcome, result.kept) == (ToolOutcome.SUCCEEDED, True)
    assert result.output.startswith("0000000\n")
    assert result.output.endswith("0049999\n")
    assert 'read_output with id "3-2"' in result.output
    assert len(result.output) < 34 * 1024
    [kept] = tmp_path.glob(".outputs/*/3-2.txt")
    assert kept.read_text() == whole


@pytest.mark.parametrize(
    ("whole", "fields"),
    [
        ("word " * 6_000, {"fair_output": 10_000}),
        ("\x01" * 40_000, {"largest_output": 26_000}),
        ("\x00\xff\ud800" * 1_000, {"fair_output": 1_024}),
    ],
    ids=["beside many", "control characters", "binary"],
)
async def test_what_has_no_room_beside_the_other_answers_is_kept_and_can_be_read_on(
    tmp_path: Path, whole: str, fields: dict[str, Any]
) -> None:
    """Cut later, with the answers of the same response, the note that says how to read on would be lost."""

    @tool(effect=Effect.PURE)
    def recite() -> str:
        """Recite."""
        return whole

    result = await answer(recite, fields={"iteration": 3, "position": 1, **fields}, workspace=tmp_path)

    assert result.kept is True
    assert 'read_output with id "3-2"' in result.output
    assert text_bytes(result.output) <= min(fields.values())


async def test_what_is_kept_holds_no_secret_of_the_worker(tmp_path: Path) -> None:
    @tool(effect=Effect.PURE)
    def environment() -> str:
        """Tell the environment."""
        return "sk-of-the-worker-123456 " * 5000 + "x" * 40_000

    secrets = Secrets(("sk-of-the-worker-123456",))
    attempt = Attempt()
    attempt.info = replace(attempt.info, workflow_id="agent-1")
    activities = ToolActivities(Registry([environment]), ToolContext(workspace=tmp_path), secrets=secrets)
    await attempt.run(activities.call_tool, CallTool(call_id="c", name="environment", arguments="{}", timeout=10))

    [kept] = tmp_path.glob(".outputs/*/*.txt")
    assert "of-the-worker" not in kept.read_text()


async def test_what_a_server_asks_holds_no_secret_of_the_worker() -> None:
    secret = "sk-of-the-worker-123456"
    form = {"properties": {"key": {"type": "string", "default": secret}}}

    @tool(effect=Effect.PURE)
    def ask() -> str:
        """Ask."""
        raise AsksFirst([Asked("1", f"Is {secret} right?", form, f"https://example.com/{secret}")], None)

    activities = ToolActivities(Registry([ask]), ToolContext(workspace=Path()), secrets=Secrets((secret,)))
    result = await Attempt().run(activities.call_tool, CallTool(call_id="c", name="ask", arguments="{}", timeout=10))

    assert result.asks is not None
    [question] = result.asks.questions
    assert question.fields["properties"]["key"] == {"type": "string", "default": "***"}
    assert secret not in result.model_dump_json()


async def test_an_answer_is_cut_to_the_bytes_that_the_run_has_room_for() -> None:
    @tool(effect=Effect.PURE)
    def control() -> str:
        """Answer."""
        return "\x01" * 50_000

    result = await answer(control, fields={"largest_output": 1000})

    assert text_bytes(result.output) <= 1000
    assert result.output.endswith("get it in smaller parts.]")


class Watched:
    """A tool that can be seen to start and to be cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = threading.Event()
        self._loop = asyncio.get_running_loop()

    def tool(self) -> Tool[[], Any]:
        @tool(effect=Effect.PURE)
        async def watched() -> None:
            """Wait for ever."""
            self._loop.call_soon_threadsafe(self.started.set)
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()

        return watched


@pytest.mark.parametrize(
    "why",
    [
        ActivityCancellationDetails(cancel_requested=True),
        ActivityCancellationDetails(worker_shutdown=True),
        ActivityCancellationDetails(timed_out=True),
    ],
    ids=["cancel", "shutdown", "timeout"],
)
async def test_a_cancelled_activity_stops_its_tool_and_says_so(why: ActivityCancellationDetails) -> None:
    """A12: nothing runs on after a cancel; after a shutdown the retry runs elsewhere."""
    environment = ActivityEnvironment()
    watched = Watched()
    running = answer(watched.tool(), environment=environment)
    await watched.started.wait()

    environment.cancel(why)

    async with asyncio.timeout(0.5):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert watched.cancelled.is_set()


async def test_a_cancel_does_not_wait_for_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    """A12: a blocking tool cannot be stopped; the log says that it runs on."""
    environment = ActivityEnvironment()
    loop = asyncio.get_running_loop()
    started, end = asyncio.Event(), threading.Event()

    @tool(effect=Effect.PURE)
    def block() -> None:
        """Block."""
        loop.call_soon_threadsafe(started.set)
        end.wait(10)

    running = answer(block, environment=environment)
    await started.wait()
    environment.cancel()

    async with asyncio.timeout(0.5):
        with pytest.raises(asyncio.CancelledError):
            await running
    end.set()
    assert "its thread cannot be stopped" in caplog.text


async def test_the_workers_key_is_in_no_output_of_a_tool() -> None:
    """A25: a tool may print its environment."""

    @tool(effect=Effect.PURE)
    def environment() -> str:
        """Tell the environment."""
        return "OPENAI_API_KEY=my-own-key-7 HOME=/home/me"

    activities = ToolActivities(
        Registry([environment]), ToolContext(workspace=Path()), secrets=Secrets(("my-own-key-7",))
    )
    call = CallTool(call_id="call_1", name="environment", arguments="{}", timeout=5)
    answered = await ActivityEnvironment().run(activities.call_tool, call)
    assert answered.output == "OPENAI_API_KEY=*** HOME=/home/me"


# --- approvals ---------------------------------------------------------------------------------------------------

ASK = Approvals.model_validate([{"tool": "shout", "action": "ask"}])
DENY = Approvals.model_validate([{"tool": "shout", "arguments": {"text": "secret*"}, "action": "deny"}])
HELLO = '{"text": "hello"}'


def guarded(
    of_the_worker: Approvals | None, arguments: str = HELLO, **fields: Any
) -> "tuple[list[str], asyncio.Task[ToolResult]]":
    """A call on a worker with these rules, and what the tool has been called with."""
    ran: list[str] = []

    @tool(effect=Effect.ONCE)
    def shout(text: str = "secret by default") -> str:
        """Shout."""
        ran.append(text)
        return text.upper()

    activities = ToolActivities(Registry([shout]), ToolContext(workspace=Path("workspace")), approvals=of_the_worker)
    call = CallTool(call_id="call_1", name="shout", arguments=arguments, timeout=10, **fields)
    return ran, asyncio.ensure_future(Attempt().run(activities.call_tool, call))


@pytest.mark.parametrize(("of_the_worker", "of_the_run"), [(ASK, None), (None, ASK), (ASK, DENY)])
async def test_a_call_that_has_to_be_asked_about_does_not_run_without_an_approval(
    of_the_worker: Approvals | None, of_the_run: Approvals | None
) -> None:
    ran, answering = guarded(of_the_worker, approvals=of_the_run)
    result = await answering
    assert (result.outcome, result.decision and result.decision.action, ran) == (ToolOutcome.FAILED, Action.ASK, [])


async def test_an_approved_call_runs() -> None:
    ran, answering = guarded(ASK, approved=call_hash("shout", HELLO))
    assert ((await answering).output, ran) == ("HELLO", ["hello"])


@pytest.mark.parametrize("approvals", [None, ASK])
@pytest.mark.parametrize("approved", [call_hash("shout", '{"text": "hallo"}'), call_hash("whisper", HELLO), "", "x"])
async def test_only_the_call_that_was_approved_runs(approvals: Approvals | None, approved: str) -> None:
    ran, answering = guarded(approvals, approved=approved)
    result = await answering
    assert (result.outcome, ran) == (ToolOutcome.FAILED, [])
    assert "not the call that was approved" in result.output


@pytest.mark.parametrize("arguments", ['{"text": "secret"}', "{}", "", '{"text": null}'])
async def test_a_call_that_a_rule_denies_does_not_run_whatever_was_approved(arguments: str) -> None:
    """Defaults that the model has left out count as well."""
    ran, answering = guarded(DENY, arguments, approved=call_hash("shout", arguments))
    assert ((await answering).outcome, ran) == (ToolOutcome.FAILED, [])


async def test_a_call_that_is_not_the_denied_one_runs() -> None:
    ran, answering = guarded(DENY)
    assert ((await answering).output, ran) == ("HELLO", ["hello"])

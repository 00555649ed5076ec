"""Jobs that need something from their owner, over MCP: every kind of client is asked, and can answer."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.jobs.starting import job_id_for
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import FunctionCallOutput
from tests.mcp_server.conftest import Deployment
from tests.mcp_server.test_tasks import Following, ask, create
from tests.support.mcp_clients import LEGACY, MODERN, HttpServer, McpServer, Reply, Session

CALLS = "scenario:calls?iterations=3&tool=fetch_url&text=Done."
ASKS: dict[str, Any] = {"model": CALLS, "max_iterations": 1, "on_max_iterations": "ask"}
"""A job that asks, after its first response, for more iterations: it needs four."""

QUOTA = Answer(status=429, code="insufficient_quota", error_type="insufficient_quota", message="No credit is left.")


class User:
    """Answers the forms of a client, one after the other, and keeps them."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self.results = list(results)
        self.forms: list[ElicitRequestFormParams] = []

    async def __call__(
        self,
        context: ClientRequestContext,  # noqa: ARG002 the SDK's form
        params: ElicitRequestParams,
    ) -> ElicitResult:
        """As the SDK asks for it."""
        assert isinstance(params, ElicitRequestFormParams)
        self.forms.append(params)
        return ElicitResult.model_validate(self.results.pop(0))


def accept(answer: str | int) -> dict[str, Any]:
    return {"action": "accept", "content": {"answer": answer}}


async def waiting(session: Session, **arguments: Any) -> Reply:
    """A job that waits for its owner, as a poll shows it."""
    return await session.until(await session.start(**{**ASKS, **arguments}), "input_required")


# --- by tools ----------------------------------------------------------------------------------------------------


async def test_a_client_without_forms_reads_what_is_asked_and_answers_by_a_tool(server: McpServer) -> None:
    async with server.session() as session:
        asking = await waiting(session)
        [asked] = asking["input_requests"]
        [listed] = [job for job in (await session.call("gpt5_agent_list"))["jobs"] if job["job_id"] == asking["job_id"]]
        answered = await session.call(
            "gpt5_agent_respond", job_id=asking["job_id"], request_id=asked["id"], answer=4, by="Ada"
        )
        done = await session.ended(asking["job_id"])
        late = await session.call("gpt5_agent_respond", job_id=asking["job_id"], request_id=asked["id"], answer="stop")
    assert (asked["id"], asked["kind"], asked["limit"], asked["choices"]) == (
        "limit-1",
        "limit",
        "max_iterations",
        ["stop"],
    )
    step = f'gpt5_agent_respond with {{"job_id": "{asking["job_id"]}", "request_id": "limit-1"'
    assert all(step in said for said in (asking["next_step"], asking.text, asked["next_step"]))
    assert asked["message"] in asking.text
    assert (listed["status"], listed["input_requests"]) == ("input_required", [asked])
    assert answered["taken"] == "taken"
    assert (done["status"], done["output"], done["iterations"]) == ("completed", "Done.", 4)
    assert late["taken"] == "over"
    assert "limit-1 is already over: answered 4 by Ada." in late.text


async def test_a_call_that_waits_returns_at_once_what_nobody_can_be_asked_meanwhile(http: HttpServer) -> None:
    async with http.session() as session:
        reply = await session.call("gpt5_agent", task="Ask.", **ASKS)
        await session.cancel(reply["job_id"])
    assert (reply["status"], len(reply["input_requests"])) == ("input_required", 1)
    assert reply["progress"]["elapsed_s"] < 15


async def test_an_answer_that_is_none_is_refused_with_what_to_say_instead(http: HttpServer) -> None:
    async with http.session() as session:
        asking = await waiting(session)
        job_id = asking["job_id"]
        wrong = await session.call("gpt5_agent_respond", job_id=job_id, answer="many")
        unknown = await session.call("gpt5_agent_respond", job_id=job_id, request_id="limit-9", answer="4")
        nobody = await session.call("gpt5_agent_respond", job_id="agent-unknown", answer="4")
        await session.call("gpt5_agent_respond", job_id=job_id, answer="stop")
        done = await session.ended(job_id)
    assert (wrong.failed_as, unknown.failed_as) == ("invalid_arguments", "invalid_arguments")
    assert '"many" is not a new limit: send a whole number of iterations from 2 to 1000, or stop' in wrong.text
    assert "open at the moment: limit-1" in unknown.text
    assert nobody["error"] == "job_not_found"
    assert (done["status"], done["incomplete_reason"]) == ("incomplete", "max_iterations")


async def test_a_job_that_the_provider_refuses_waits_and_goes_on(http: HttpServer, deployment: Deployment) -> None:
    key = secrets.token_hex(8)
    fault = Fault(operation=Operation.CREATE, effect=QUOTA, skip=1, metadata={"workflow_id": job_id_for(key)})
    await deployment.emulator.control.add_fault(fault)
    async with http.session() as session:
        asking = await waiting(session, max_iterations=9, idempotency_key=key)
        [asked] = asking["input_requests"]
        await session.call("gpt5_agent_respond", job_id=asking["job_id"], answer="retry")
        done = await session.ended(asking["job_id"])
    assert (asked["kind"], asked["choices"]) == ("refusal", ["retry", "stop"])
    assert "No credit is left." in asked["message"]
    assert (done["status"], done["iterations"]) == ("completed", 4)
    assert len(await deployment.emulator.control.responses(workflow_id=asking["job_id"])) == 4


# --- approvals and questions -------------------------------------------------------------------------------------

ASKS_ITS_OWNER = (
    "scenario:calls?iterations=1&tool=ask_owner&text=Thanks."
    '&arguments={"question":"Which valve?","choices":["left","right"],"why":null}'
)
WRITES = 'scenario:calls?iterations=1&tool=write_file&text=Written.&arguments={"path":"%s","content":"wet"}'


async def outputs(deployment: Deployment, job_id: str) -> list[str]:
    """What the model was told in its last turn."""
    *_, last = await deployment.emulator.control.responses(workflow_id=job_id)
    async with ResponsesClient(deployment.emulator.base_url, None) as client:
        items = await client.input_items(last.id)
    return [item.text for item in items if isinstance(item, FunctionCallOutput)]


QUESTION_ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"action": "accept", "content": {"answer": "left"}}, "left"),
    ({"action": "accept", "content": {"answer": "left", "other": " Both. "}}, "Both."),
    ({"action": "decline"}, "The owner declines to answer."),
]


@pytest.mark.parametrize(("response", "told"), QUESTION_ANSWERS)
async def test_a_question_of_the_model_is_answered_in_a_form(
    http: HttpServer, deployment: Deployment, response: dict[str, Any], told: str
) -> None:
    user = User(response)
    async with http.session(mode=LEGACY, elicit=user) as session:
        done = await session.call("gpt5_agent", task="Ask.", model=ASKS_ITS_OWNER, allow_questions=True)
    [form] = user.forms
    assert form.message.startswith("Which valve?")
    assert form.requested_schema["properties"]["answer"]["enum"] == ["left", "right"]
    assert set(form.requested_schema["properties"]) == {"answer", "other"}
    assert done["output"] == "Thanks."
    assert await outputs(deployment, done["job_id"]) == [told]


APPROVALS: list[tuple[dict[str, Any], bool, str]] = [
    ({"action": "accept", "content": {"answer": "allow"}}, True, ""),
    ({"action": "accept", "content": {"answer": "deny", "words": "Not in autumn."}}, False, "Not in autumn."),
    ({"action": "decline"}, False, ""),
]


@pytest.mark.parametrize(("response", "written", "words"), APPROVALS)
async def test_a_call_that_needs_approval_runs_if_it_is_allowed_and_only_then(
    http: HttpServer, deployment: Deployment, response: dict[str, Any], written: bool, words: str
) -> None:
    path = f"{secrets.token_hex(4)}.txt"
    async with http.session(extensions=[Following()]) as session:
        asked = {"model": WRITES % path, "approvals": "ask", "enable_file_operations": True}
        task_id = (await create(session, task="Write.", **asked))["taskId"]
        [(key, form)] = (await task_when(session, task_id, asks))["inputRequests"].items()
        slip = {"action": "accept", "content": {"answer": "approve"}}
        await ask(session, "tasks/update", taskId=task_id, inputResponses={key: slip})
        task = await task_when(session, task_id, lambda task: asks(task) and key not in task["inputRequests"])
        [again] = task["inputRequests"]
        before = (deployment.root / path).exists()
        await ask(session, "tasks/update", taskId=task_id, inputResponses={again: response})
        await task_when(session, task_id, lambda task: task["status"] == "completed")
    assert path in form["params"]["message"]
    assert form["params"]["requestedSchema"]["properties"]["answer"]["enum"] == ["allow", "deny"]
    assert not before, "a slip of a client neither allows nor denies"
    assert (deployment.root / path).exists() is written
    assert all(words in told for told in await outputs(deployment, task_id))


async def test_an_approval_is_given_by_the_tool_too(http: HttpServer, deployment: Deployment) -> None:
    path = f"{secrets.token_hex(4)}.txt"
    async with http.session() as session:
        job = {"model": WRITES % path, "approvals": "ask", "enable_file_operations": True, "max_iterations": 5}
        asking = await waiting(session, **job)
        [asked] = asking["input_requests"]
        await session.call("gpt5_agent_respond", job_id=asking["job_id"], answer="allow", words="Go on.")
        await session.ended(asking["job_id"])
    assert (asked["kind"], asked["call"]["name"]) == ("approval", "write_file")
    assert path in asked["call"]["arguments"]
    assert (deployment.root / path).read_text() == "wet"


# --- as tasks ----------------------------------------------------------------------------------------------------


async def task_when(session: Session, task_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The task once it fulfils a condition."""
    while not condition(task := await ask(session, "tasks/get", taskId=task_id)):
        assert task["status"] in ("working", "input_required"), task
        await session.poll(task_id, wait_seconds=0.3)
    return task


def asks(task: dict[str, Any]) -> bool:
    return bool(task["status"] == "input_required")


async def test_a_task_asks_with_a_form_and_takes_its_answer(server: McpServer) -> None:
    async with server.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Ask.", **ASKS))["taskId"]
        task = await task_when(session, task_id, asks)
        again = await ask(session, "tasks/get", taskId=task_id)
        [key] = task["inputRequests"]
        acknowledged = await ask(session, "tasks/update", taskId=task_id, inputResponses={key: accept("4")})
        repeated = await ask(session, "tasks/update", taskId=task_id, inputResponses={key: accept("4")})
        done = await task_when(session, task_id, lambda task: task["status"] == "completed")
    form = task["inputRequests"][key]
    assert (form["method"], form["params"]["mode"]) == ("elicitation/create", "form")
    assert form["params"]["requestedSchema"] == {
        "type": "object",
        "properties": {"answer": {"type": "string", "title": "New total of iterations, or stop", "minLength": 1}},
        "required": ["answer"],
    }
    assert task["statusMessage"].startswith("input_required, iteration 1 of 1")
    assert again["inputRequests"] == task["inputRequests"]
    assert (acknowledged["resultType"], repeated["resultType"]) == ("complete", "complete")
    assert done["result"]["structuredContent"]["output"] == "Done."
    assert "inputRequests" not in done


WRONG: list[Any] = [accept("many"), accept(True), {"action": "accept"}, {"action": "?"}, "4"]


@pytest.mark.parametrize("response", WRONG, ids=str)
async def test_a_wrong_answer_to_a_task_is_acknowledged_and_asked_again_under_a_new_key(
    http: HttpServer, response: Any
) -> None:
    """A client that is refused an update cancels the task, and one that sees a key again shows no form."""
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Ask.", **ASKS))["taskId"]
        [first] = (await task_when(session, task_id, asks))["inputRequests"]
        acknowledged = await ask(session, "tasks/update", taskId=task_id, inputResponses={first: response})
        task = await task_when(session, task_id, lambda task: asks(task) and first not in task["inputRequests"])
        [(second, form)] = task["inputRequests"].items()
        await ask(session, "tasks/update", taskId=task_id, inputResponses={first: accept("many")})
        unmoved = await ask(session, "tasks/get", taskId=task_id)
        await ask(session, "tasks/update", taskId=task_id, inputResponses={second: accept(4)})
        done = await task_when(session, task_id, lambda task: task["status"] == "completed")
    assert acknowledged["resultType"] == "complete"
    assert "answer" in form["params"]["message"] or "is not a new limit" in form["params"]["message"]
    assert list(unmoved["inputRequests"]) == [second], "an old form that is answered again asks nothing anew"
    assert done["result"]["structuredContent"]["iterations"] == 4


async def test_a_form_that_is_declined_stops_and_one_that_is_put_away_stays_open(http: HttpServer) -> None:
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Ask.", **ASKS))["taskId"]
        task = await task_when(session, task_id, asks)
        [key] = task["inputRequests"]
        await ask(session, "tasks/update", taskId=task_id, inputResponses={key: {"action": "cancel"}})
        still = await ask(session, "tasks/get", taskId=task_id)
        await ask(session, "tasks/update", taskId=task_id, inputResponses={key: {"action": "decline"}, "unasked": {}})
        done = await task_when(session, task_id, lambda task: task["status"] == "completed")
    assert still["inputRequests"] == task["inputRequests"]
    assert done["result"]["structuredContent"]["incomplete_reason"] == "max_iterations"


async def test_what_another_door_has_answered_is_asked_of_no_task(http: HttpServer) -> None:
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Ask.", **ASKS))["taskId"]
        [key] = (await task_when(session, task_id, asks))["inputRequests"]
        await session.call("gpt5_agent_respond", job_id=task_id, answer="4")
        late = await ask(session, "tasks/update", taskId=task_id, inputResponses={key: accept("stop")})
        done = await task_when(session, task_id, lambda task: task["status"] == "completed")
    assert late["resultType"] == "complete"
    assert done["result"]["structuredContent"]["output"] == "Done."


# --- while a call waits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_client_that_shows_forms_is_asked_while_its_call_waits(server: McpServer, mode: str) -> None:
    """By a request of the server, or by an answer that has the call made again: the client's user sees the same."""
    user = User(accept("4"))
    async with server.session(mode=mode, elicit=user) as session:
        done = await session.call("gpt5_agent", task="Ask.", **ASKS)
    [form] = user.forms
    assert f"(limit-1 of job {done['job_id']})" in form.message
    assert (done["status"], done["output"]) == ("completed", "Done.")


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_user_whose_answer_is_none_is_asked_again(http: HttpServer, mode: str) -> None:
    user = User(accept("many"), {"action": "decline"}, accept("many"), accept("many"))
    async with http.session(mode=mode, elicit=user) as session:
        done = await session.call("gpt5_agent", task="Ask.", **ASKS)
    assert '"many" is not a new limit' in user.forms[1].message
    assert (done["status"], done["incomplete_reason"]) == ("incomplete", "max_iterations")


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_user_who_puts_the_form_away_can_answer_later(http: HttpServer, mode: str) -> None:
    user = User({"action": "cancel"})
    async with http.session(mode=mode, elicit=user) as session:
        reply = await session.call("gpt5_agent", task="Ask.", **ASKS)
        [asked] = reply["input_requests"]
        await session.call("gpt5_agent_respond", job_id=reply["job_id"], request_id=asked["id"], answer="4")
        done = await session.ended(reply["job_id"])
    assert len(user.forms) == 1
    assert (reply["status"], done["status"]) == ("input_required", "completed")

"""The budget of a run: nothing is created that may cost more than is left, and its owner is asked."""

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from durable_responses.activities.messages import OverBudget
from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.mcp_server.answers import answers_to
from durable_responses.pricing.rates import BudgetLine, Rates
from durable_responses.workflows.budgets import WRAP_UP, over_budget_message
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentState,
    Budget,
    ConversationChoice,
    InputRequest,
    InputRequestKind,
    Limit,
    TransportChoice,
)
from durable_responses.workflows.example_answers import example_answers, takes_text
from tests.support.ledgers import RATES
from tests.support.runs import Agents, asked, progress, reached, result_of
from tests.workflows.test_costs import TRANSPORTS

CALLS = 'calls?iterations=12&tool=add&arguments={"a":1,"b":2}'
IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)


def asks(budget: Any, scenario: str = CALLS, **fields: Any) -> AgentInput:
    return AgentInput.model_validate(
        {
            "task": "Do it.",
            "model": "gpt-5.4",
            "tools": ["add"],
            "prices": {"gpt-5.4": Rates.model_validate(RATES)},
            "max_iterations": 20,
            "metadata": {"scenario": scenario},
            "budget": budget,
            **fields,
        }
    )


def spent(result: AgentResult) -> float:
    assert result.cost is not None
    return result.cost.known


# --- by tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "of", "message"),
    [
        (
            OverBudget(line=BudgetLine.USD, least=0.21, most=1.3),
            (4.1, 5),
            "Spent 4.10 of 5.00 USD; the next response needs 0.21 USD at least, and may cost up to 1.30 USD.",
        ),
        (
            OverBudget(line=BudgetLine.TOKENS, least=1_500, most=1_500),
            (9_000, 10_000),
            "Spent 9,000 of 10,000 tokens; the next response may cost up to 1,500 tokens.",
        ),
        (OverBudget(line=BudgetLine.WORKING_SECONDS), (61.2, 60), "The run has worked for 61 of 60 seconds."),
        (
            OverBudget(line=BudgetLine.USD, why="nobody counts"),
            (0, 5),
            "Spent 0.00 of 5.00 USD; what the next response may cost is not known: nobody counts.",
        ),
    ],
)
def test_the_question_says_what_is_spent_and_what_would_be(
    over: OverBudget, of: tuple[float, float], message: str
) -> None:
    assert over_budget_message(over, *of) == message


@pytest.mark.parametrize("budget", [{}, {"warn_at": 0.5}, {"usd": 0}, {"tokens": -1}, {"usd": 1, "cents": 3}, True])
def test_a_budget_names_a_line_that_is_more_than_nothing(budget: Any) -> None:
    with pytest.raises(ValueError, match="budget"):
        asks(budget)


def test_a_number_is_a_budget_in_usd() -> None:
    assert asks(2.5).budget == Budget(usd=2.5)


@pytest.mark.parametrize("name", ["model", "max_output_tokens", "service_tier"])
def test_what_a_budget_counts_by_is_not_hidden_in_the_extra_body(name: str) -> None:
    with pytest.raises(ValueError, match=f"counts by {name}, which extra_body has"):
        asks(5, extra_body={name: 1})
    assert asks(None, extra_body={name: 1}).extra_body == {name: 1}


@pytest.mark.parametrize(
    ("limit", "choices", "examples", "is_text"),
    [
        (Limit.USD, ["stop"], ["10", "stop"], False),
        (Limit.TOKENS, ["stop"], ["2000", "stop"], False),
        (Limit.WORKING_SECONDS, ["stop"], ["120", "stop"], False),
        (None, ["allow", "stop"], ["allow", "stop"], False),
    ],
)
def test_the_answers_that_can_be_copied_are_twice_the_budget_and_the_choices(
    limit: Limit | None, choices: list[str], examples: list[str], is_text: bool
) -> None:
    request = InputRequest(
        id="budget-1",
        kind=InputRequestKind.BUDGET,
        message="m",
        choices=choices,
        limit=limit,
        opened_at=datetime.now(UTC),
    )
    state = AgentState(budget=Budget(usd=5, tokens=1000, working_seconds=60))
    assert (example_answers(request, state), takes_text(request)) == (examples, is_text)
    assert "text" not in answers_to(request)
    if limit is Limit.USD:  # twice the budget would not do
        needs = request.model_copy(update={"at_least": 7.5})
        assert example_answers(needs, state) == ["15", "stop"]


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("budget", [{"usd": 1.2}, {"tokens": 3_000}])
async def test_a_run_asks_before_it_creates_what_may_not_fit_and_goes_on_when_the_budget_is_raised(
    agents: Agents, transport: TransportChoice, budget: dict[str, Any]
) -> None:
    run = await agents.start(asks(budget, transport=transport))
    request = await asked(run)
    state = await progress(run)
    [(line, limit)] = budget.items()
    assert (request.kind, request.limit, state.status) == (InputRequestKind.BUDGET, line, "input_required")
    assert request.at_least is not None
    assert request.at_least > limit
    assert len(await agents.responses(run)) == state.iteration - 1
    assert state.cost is not None
    assert (state.cost.known if line == "usd" else state.usage.total_tokens) <= limit
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await run.execute_update("respond", {"id": request.id, "answer": limit})
    assert "more than" in str(refused.value.cause)
    await run.execute_update("respond", {"id": request.id, "answer": 100 * limit})
    result = await result_of(run)
    assert (result.status, result.iterations, result.requests[0].answer) == ("completed", 13, f"{100 * limit:g}")
    assert (await progress(run)).budget == Budget(**{line: 100 * limit})


@pytest.mark.parametrize("how", ["answered", "stop", "expired"])
async def test_a_run_whose_budget_is_not_raised_ends_with_what_it_has(agents: Agents, how: str) -> None:
    stops = {"on_exceeded": "stop"} if how == "stop" else {}
    run = await agents.start(asks({"usd": 1.2, **stops}, answer_within=1 if how == "expired" else None))
    if how == "answered":
        await run.execute_update("respond", {"answer": "stop", "id": (await asked(run)).id})
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == ("incomplete", "budget")
    assert result.error is not None
    assert (result.error.type, result.error.message[:6]) == ("budget_exceeded", "Spent ")
    assert 0 < spent(result) <= 1.2
    assert len(result.responses) == len(await agents.responses(run))


@pytest.mark.parametrize("conversation", [ConversationChoice.SERVER, ConversationChoice.FULL])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("usd", [1.3, 1.7, 2.3, 3.1])
async def test_no_run_costs_more_than_its_budget(
    agents: Agents, conversation: ConversationChoice, transport: TransportChoice, usd: float
) -> None:
    """However much the model would write: the output is bounded by what is left."""
    long = "write?words=3000&seconds=0" if usd == 1.7 else CALLS
    budget = {"usd": usd, "on_exceeded": "stop"}
    if conversation is ConversationChoice.FULL and transport is TransportChoice.BACKGROUND:
        pytest.skip("a response in the background is kept by the server")
    result = await result_of(await agents.start(asks(budget, long, transport=transport, conversation=conversation)))
    assert result.cost is not None
    assert result.responses
    assert result.cost.unknown == 0
    assert spent(result) <= usd


async def test_what_has_no_price_takes_what_was_set_aside_for_it_from_the_budget(agents: Agents) -> None:
    """Else a run whose responses nobody can price would never reach its budget."""
    window = {"background_options": {"completion_window": "8h"}}
    budget = {"usd": 5, "on_exceeded": "stop"}
    run = await agents.start(asks(budget, transport="background", max_output_tokens=1_024, extra_body=window))
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == ("incomplete", "budget")
    assert result.cost is not None
    assert (result.cost.unknown, 0 < len(result.responses) < 5) == (len(result.responses), True)


async def test_a_budget_that_is_not_reached_adds_no_event_to_history(agents: Agents) -> None:
    without, within = [await agents.start(asks(budget, transport="stream")) for budget in (None, 1000)]
    await result_of(without)
    await result_of(within)
    kinds = [[event.event_type async for event in run.fetch_history_events()] for run in (without, within)]
    assert sorted(kinds[0]) == sorted(kinds[1])


async def test_the_output_is_lowered_to_what_the_budget_bears_and_the_result_says_so(agents: Agents) -> None:
    run = await agents.start(asks({"usd": 3}, max_output_tokens=50_000))
    await reached(run, lambda state: state.iteration > 1)
    assert "max_output_tokens is lowered to what the budget bears" in (await progress(run)).request_changes
    await run.signal("cancel")
    await result_of(run)


async def test_the_model_is_told_once_to_finish_when_the_budget_is_nearly_spent(agents: Agents) -> None:
    run = await agents.start(asks({"usd": 1000, "tokens": 100_000, "warn_at": 0.01}))
    result = await result_of(run)
    steers = (await progress(run)).steers
    assert (result.status, [steer.text for steer in steers]) == ("completed", [WRAP_UP])
    assert steers[0].status == "next_input"


async def test_the_time_that_a_question_waits_is_not_worked(agents: Agents) -> None:
    budget = {"working_seconds": 0.5}
    run = await agents.start(asks(budget, "think?seconds=1", approvals="ask"))
    result = await result_of(run)
    assert result.status == "completed"  # the response under way ends first
    run = await agents.start(asks(budget, 'calls?iterations=3&think=1&tool=add&arguments={"a":1,"b":2}'))
    request = await asked(run)
    worked = (await progress(run)).worked_seconds
    assert (request.limit, worked >= 0.5) == ("working_seconds", True)
    await run.execute_update("respond", {"id": request.id, "answer": 1000})
    result = await result_of(run)
    assert (result.status, result.iterations) == ("completed", 4)


async def test_a_model_without_a_price_is_refused_by_name_before_anything_is_paid(agents: Agents) -> None:
    run = await agents.start(asks({"usd": 5}, prices=None))
    result = await result_of(run)
    assert (result.status, await agents.responses(run)) == ("failed", [])
    assert result.error is not None
    assert (result.error.type, result.error.message) == (
        "invalid_input",
        "budget.usd: gpt-5.4 has no price here; give its `prices`, or a budget of tokens instead",
    )


def with_an_image(budget: Any) -> AgentInput:
    content = [{"type": "input_text", "text": "Look."}, {"type": "input_image", "image_url": IMAGE, "detail": "low"}]
    return asks(budget, task=[{"role": "user", "content": content}])


async def test_an_image_is_counted_by_the_server(agents: Agents) -> None:
    result = await result_of(await agents.start(with_an_image({"usd": 50})))
    assert (result.status, result.requests) == ("completed", [])


async def test_where_nobody_counts_an_image_the_owner_is_asked(agents: Agents) -> None:
    await agents.emulator.control.add_fault(
        Fault(operation=Operation.COUNT, effect=Answer(status=404, message="Not found."))
    )
    run = await agents.start(with_an_image({"usd": 50}))
    request = await asked(run)
    assert (request.choices, request.limit) == (["allow", "stop"], None)
    assert "is not known" in request.message
    await run.execute_update("respond", {"id": request.id, "answer": "allow"})
    result = await result_of(run)
    assert (result.status, len(result.requests)) == ("completed", 1)  # what comes after it is counted with it


async def test_a_create_of_which_nobody_knows_counts_with_what_it_may_have_cost(agents: Agents) -> None:
    await agents.emulator.control.add_fault(
        Fault(operation=Operation.CREATE, effect=Answer(status=500, message="Gone wrong."), times=1)
    )
    result = await result_of(await agents.start(asks({"usd": 1000}, max_output_tokens=2_000)))
    assert result.cost is not None
    [ambiguous] = [entry for entry in result.responses if entry.status == "ambiguous"]
    assert ambiguous.at_most is not None
    assert 2 < ambiguous.at_most < 2.5
    assert result.cost.at_most == pytest.approx(result.cost.known + ambiguous.at_most)

"""Answers to an input request that one may copy: for whoever is shown it, with the command or the JSON around them."""

from durable_responses.workflows.contract import AgentState, InputRequest, InputRequestKind, Limit

SOME_TEXT = "…"
_MOST_CHOICES = 6
_MOST_ITERATIONS = 1000
_MORE_SECONDS = "600"


def takes_text(request: InputRequest) -> bool:
    """Whether any text answers it, and not only what it offers."""
    return request.kind in (InputRequestKind.APPROVAL, InputRequestKind.QUESTION)


def example_answers(request: InputRequest, state: AgentState) -> list[str]:
    """What answers it: its choices, a number where a limit is to be raised, `…` for words of one's own."""
    numbers = {
        Limit.MAX_ITERATIONS: str(min(max(state.max_iterations, state.iteration, 1) * 2, _MOST_ITERATIONS)),
        Limit.DEADLINE: _MORE_SECONDS,
        **{limit: f"{2 * max(total, request.at_least or 0):.12g}" for limit, total in _totals(state).items()},
    }
    examples = [numbers.get(request.limit, _MORE_SECONDS)] if request.limit else []
    if len(request.choices) <= _MOST_CHOICES:
        examples += request.choices
    return [*examples, SOME_TEXT] if takes_text(request) else examples


def _totals(state: AgentState) -> dict[Limit, float]:
    """What the run may cost, in each line of its budget."""
    lines = (Limit.USD, Limit.TOKENS, Limit.WORKING_SECONDS)
    totals = {line: getattr(state.budget, line.value, None) for line in lines}
    return {line: total for line, total in totals.items() if total is not None}

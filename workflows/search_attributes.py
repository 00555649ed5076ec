"""The search attributes of a run, by which lists of runs are filtered: in the Web UI, by `list --where`.

They are set only where the namespace has them: a workflow that sets one which is not registered is stuck. A run
knows that they are registered when it was started with them, or when a worker said so in the result of an activity.
Both are in history, so that a replay decides the same.
"""

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from durable_responses.workflows.contract import AgentInput, AgentState, AgentStatus

AGENT_STATUS = SearchAttributeKey.for_keyword("AgentStatus")
AGENT_MODEL = SearchAttributeKey.for_keyword("AgentModel")
AGENT_ITERATION = SearchAttributeKey.for_int("AgentIteration")
AGENT_TENANT = SearchAttributeKey.for_keyword("AgentTenant")

KEYS = (AGENT_STATUS, AGENT_MODEL, AGENT_ITERATION, AGENT_TENANT)

AGENT_COST = SearchAttributeKey.for_float("AgentCostUSD")
AGENT_WASTED = SearchAttributeKey.for_float("AgentWastedUSD")
COST_KEYS = (AGENT_COST, AGENT_WASTED)
"""Set at the end, where the namespace has room for them: one in an SQL store takes three such numbers in all."""

_NAMES = frozenset(key.name for key in (*KEYS, *COST_KEYS))
_CHANGE_VERSION = SearchAttributeKey.for_keyword_list("TemporalChangeVersion")
_LONGEST_KEYWORD = 255  # of Temporal's SQL stores
_PATCH = "search-attributes"
_GIVEN_UP_PATCH = "no-search-attributes"
_RARE_PATCH = "rare-search-attributes"
_COSTS_PATCH = "cost-search-attributes"
_WORTH_AN_EVENT = timedelta(seconds=5)  # since the last change: an event, an Action, and 5 ms of the server's CPU

SETTABLE = "search_attributes_are_settable"
"""The name of a function of the worker, without arguments: whether the namespace has ours at this moment."""
COSTS_SETTABLE = "cost_search_attributes_are_settable"
"""The same for those of the costs."""


def search_attributes_of(request: AgentInput, state: AgentState) -> TypedSearchAttributes:
    """The search attributes of a run in this state. The model is the one that was asked for, if one was."""
    # The first iteration counts once its response is there: so each one costs one event.
    iteration = 0 if state.status is AgentStatus.QUEUED else state.iteration
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(AGENT_STATUS, state.status.value),
        SearchAttributePair(AGENT_ITERATION, iteration),
    ]
    keywords = {AGENT_MODEL: request.model or state.model, AGENT_TENANT: request.tenant}
    pairs += [SearchAttributePair(key, value[:_LONGEST_KEYWORD]) for key, value in keywords.items() if value]
    return TypedSearchAttributes(pairs)


def is_worth_showing(changed: set[str], since: timedelta | None) -> bool:
    """Whether these attributes are to be set now, this long after the last time; None for the first time.

    The iteration alone can wait: a run of quick iterations would set it several times a second. Its last value is
    shown with the next status, and so at the end.
    """
    return changed != {AGENT_ITERATION.name} or since is None or since >= _WORTH_AN_EVENT


class ShownSearchAttributes:
    """What one run shows of itself. Part of the workflow.

    An operator may remove them, or register them with another type, while the run is under way. Then the server would
    refuse each workflow task that sets them, for ever. The worker knows (`SETTABLE`), and the decision to go on without
    them is a patch: a marker in history, for the first change that was not shown.
    """

    def __init__(self) -> None:
        self._given_up = False
        self._changes = 0
        self._shown_at: datetime | None = None
        self._looked_at: tuple[object, ...] = ()
        self._is_put_off = False

    def show(self, request: AgentInput, state: AgentState, *, registered: bool) -> None:
        """Set what has changed. `registered`: whether a worker has said so."""
        # Asked for at every change of the run, of which few change anything here.
        looks_at = (state.status, state.iteration, request.model or state.model, request.tenant)
        if self._given_up or (looks_at == self._looked_at and not self._may_be_due()):
            return
        shown = workflow.info().typed_search_attributes
        if not registered and shown.get(AGENT_STATUS) is None:
            return
        changes = _changes(shown, search_attributes_of(request, state))
        self._looked_at, self._is_put_off = looks_at, bool(changes) and not self._is_time_for(changes)
        if not changes or self._is_put_off:
            return
        self._changes += 1
        self._given_up = self._is_to_be_given_up()
        if not self._given_up:
            workflow.upsert_search_attributes([*changes, *_costs(state)])
            self._shown_at = workflow.now()

    def _may_be_due(self) -> bool:
        return self._is_put_off and (self._shown_at is None or workflow.now() - self._shown_at >= _WORTH_AN_EVENT)

    def _is_time_for(self, changes: list[SearchAttributeUpdate[Any]]) -> bool:
        if workflow.patched(_RARE_PATCH):
            since = workflow.now() - self._shown_at if self._shown_at else None
            return is_worth_showing({change.key.name for change in changes}, since)
        # Runs that were started before each of these existed, or by an older worker, would not replay without it.
        return workflow.patched(_PATCH)

    def _is_to_be_given_up(self) -> bool:
        if not workflow.unsafe.is_replaying() and _are_settable():
            return False
        return workflow.patched(f"{_GIVEN_UP_PATCH}-{self._changes}")


def attributes_to_carry() -> TypedSearchAttributes | None:
    """The search attributes of the next history, where they are not to be those of this one.

    The server refuses to continue a run as new with an attribute that was removed, again and again. An empty
    collection would mean all of them, so there is always one: the SDK's own.
    """
    if _are_settable():
        return None
    others = [pair for pair in workflow.info().typed_search_attributes if pair.key.name not in _NAMES]
    return TypedSearchAttributes(others or [SearchAttributePair(_CHANGE_VERSION, [_GIVEN_UP_PATCH])])


def _are_settable() -> bool:
    settable: bool = workflow.extern_functions().get(SETTABLE, _always)()
    return settable


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _costs(state: AgentState) -> list[SearchAttributeUpdate[Any]]:
    """What the run has cost, as far as it is known, once it has ended. A run without prices shows none."""
    cost = state.cost
    if not state.status.is_final or cost is None or (cost.unknown and not cost.known):
        return []
    settable = workflow.extern_functions().get(COSTS_SETTABLE, _never)
    if not workflow.unsafe.is_replaying() and not settable():
        return []
    # The marker in history says that they were set: other workers may find them removed.
    if not workflow.patched(_COSTS_PATCH):
        return []
    return [AGENT_COST.value_set(cost.known), AGENT_WASTED.value_set(cost.wasted)]


def _changes(shown: TypedSearchAttributes, wanted: TypedSearchAttributes) -> list[SearchAttributeUpdate[Any]]:
    return [pair.key.value_set(pair.value) for pair in wanted if shown.get(pair.key) != pair.value]

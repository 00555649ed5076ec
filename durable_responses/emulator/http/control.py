"""The endpoints that control the emulator itself. They need no key and are not part of the API.

| endpoint                  | body or answer                                                              |
|---------------------------|-----------------------------------------------------------------------------|
| GET /control/billing      | answers a `Bill`; `?workflow_id=…` (any metadata keys) narrows it           |
| POST /control/scenarios   | a `Scenario`                                                                |
| POST /control/faults      | a `Fault`; DELETE removes all of them                                       |
| POST /control/clock       | an `Advance`                                                                |
| POST /control/context_window | a `ContextWindow`; the newest one that matches counts                    |
| POST /control/reset       | forgets responses, counts, scenarios, faults and windows                    |
"""

from collections.abc import Awaitable, Callable

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpAnswer
from starlette.routing import Route

from durable_responses.emulator.faults import Fault
from durable_responses.emulator.http.asgi_answers import error_answer, json_answer
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Scripted
from durable_responses.emulator.objects.api_errors import ApiError
from durable_responses.emulator.objects.request_bodies import parse
from durable_responses.emulator.state.journal import (
    ClockAdvanced,
    ContextWindowSet,
    FaultQueued,
    FaultsCleared,
    ScenarioRegistered,
)
from durable_responses.emulator.state.memory import State


class Advance(Scripted):
    """Push the clock forward by `seconds`."""

    seconds: float = Field(ge=0)


class ContextWindow(Scripted):
    """The models whose names match `model` (`*` stands for anything) have room for `tokens`, null for any number."""

    model: str = "*"
    tokens: int | None = Field(ge=1)


def control_routes(state: State) -> list[Route]:
    """The routes of the table above."""

    async def billing(request: Request) -> HttpAnswer:
        return json_answer(state.bill(dict(request.query_params)).model_dump_json().encode())

    async def add_scenario(request: Request) -> HttpAnswer:
        state.record(ScenarioRegistered(scenario=parse(Scenario, await request.body())))
        return HttpAnswer(status_code=204)

    async def add_fault(request: Request) -> HttpAnswer:
        state.record(FaultQueued(fault=parse(Fault, await request.body())))
        return HttpAnswer(status_code=204)

    async def clear_faults(_: Request) -> HttpAnswer:
        state.record(FaultsCleared())
        return HttpAnswer(status_code=204)

    async def advance(request: Request) -> HttpAnswer:
        state.record(ClockAdvanced(seconds=parse(Advance, await request.body()).seconds))
        return HttpAnswer(status_code=204)

    async def set_context_window(request: Request) -> HttpAnswer:
        window = parse(ContextWindow, await request.body())
        state.record(ContextWindowSet(model=window.model, tokens=window.tokens))
        return HttpAnswer(status_code=204)

    async def reset(_: Request) -> HttpAnswer:
        state.reset()
        return HttpAnswer(status_code=204)

    return [
        _route("/control/billing", billing, "GET"),
        _route("/control/scenarios", add_scenario, "POST"),
        _route("/control/faults", add_fault, "POST"),
        _route("/control/faults", clear_faults, "DELETE"),
        _route("/control/clock", advance, "POST"),
        _route("/control/context_window", set_context_window, "POST"),
        _route("/control/reset", reset, "POST"),
    ]


def _route(path: str, endpoint: Callable[[Request], Awaitable[HttpAnswer]], method: str) -> Route:
    async def answer(request: Request) -> HttpAnswer:
        try:
            return await endpoint(request)
        except ApiError as error:
            return error_answer(error)

    return Route(path, answer, methods=[method])

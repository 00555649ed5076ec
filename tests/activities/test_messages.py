"""What travels through history: plain models, read the same by every worker and in every replay."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import Enum
from types import ModuleType
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field, PrivateAttr
from pydantic_core import PydanticUndefined
from temporalio.activity import _Definition

from durable_responses import activities
from durable_responses.activities import messages
from durable_responses.activities.messages import (
    TRANSPORT_OF_ACTIVITY,
    ActivityName,
    AwaitResponse,
    CreatePhase,
    CreateResponse,
    FailureType,
    HeartbeatDetails,
    ModelOptions,
    failure_of_lost_create,
)
from durable_responses.responses_api import models
from durable_responses.workflows import contract, ledger

MODULES = [messages, models, contract, ledger]
CONSTRUCTORS = {list, dict, set, tuple, str, int, float}


def models_of(module: ModuleType) -> list[type[BaseModel]]:
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if issubclass(item, BaseModel)]
    return [model for model in classes if model.__module__ == module.__name__]


MODELS = [model for module in MODULES for model in models_of(module)]


def computed_defaults(model: type[BaseModel]) -> Iterator[str]:
    """The fields whose default is made at run time, or depends on the machine that imported the model."""
    fields: dict[str, Any] = {**model.model_fields, **model.__private_attributes__}
    for name, field in fields.items():
        factory = field.default_factory
        is_plain = factory in CONSTRUCTORS or (inspect.isclass(factory) and issubclass(factory, BaseModel))
        if (factory is not None and not is_plain) or not _is_plain(field.default):
            yield name


def _is_plain(default: Any) -> bool:
    if isinstance(default, list | tuple | dict):
        return not default
    return default in (None, PydanticUndefined) or isinstance(default, str | int | float | Enum | BaseModel)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_model_in_history_has_no_computed_default(model: type[BaseModel]) -> None:
    """The models are passed through the workflow sandbox, which would not notice: a replay would read another value."""
    assert list(computed_defaults(model)) == []


def test_a_computed_default_would_be_noticed() -> None:
    class Careless(BaseModel):
        id: str = Field(default_factory=lambda: uuid4().hex)
        at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
        fine: list[str] = []
        _seen: datetime = PrivateAttr(default_factory=lambda: datetime.now(UTC))

    assert list(computed_defaults(Careless)) == ["id", "at", "_seen"]


# --- activities --------------------------------------------------------------------------------------------------


def every_activity() -> Iterator[Callable[..., Any]]:
    for found in pkgutil.iter_modules(activities.__path__, "durable_responses.activities."):
        module = importlib.import_module(found.name)
        for _, group in inspect.getmembers(module, inspect.isclass):
            if group.__module__ == module.__name__:
                methods = [method for _, method in inspect.getmembers(group, inspect.isfunction)]
                yield from (method for method in methods if _Definition.from_callable(method) is not None)


ACTIVITIES = list(every_activity())


def test_the_table_of_names_holds_every_activity_and_no_other() -> None:
    """Telemetry and the readers of history know them by it."""
    assert {_Definition.must_from_callable(method).name for method in ACTIVITIES} == set(ActivityName)


def test_the_activities_that_create_a_response_are_those_with_a_transport() -> None:
    creating = {method.__name__ for method in ACTIVITIES if CreateResponse in get_type_hints(method).values()}
    assert creating == set(TRANSPORT_OF_ACTIVITY)


@pytest.mark.parametrize("method", ACTIVITIES, ids=lambda method: method.__name__)
def test_the_first_parameter_of_an_activity_method_is_called_self(method: Callable[..., Any]) -> None:
    """The SDK knows a method by that name; under another it would be given dicts."""
    assert next(iter(inspect.signature(method).parameters)) == "self"


@pytest.mark.parametrize("method", ACTIVITIES, ids=lambda method: method.__name__)
def test_an_activity_takes_one_message_and_answers_with_one(method: Callable[..., Any]) -> None:
    """Nothing travels as a bare dict, and a message can grow by a field."""
    hints = get_type_hints(method)
    answer = hints.pop("return")
    assert len(hints) == 1
    assert all(issubclass(kind, BaseModel) for kind in (*hints.values(), answer))


# --- bytes -------------------------------------------------------------------------------------------------------


def test_what_a_message_does_not_say_costs_no_bytes() -> None:
    assert HeartbeatDetails(phase=CreatePhase.POSTING).model_dump_json() == '{"phase":"posting"}'


def test_a_message_is_read_back_as_it_was() -> None:
    message = AwaitResponse(response_id="resp_1", created_at=datetime(2026, 1, 1, tzinfo=UTC), live_preview=True)
    assert AwaitResponse.model_validate_json(message.model_dump_json()) == message


def test_a_message_of_an_older_version_is_read_with_the_defaults_of_this_one() -> None:
    """Models only ever widen."""
    oldest = '{"options": {}, "iteration": 1}'
    assert CreateResponse.model_validate_json(oldest) == CreateResponse(options=ModelOptions(), iteration=1)


# --- the loss of a worker in the middle of a create --------------------------------------------------------------


@pytest.mark.parametrize(
    ("heartbeat", "failure"),
    [
        (None, FailureType.CREATE_AMBIGUOUS),
        (HeartbeatDetails(), FailureType.CREATE_AMBIGUOUS),
        (HeartbeatDetails(phase=CreatePhase.POSTING), FailureType.CREATE_AMBIGUOUS),
        (HeartbeatDetails(phase=CreatePhase.REJECTED), FailureType.TRY_LATER),
        (HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1"), FailureType.TURN_INTERRUPTED),
    ],
)
def test_its_last_heartbeat_tells_whether_it_may_be_sent_again(
    heartbeat: HeartbeatDetails | None, failure: FailureType
) -> None:
    """W23, A27: what may have been sent is not sent again, what has an id is read by it."""
    assert failure_of_lost_create(heartbeat) is failure

"""Registering our search attributes in a namespace."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.workflows.search_attributes import COST_KEYS, KEYS

logger = logging.getLogger(__name__)

Key = SearchAttributeKey[str] | SearchAttributeKey[int] | SearchAttributeKey[float]

_SHORTLY = timedelta(seconds=5)
_LET_IT_SPREAD = 20.0  # seconds: each host of a server keeps what it knows of a namespace for a while
_CONDITIONS = {"Keyword": '{name} = "-"', "Int": "{name} = 0", "Double": "{name} = 0.5"}
_NOT_FOR_US = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


@dataclass(frozen=True)
class Registrations:
    """What a namespace lacks: ours that it does not have, and ours that have another type there, by name.

    `has_costs`: whether it has those of the costs, too, which a run can do without.
    """

    missing: Sequence[str] = ()
    retyped: Mapping[str, str] = field(default_factory=dict)
    has_costs: bool = False

    @property
    def are_complete(self) -> bool:
        """Whether runs may set all of them."""
        return not self.missing and not self.retyped


async def look_up(client: Client) -> Registrations:
    """How the namespace has ours. Raises `RPCError` if the server does not answer."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        answer = await client.operator_service.list_search_attributes(request, timeout=_SHORTLY)
    except RPCError as error:
        if error.status in _NOT_FOR_US:
            return await _look_up_by_listing(client)
        raise
    there = answer.custom_attributes
    return Registrations(
        missing=[key.name for key in KEYS if key.name not in there],
        retyped={
            key.name: type_name(there[key.name])
            for key in KEYS
            if key.name in there and there[key.name] != int(key.indexed_value_type)
        },
        has_costs=all(there.get(key.name) == int(key.indexed_value_type) for key in COST_KEYS),
    )


async def _look_up_by_listing(client: Client) -> Registrations:
    # A listing needs no more permissions than lists of runs; it is refused if it names something unknown.
    missing = []
    for key in KEYS:
        try:
            query = _CONDITIONS[type_of(key)].format(name=key.name)
            await client.count_workflows(query, rpc_timeout=_SHORTLY)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            missing.append(key.name)
    return Registrations(missing=missing, has_costs=await are_registered(client, COST_KEYS))


async def are_registered(client: Client, keys: Sequence[Key] = KEYS) -> bool:
    """Whether lists of runs may name all of them by now. Raises `RPCError` if the server does not answer."""
    query = " AND ".join(_CONDITIONS[type_of(key)].format(name=key.name) for key in keys)
    try:
        await client.count_workflows(query, rpc_timeout=_SHORTLY)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


async def registered(client: Client) -> "AttributeWatch":
    """Register what the namespace lacks of all of ours. That it lacks nothing, as usual, is found by one call."""
    with contextlib.suppress(RPCError):
        if await are_registered(client, (*KEYS, *COST_KEYS)):
            return AttributeWatch(settable=True, costs_settable=True)
    settable = await register(client)
    return AttributeWatch(settable=settable, costs_settable=settable and await register_costs(client))


async def register(client: Client) -> bool:
    """Register our search attributes if that is allowed; False, with one line in the log, if not."""
    try:
        await _register(client, KEYS)
    except (RPCError, TimeoutError) as error:
        logger.info("Runs have no search attributes: they could not be registered (%s).", error or "not yet in force")
        return False
    return True


async def register_costs(client: Client) -> bool:
    """The same for those of the costs, which a namespace may have no room for."""
    try:
        await _register(client, COST_KEYS)
    except (RPCError, TimeoutError) as error:
        logger.info("Runs cannot be listed by what they cost: the search attributes were refused (%s).", error)
        return False
    return True


async def _register(client: Client, keys: Sequence[Key]) -> None:
    if await are_registered(client, keys):
        return
    request = AddSearchAttributesRequest(
        namespace=client.namespace,
        search_attributes={key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in keys},
    )
    await client.operator_service.add_search_attributes(request, timeout=_SHORTLY)
    async with asyncio.timeout(_LET_IT_SPREAD):
        while not await are_registered(client, keys):  # noqa: ASYNC110 the server has no event for it
            await asyncio.sleep(0.1)


def says_unregistered(error: RPCError) -> bool:
    """Whether a start was refused because the namespace does not have them."""
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower()


class AttributeWatch:
    """Whether the namespace has our search attributes now, as a worker last saw it."""

    def __init__(self, *, settable: bool, costs_settable: bool = False) -> None:
        self._settable = settable
        self._costs_settable = costs_settable

    @property
    def costs_settable(self) -> bool:
        """Whether runs may set what they have cost."""
        return self._costs_settable

    @property
    def settable(self) -> bool:
        """Whether runs may set them."""
        return self._settable

    async def run(self, client: Client, *, every: float = 5.0) -> None:
        """Look again every few seconds, until cancelled. While the server does not answer, nothing changes."""
        while True:
            await asyncio.sleep(every)
            try:
                found = await look_up(client)
            except RPCError as error:
                logger.debug("Whether there are search attributes is not known: %s", error)
                continue
            settable, self._costs_settable = found.are_complete, found.has_costs
            if self._settable and not settable:
                logger.warning("Runs continue without search attributes: they were removed, or have another type.")
            self._settable = settable


def type_name(kind: IndexedValueType.ValueType) -> str:
    """The name of a type as the CLI writes it."""
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").title().replace("_L", "L")


def type_of(key: Key) -> str:
    """The type's name, as `temporal operator search-attribute create --type` takes it."""
    return {int: "Int", float: "Double"}.get(key.origin_value_type, "Keyword")

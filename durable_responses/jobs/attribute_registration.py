"""Registering our search attributes in a namespace."""

import asyncio
import logging
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.workflows.search_attributes import KEYS

logger = logging.getLogger(__name__)

_SHORTLY = timedelta(seconds=5)
_LET_IT_SPREAD = 20.0  # seconds: each host of a server keeps what it knows of a namespace for a while
_CONDITIONS = {"Keyword": '{name} = "-"', "Int": "{name} = 0"}


async def are_registered(client: Client) -> bool:
    """Whether the namespace has all of them, with their types. Raises `RPCError` if the server does not answer."""
    # A listing needs no more permissions than lists of runs; it is refused if it names something unknown.
    query = " AND ".join(_CONDITIONS[type_of(key)].format(name=key.name) for key in KEYS)
    try:
        await client.count_workflows(query, rpc_timeout=_SHORTLY)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


async def register(client: Client) -> bool:
    """Register our search attributes if that is allowed; False, with one line in the log, if not."""
    try:
        if await are_registered(client):
            return True
        request = AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in KEYS},
        )
        await client.operator_service.add_search_attributes(request, timeout=_SHORTLY)
        async with asyncio.timeout(_LET_IT_SPREAD):
            while not await are_registered(client):  # noqa: ASYNC110 the server has no event for it
                await asyncio.sleep(0.1)
    except (RPCError, TimeoutError) as error:
        logger.info("Runs have no search attributes: they could not be registered (%s).", error or "not yet in force")
        return False
    return True


def says_unregistered(error: RPCError) -> bool:
    """Whether a start was refused because the namespace does not have them."""
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower()


def type_of(key: "SearchAttributeKey[str] | SearchAttributeKey[int]") -> str:
    """The type's name, as `temporal operator search-attribute create --type` takes it."""
    return "Int" if key.origin_value_type is int else "Keyword"

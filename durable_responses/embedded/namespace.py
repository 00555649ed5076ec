"""Creating the namespace of the runs, and setting its retention."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

_KNOWN_EVERYWHERE = 30.0  # seconds until every part of a server knows a new namespace


async def ensure_namespace(client: Client, retention: timedelta) -> None:
    """Set how long the client's namespace keeps finished runs; create it if it does not exist. Raises `RPCError`."""
    keep = Duration()
    keep.FromTimedelta(retention)
    give_up = asyncio.get_running_loop().time() + _KNOWN_EVERYWHERE
    while not await _updated(client, keep) and not await _created(client, keep):
        # It exists, but the part of the server that updates does not know it yet.
        if asyncio.get_running_loop().time() > give_up:
            raise RPCError(f"Namespace {client.namespace} cannot be updated.", RPCStatusCode.NOT_FOUND, b"")
        await asyncio.sleep(0.5)


async def _updated(client: Client, keep: Duration) -> bool:
    """Set the retention; False if there is no such namespace."""
    config = NamespaceConfig(workflow_execution_retention_ttl=keep)
    request = UpdateNamespaceRequest(namespace=client.namespace, config=config)
    return await _done(client.workflow_service.update_namespace(request), unless=RPCStatusCode.NOT_FOUND)


async def _created(client: Client, keep: Duration) -> bool:
    """Create the namespace; False if it exists already."""
    request = RegisterNamespaceRequest(namespace=client.namespace, workflow_execution_retention_period=keep)
    return await _done(client.workflow_service.register_namespace(request), unless=RPCStatusCode.ALREADY_EXISTS)


async def _done(call: Awaitable[object], *, unless: RPCStatusCode) -> bool:
    """Whether the server did it; False if it refused for this one reason. Raises `RPCError` for any other."""
    try:
        await call
    except RPCError as error:
        if error.status is not unless:
            raise
        return False
    return True

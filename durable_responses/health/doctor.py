"""`durable-responses doctor`: check everything that agents need, in the order in which one would fix things."""

import asyncio

from temporalio.client import Client
from temporalio.service import RPCError

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.health.checks import Check, Report, note, ok, problem
from durable_responses.health.disk import check_disk, check_workspace
from durable_responses.health.provider import check_provider
from durable_responses.health.temporal import (
    check_clock,
    check_namespace,
    check_queue,
    check_server,
    server_is_ahead_by,
)
from durable_responses.jobs.attribute_registration import are_registered, type_of
from durable_responses.settings import Settings
from durable_responses.workflows.contract import TaskQueue
from durable_responses.workflows.search_attributes import KEYS


async def examine(settings: Settings) -> Report:
    """Run all checks. Takes a few seconds at most. Raises `SettingsError` if Temporal's settings are wrong."""
    about_temporal, about_provider = await asyncio.gather(_temporal(settings), check_provider(settings))
    return Report(checks=[*about_temporal, *about_provider, check_workspace(settings), *check_disk(settings)])


async def _temporal(settings: Settings) -> list[Check]:
    try:
        client = await connect(settings)
    except TemporalUnreachable as error:
        found, _, cure = str(error).partition(": ")
        return [problem("temporal", found, cure.rstrip("."))]
    server = await check_server(client)
    namespace = await check_namespace(client)
    if not Report(checks=[server, namespace]).is_well:
        return [server, namespace]
    ahead = await server_is_ahead_by(client)
    queues = [check_queue(client, queue, settings.task_queue, ahead) for queue in TaskQueue]
    return [server, namespace, *await asyncio.gather(check_search_attributes(client), *queues, check_clock(client))]


async def check_search_attributes(client: Client) -> Check:
    """Whether runs can be found by status, model, iteration and tenant."""
    commands = " ".join(f"--name {key.name} --type {type_of(key)}" for key in KEYS)
    cure = f"to list runs by them: temporal operator search-attribute create --namespace {client.namespace} {commands}"
    try:
        there = await are_registered(client)
    except RPCError as error:
        return note("search attributes", f"cannot be listed: {error.message}", cure)
    names = ", ".join(key.name for key in KEYS)
    return (
        ok("search attributes", names)
        if there
        else note("search attributes", f"not all of {names} are registered", cure)
    )

"""`durable-responses doctor`: check everything that agents need, in the order in which one would fix things."""

import asyncio
from collections.abc import Callable, Sequence

from temporalio.client import Client
from temporalio.service import RPCError

from durable_responses.capabilities import Capabilities
from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.health.capabilities import check_deeply, notice, summary
from durable_responses.health.checks import Check, Report, note, ok, problem
from durable_responses.health.disk import check_disk, check_workspace
from durable_responses.health.in_force import check_names, check_project
from durable_responses.health.provider import check_provider
from durable_responses.health.temporal import (
    check_clock,
    check_input_requests,
    check_namespace,
    check_project_of_stack,
    check_queue,
    check_server,
)
from durable_responses.jobs.attribute_registration import Key, look_up, type_of
from durable_responses.jobs.server_clock import server_is_ahead_by
from durable_responses.projects import projects_of_stack, task_queue_of
from durable_responses.provider import ProviderMissing, find_provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import TaskQueue
from durable_responses.workflows.search_attributes import KEYS


async def examine(settings: Settings, announce: Callable[[str], None] | None = None) -> Report:
    """Run all checks. Takes a few seconds at most. Raises `SettingsError` if Temporal's settings are wrong.

    With `announce` the provider is also asked for all that it can do, which costs a little and may take minutes:
    `announce` is told so before anything is sent.
    """
    about_temporal, about_provider = await asyncio.gather(_temporal(settings), check_provider(settings))
    checks = [*about_temporal, *about_provider, *await _capabilities(settings, announce)]
    checks = [*checks, *check_names(), check_project(settings), check_workspace(settings), *check_disk(settings)]
    return Report(checks=checks)


async def _capabilities(settings: Settings, announce: Callable[[str], None] | None) -> list[Check]:
    try:
        provider = find_provider(settings)
    except ProviderMissing:
        return []
    if announce is None:
        return [summary(Capabilities(provider.base_url, settings.state_folder))]
    announce(notice(provider))
    return await check_deeply(settings, provider)


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
    queues = [check_queue(client, queue, task_queue_of(settings), ahead) for queue in TaskQueue]
    others = [check_project_of_stack(client, *each, ahead) for each in projects_of_stack(settings)]
    waiting = check_input_requests(client, task_queue_of(settings))
    more = [check_search_attributes(client), waiting, *queues, *others, check_clock(client)]
    return [server, namespace, *await asyncio.gather(*more)]


async def check_search_attributes(client: Client) -> Check:
    """Whether runs can be found by status, model, iteration and tenant; names those that are missing or unusable."""
    try:
        found = await look_up(client)
    except RPCError as error:
        return note("search attributes", f"cannot be listed: {error.message}", _creating(client, KEYS))
    if found.are_complete:
        return ok("search attributes", ", ".join(key.name for key in KEYS))
    said = [f"{name} is not registered" for name in found.missing]
    said += [f"{name} is registered as {kind}" for name, kind in found.retyped.items()]
    cure = _creating(client, [key for key in KEYS if key.name in {*found.missing, *found.retyped}])
    if found.retyped:
        names = " ".join(f"--name {name}" for name in found.retyped)
        cure += f"; before that, temporal operator search-attribute remove --namespace {client.namespace} {names}"
    return note("search attributes", "; ".join(said), cure)


def _creating(client: Client, keys: Sequence[Key]) -> str:
    commands = " ".join(f"--name {key.name} --type {type_of(key)}" for key in keys)
    return f"to list runs by them: temporal operator search-attribute create --namespace {client.namespace} {commands}"

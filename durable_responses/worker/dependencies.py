"""The dependencies of a worker, built once and closed at its end: clients, tools, slots and activities."""

import secrets
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from temporalio.client import Client

from durable_responses.activities.admission import AdmissionSlots, IdFile, ResponsesInFlight
from durable_responses.activities.artifacts import ArtifactActivities, OutputFolders
from durable_responses.activities.budgets import Reserving
from durable_responses.activities.claims import Claims
from durable_responses.activities.compaction import CompactionActivities
from durable_responses.activities.conversations import (
    FOLDER,
    ConversationActivities,
    ConversationFiles,
    Conversations,
    RememberedConversations,
)
from durable_responses.activities.eager_start import EagerStart, RunQueueSlots
from durable_responses.activities.made_files import MadeFilesActivities
from durable_responses.activities.polling import Cadence, GetBudget
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.responses import ResponsesActivities
from durable_responses.activities.till import TenantBudgetActivities, Tills
from durable_responses.activities.tool_lists import ToolListActivities
from durable_responses.activities.tools import ToolActivities
from durable_responses.activities.websocket import CoolDown, RunSockets, WebSocketActivities
from durable_responses.capabilities import Capabilities
from durable_responses.mcp_tools.sessions import Sessions, Surroundings
from durable_responses.pricing.costs import Prices
from durable_responses.provider import NO_KEY, Provider, ProviderKind
from durable_responses.responses_api.client import CREATE_TIMEOUT, SILENCE_LIMIT, ResponsesClient
from durable_responses.responses_api.handshake import ConnectOptions, RequestOverrides, responses_url
from durable_responses.responses_api.redaction import Secrets
from durable_responses.responses_api.websocket_pool import WebSocketPool
from durable_responses.settings import Settings
from durable_responses.sizes import MEBIBYTE
from durable_responses.tools.loops import ToolLoops
from durable_responses.tools.registry import ToolContext
from durable_responses.worker.offered_tools import offered_tools
from durable_responses.worker.queue_watch import QueueWatch
from durable_responses.workflows.contract import TaskQueue

# On the queue of a worker's own sockets, beside as many turns as there may be responses in flight.
ROOM_FOR_TEXTS = 50
# On the queue of the runs, beside creates and function calls: those that must never wait, such as a cancel.
ROOM_FOR_SHORT_ONES = 100


@dataclass(frozen=True)
class ShutdownTimeouts:
    """How long a worker lets its work finish at its shutdown.

    `polls`: polls for another create. Under load each brings one sooner; without load none comes at that
    moment. `creates`: a POST takes 30 s at most, unless it brings the whole answer; cut off earlier, the provider would
    finish it anyway. `tools`: function calls, and the short activities on the queue of workflows.
    """

    polls: timedelta = timedelta(seconds=2)
    creates: timedelta = timedelta(seconds=35)
    tools: timedelta = timedelta(seconds=30)


SHUTDOWN_TIMEOUTS = ShutdownTimeouts()


@dataclass(frozen=True)
class Dependencies:
    """What the queues of one worker share. `in_flight` counts its responses.

    `create_slots` are given out within that count. `socket_slots`, those of the worker's own queue, count no responses,
    but are closed as the others are. `tool_slots` count function calls, `run_slots` all that is on the queue of the
    runs. `eager`: the queues whose work may be started eagerly there, as long as `queue_watch` sees nothing against it.
    """

    temporal: Client
    provider: Provider
    prices: Prices
    settings: Settings
    shutdown: ShutdownTimeouts
    client: ResponsesClient
    capabilities: Capabilities
    in_flight: ResponsesInFlight
    create_slots: AdmissionSlots
    socket_slots: AdmissionSlots
    tool_slots: AdmissionSlots
    sessions: Sessions
    run_slots: RunQueueSlots
    eager: Mapping[TaskQueue, EagerStart]
    queue_watch: QueueWatch
    tills: Tills
    responses: ResponsesActivities
    websockets: WebSocketActivities
    tools: ToolActivities
    tool_lists: ToolListActivities
    conversations: ConversationActivities
    compaction: CompactionActivities
    artifacts: ArtifactActivities
    made_files: MadeFilesActivities
    tenant_budgets: TenantBudgetActivities


@asynccontextmanager
async def opened(
    temporal: Client,
    provider: Provider,
    settings: Settings,
    shutdown: ShutdownTimeouts = SHUTDOWN_TIMEOUTS,
    eager: Collection[TaskQueue] = (),
) -> AsyncIterator[Dependencies]:
    """Build all of it; at the end close the connections and give up the file of ids. Raises `RegistryError`.

    `eager`: the queues that this worker serves beside that of the runs, whose work it may start there.
    """
    registry, prices = offered_tools(settings), Prices(provider.base_url, settings.prices.models, settings.prices.hosts)
    run_secrets = (*settings.secrets_of_runs().values(), *settings.secrets_of_servers())
    http = ResponsesClient(
        provider.base_url,
        provider.api_key,
        headers=provider.headers,
        connection_age=settings.connection_age,
        secrets=run_secrets,
    )
    sessions = Sessions(
        settings.mcp_servers.enabled, settings.resolved_server, surroundings=surroundings_of_servers(settings)
    )
    with IdFile.claim(settings.state_folder) as ids, ToolLoops() as loops:
        async with sessions, http as client, WebSocketPool(socket_options(provider, run_secrets)) as pool:
            in_flight = ResponsesInFlight(settings.max_responses_in_flight, ids)
            outputs = OutputFolders([settings.output_root], settings.allow_hidden_files)
            capabilities = Capabilities(provider.base_url, settings.state_folder)
            requests = RequestBuilder(
                client,
                registry,
                settings.model,
                [settings.files_root],
                settings.workspace,
                outputs=outputs,
                capabilities=capabilities,
                approvals=settings.approvals,
                secrets=settings.secrets_of_runs(),
                sessions=sessions,
                reserving=Reserving(client, prices),
                conversations=Conversations(
                    capabilities,
                    ConversationFiles(settings.state_folder / FOLDER),
                    RememberedConversations(settings.conversation_memory * MEBIBYTE),
                    client,
                ),
            )
            budget = GetBudget(settings.gets_per_second)
            cadence = Cadence(settings.poll_first, settings.poll_factor, settings.poll_cap)
            context, claims = tool_context(settings), Claims()
            sockets, queue = run_sockets(provider, pool, capabilities), own_queue(settings)
            held_queue = queue_of_held_calls(settings)
            create_slots = AdmissionSlots(in_flight)
            tool_slots = AdmissionSlots(ResponsesInFlight(settings.max_tools))
            watch = QueueWatch(temporal, settings.task_queue, eager)
            starts = {
                each: EagerStart(settings.task_queue, slots, each in eager, partial(watch.is_apart, each))
                for each, slots in ((TaskQueue.CREATE, create_slots), (TaskQueue.TOOLS, tool_slots))
            }
            tills = Tills(temporal, TaskQueue.AGENTS.under(settings.task_queue), settings.budgets)
            yield Dependencies(
                temporal=temporal,
                provider=provider,
                prices=prices,
                settings=settings,
                shutdown=shutdown,
                client=client,
                capabilities=capabilities,
                in_flight=in_flight,
                create_slots=create_slots,
                socket_slots=AdmissionSlots(ResponsesInFlight(settings.max_responses_in_flight + ROOM_FOR_TEXTS)),
                tool_slots=tool_slots,
                run_slots=RunQueueSlots(settings.max_responses_in_flight + settings.max_tools + ROOM_FOR_SHORT_ONES),
                eager=starts,
                queue_watch=watch,
                tills=tills,
                responses=ResponsesActivities(
                    client,
                    requests,
                    in_flight,
                    budget,
                    cadence,
                    claims=claims,
                    answer_within=answer_within(provider),
                    eager=starts[TaskQueue.CREATE],
                ),
                websockets=WebSocketActivities(client, requests, in_flight, sockets, queue, cadence, claims),
                tools=ToolActivities(
                    registry,
                    context,
                    claims,
                    loops,
                    secrets=Secrets(settings.secrets()),
                    approvals=settings.approvals,
                    eager=starts[TaskQueue.TOOLS],
                    long_output=settings.tool_output_bytes,
                    sessions=sessions,
                    queue=held_queue,
                ),
                tool_lists=ToolListActivities(sessions, settings.approvals, held_queue),
                conversations=ConversationActivities(requests.conversations, requests.own_items),
                compaction=CompactionActivities(client, requests, claims),
                artifacts=ArtifactActivities(outputs),
                made_files=MadeFilesActivities(client, outputs),
                tenant_budgets=TenantBudgetActivities(temporal),
                sessions=sessions,
            )
            await tills.end()


def answer_within(provider: Provider) -> float:
    """Seconds that the answer to a create may take: other servers than OpenAI may answer with the whole response."""
    return SILENCE_LIMIT if provider.kind is ProviderKind.COMPATIBLE else CREATE_TIMEOUT


def tool_context(settings: Settings) -> ToolContext:
    """What the tools of the worker may do."""
    return ToolContext(
        settings.workspace, settings.allow_private_addresses, allow_hidden_files=settings.allow_hidden_files
    )


def surroundings_of_servers(settings: Settings) -> Surroundings:
    """What MCP servers meet: the workspace, and the tokens of logins."""
    secrets = Secrets(settings.secrets())
    return Surroundings(roots=settings.workspace, tokens=settings.state_folder / "mcp-tokens", secrets=secrets)


def own_queue(settings: Settings) -> str:
    """A task queue that only this worker serves: turns and steering messages go where a run's socket is."""
    return f"{settings.task_queue}-socket-{secrets.token_hex(8)}"


def queue_of_held_calls(settings: Settings) -> str | None:
    """A task queue that only this worker serves, if it has MCP servers: where one waits for answers, or has a session
    with one run.
    """
    return f"{settings.task_queue}-held-{secrets.token_hex(8)}" if settings.mcp_servers.enabled else None


def run_sockets(provider: Provider, pool: WebSocketPool, capabilities: Capabilities) -> RunSockets:
    """The sockets of the worker to its provider, one for each run."""
    url = responses_url(provider.websocket_base_url)
    return RunSockets(pool, url, provider.api_key or NO_KEY, CoolDown(time.monotonic), capabilities)


def socket_options(provider: Provider, secrets_of_runs: Sequence[str] = ()) -> ConnectOptions:
    """One attempt to connect: if it fails there is HTTP. A socket may go wherever requests over HTTP go."""
    overrides = RequestOverrides(
        allow_plaintext=provider.base_url.startswith("http:"),
        allow_private_network=provider.kind is not ProviderKind.OPENAI,
    )
    return ConnectOptions(
        max_retries=0,
        overrides=overrides,
        headers=provider.headers,
        secrets=tuple(secrets_of_runs),
    )

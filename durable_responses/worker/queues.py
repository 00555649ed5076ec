"""Which queue is served by what, with how many slots: one function a queue."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    HandleQueryInput,
    Interceptor,
    Worker,
    WorkerDeploymentConfig,
    WorkerTuner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from durable_responses.activities.admission import AdmissionSlots
from durable_responses.activities.eager_start import MOST_AT_ONCE, EagerStart, NoticesBacklog
from durable_responses.activities.interceptors import (
    Forgotten,
    KeepsTenantBudgets,
    TellOfApprovals,
    TellOfCallLimit,
    TellOfCosts,
    TellOfSearchAttributes,
    WorkerShutdown,
)
from durable_responses.activities.messages import MOST_CALLS
from durable_responses.activities.tools import HEARTBEAT_SECONDS
from durable_responses.jobs.attribute_registration import AttributeWatch
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.worker.dependencies import Dependencies
from durable_responses.worker.unfinished_tasks import ReplaysUnfinishedTasks
from durable_responses.workflows.agent import AgentWorkflow
from durable_responses.workflows.contract import TaskQueue
from durable_responses.workflows.eager_start import MAY_START_EAGERLY
from durable_responses.workflows.payloads import decoding_totally
from durable_responses.workflows.search_attributes import COSTS_SETTABLE, SETTABLE
from durable_responses.workflows.tenant_budget import BudgetWorkflow

MOST_WORKFLOW_TASKS = 100  # at once in one worker, as by default
# Of calls to sessions that are here: one that is not taken within seconds is taken for lost, with its session.
_MOST_CALLS_HERE = 1000
_AT_ONCE = timedelta(milliseconds=100)
_ONE = FixedSizeSlotSupplier(1)


_ADMITTED = {Queue.CREATE: TaskQueue.CREATE, Queue.TOOLS: TaskQueue.TOOLS}


def to_be_started_eagerly(queues: Collection[Queue]) -> set[TaskQueue]:
    """The queues whose work a worker of these may start on the queue of the runs."""
    if Queue.AGENTS not in queues:
        return set()
    return {queue for name, queue in _ADMITTED.items() if name in queues}


def workers_for(queues: Sequence[Queue], of: Dependencies, attributes: AttributeWatch) -> list[Worker]:
    """The workers of these queues, not yet running. `attributes`: whether the namespace has ours."""
    costs = TellOfCosts(of.prices)
    budgets = KeepsTenantBudgets(of.tills)
    news: list[Interceptor] = [budgets, costs, TellOfSearchAttributes(lambda: attributes.settable)]
    if of.settings.max_calls_per_response != MOST_CALLS:
        news.append(TellOfCallLimit(of.settings.max_calls_per_response))
    if not of.settings.approvals.allow_all:
        news.append(TellOfApprovals())
    build = {
        Queue.AGENTS: lambda: [agents_worker(of, news, attributes)],
        Queue.CREATE: lambda: [create_worker(of, news), socket_worker(of, news)],
        Queue.WAITING: lambda: [waiting_worker(of, [budgets, costs])],
        Queue.TOOLS: lambda: [tools_worker(of), *held_calls_worker(of)],
    }
    return [worker for queue in queues for worker in build[queue]()]


def agents_worker(of: Dependencies, news: Sequence[Interceptor], attributes: AttributeWatch) -> Worker:
    """Workflow tasks, the short activities that must never wait, and what is started eagerly."""
    config = of.temporal.config()
    config["data_converter"] = decoding_totally(config["data_converter"])
    runner = ReplaysUnfinishedTasks()
    worker = Worker(
        Client(**config),
        task_queue=TaskQueue.AGENTS.under(of.settings.task_queue),
        workflows=[AgentWorkflow, BudgetWorkflow],
        activities=[
            of.responses.cancel_response,
            of.artifacts.save_artifact,
            of.made_files.save_files,
            of.conversations.keep_conversation,
            of.compaction.compact_conversation,
            of.tenant_budgets.closed_runs,
            # Started eagerly, within the counts of their own queues.
            of.responses.create_response,
            of.responses.stream_response,
            of.tools.call_tool,
        ],
        tuner=_tuner(FixedSizeSlotSupplier(MOST_WORKFLOW_TASKS), of.run_slots),
        max_eager_activity_reservations_per_workflow_task=MOST_AT_ONCE,
        # As on the create queue: all that is started eagerly has one worker.
        max_heartbeat_throttle_interval=_AT_ONCE,
        # The sandbox is for the tests. Here it would cost 1 ms for each activity and 75 KB for each run in memory, and
        # load the workflow from its file for every run, whatever that file has become since this process started.
        workflow_runner=runner,
        # No payload is stored elsewhere. Above 1 the SDK makes a task of each, in each workflow task, to look whether.
        max_workflow_task_external_storage_concurrency=1,
        max_cached_workflows=of.settings.max_cached_workflows,
        # After a SIGKILL, tasks go to the dead worker's queue for this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=max(of.shutdown.creates, of.shutdown.tools),
        deployment_config=deployment_config(of.settings),
        interceptors=[Forgotten(), WorkerShutdown(), *news, AnswersWorkflows(attributes, of.eager)],
    )
    runner.serve(worker)
    return worker


class AnswersWorkflows(Interceptor):
    """Lets the workflow ask whether search attributes can be set now, and what may be started eagerly.

    And the panel of a run is made for who looks at it.
    """

    def __init__(self, attributes: AttributeWatch, eager: Mapping[TaskQueue, EagerStart]) -> None:
        self._attributes = attributes
        self._eager = eager

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 the SDK's
    ) -> type[WorkflowInboundInterceptor]:
        """As the SDK asks for it, and three more functions."""
        input.unsafe_extern_functions[SETTABLE] = lambda: self._attributes.settable
        input.unsafe_extern_functions[COSTS_SETTABLE] = lambda: self._attributes.costs_settable
        input.unsafe_extern_functions[MAY_START_EAGERLY] = self._may_start_eagerly
        return _PanelWhenAsked

    def _may_start_eagerly(self, queue: TaskQueue, before: int) -> bool:
        return self._eager[queue].is_possible(before)


class _PanelWhenAsked(WorkflowInboundInterceptor):
    """Renders the panel in the query that asks for it. Kept up to date, it cost a sixth of what workflow code costs."""

    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: A002 the SDK's
        answer = await super().handle_query(input)
        run = workflow.instance()
        if isinstance(answer, WorkflowMetadata) and isinstance(run, AgentWorkflow):
            answer.current_details = run.panel()
        return answer


def create_worker(of: Dependencies, news: Sequence[Interceptor]) -> Worker:
    """Creates, admitted only while fewer than N responses are in flight here."""
    return Worker(
        of.temporal,
        task_queue=TaskQueue.CREATE.under(of.settings.task_queue),
        activities=[of.responses.create_response, of.responses.stream_response, of.websockets.websocket_turn],
        interceptors=[Forgotten(), WorkerShutdown(), NoticesBacklog(of.create_slots), *news],
        tuner=_activities_within(of.create_slots),
        max_concurrent_activity_task_polls=of.create_slots.pollers,
        # The heartbeat that holds a response's id must be at the server before this process can be killed.
        max_heartbeat_throttle_interval=_AT_ONCE,
        graceful_shutdown_timeout=of.shutdown.creates,
        deployment_config=deployment_config(of.settings),
    )


def socket_worker(of: Dependencies, news: Sequence[Interceptor]) -> Worker:
    """Further turns over the sockets of this worker, and steering messages for the responses under way on them."""
    return Worker(
        of.temporal,
        task_queue=of.websockets.queue,
        activities=[of.websockets.websocket_turn, of.websockets.steer_response],
        interceptors=[Forgotten(), *news],
        tuner=_activities_within(of.socket_slots),
        max_heartbeat_throttle_interval=_AT_ONCE,
        graceful_shutdown_timeout=of.shutdown.creates,
        # No deployment: a version whose queues come and go with its processes could not be replaced.
    )


def waiting_worker(of: Dependencies, costs: Sequence[Interceptor]) -> Worker:
    """Waits: thousands at once, which move to another worker at once when this one stops."""
    return Worker(
        of.temporal,
        task_queue=TaskQueue.WAITING.under(of.settings.task_queue),
        activities=[of.responses.await_response],
        max_concurrent_activities=of.settings.max_waiting,
        # A wait heartbeats rarely by itself, and often only while somebody may watch its text grow.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(0),
        deployment_config=deployment_config(of.settings),
        interceptors=[Forgotten(), WorkerShutdown(), *costs],
    )


def tools_worker(of: Dependencies) -> Worker:
    """Function calls."""
    return Worker(
        of.temporal,
        task_queue=TaskQueue.TOOLS.under(of.settings.task_queue),
        activities=[of.tools.call_tool, of.tools.decide_calls, of.tool_lists.list_tools],
        tuner=_activities_within(of.tool_slots),
        max_concurrent_activity_task_polls=of.tool_slots.pollers,
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
        graceful_shutdown_timeout=of.shutdown.tools,
        deployment_config=deployment_config(of.settings),
        interceptors=[Forgotten(), WorkerShutdown(), NoticesBacklog(of.tool_slots)],
    )


def held_calls_worker(of: Dependencies) -> list[Worker]:
    """Function calls that wait here for an answer to their MCP server, or go to a session; none without servers."""
    if of.tools.queue is None:
        return []
    return [
        Worker(
            of.temporal,
            task_queue=of.tools.queue,
            activities=[of.tools.call_tool],
            max_concurrent_activities=_MOST_CALLS_HERE,
            max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
            graceful_shutdown_timeout=of.shutdown.tools,
            # No deployment: a version whose queues come and go with its processes could not be replaced.
            interceptors=[Forgotten(), WorkerShutdown()],
        )
    ]


def _activities_within(slots: AdmissionSlots) -> WorkerTuner:
    return _tuner(_ONE, slots)


def _tuner(workflow_tasks: FixedSizeSlotSupplier, activities: CustomSlotSupplier) -> WorkerTuner:
    return WorkerTuner.create_composite(
        workflow_supplier=workflow_tasks,
        activity_supplier=activities,
        local_activity_supplier=_ONE,
        nexus_supplier=_ONE,
    )


def deployment_version(settings: Settings) -> WorkerDeploymentVersion | None:
    """The version that this worker is; None for a worker without versioning."""
    if settings.deployment_name is None or settings.build_id is None:
        return None
    return WorkerDeploymentVersion(settings.deployment_name, settings.build_id)


def deployment_config(settings: Settings) -> WorkerDeploymentConfig | None:
    """Worker versioning, for all queues that outlive a worker. docs/changing-the-workflow.md says why runs upgrade."""
    version = deployment_version(settings)
    if version is None:
        return None
    return WorkerDeploymentConfig(
        version=version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
    )

"""The budgets of tenants as they stand, and raising them: for whoever operates the workers."""

import asyncio
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.executions import listed
from durable_responses.jobs.job_errors import InvalidInput, asking_temporal
from durable_responses.pricing.tenant_budgets import RAISE, SHOW, WORKFLOW_TYPE, Amount, TenantBudget, budget_id

_ANSWERED_WITHIN = timedelta(seconds=5)
_AT_ONCE = 20
_SILENT = "The budgets do not answer: they live in workers, and there is none now."
_MOST = 1_000
_OPEN = f'WorkflowType = "{WORKFLOW_TYPE}" AND ExecutionStatus = "Running"'


async def open_budgets(client: Client, task_queue: str) -> list[TenantBudget]:
    """The budgets of a queue's runs that something was set aside in, by tenant and window.

    They answer while there is a worker.

    Raises `JobError`.
    """
    async with asking_temporal():
        ids = [
            execution.id async for execution in listed(client, f'{_OPEN} AND TaskQueue = "{task_queue}"', limit=_MOST)
        ]
    room = asyncio.Semaphore(_AT_ONCE)
    found = await asyncio.gather(*(_shown(client, id_, room) for id_ in dict.fromkeys(ids)))
    return sorted((budget for budget in found if budget), key=lambda each: (each.tenant, each.window))


async def _shown(client: Client, id_: str, room: asyncio.Semaphore) -> TenantBudget | None:
    async with room:
        try:
            shown = await client.get_workflow_handle(id_).query(SHOW, rpc_timeout=_ANSWERED_WITHIN)
        except WorkflowQueryFailedError:
            return None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:  # it has ended since it was listed
                return None
            raise InvalidInput(_SILENT) from None
    return TenantBudget.model_validate(shown)


async def raise_budget(client: Client, task_queue: str, tenant: str, window: str, to: Amount) -> TenantBudget:
    """Let a window of a tenant cost more. Returns how it stands then. Raises `JobError`."""
    handle = client.get_workflow_handle(budget_id(tenant, window, task_queue))
    try:
        raised = await handle.execute_update(RAISE, to, rpc_timeout=_ANSWERED_WITHIN)
    except WorkflowUpdateFailedError as error:
        why = getattr(error.__cause__, "message", None) or str(error.__cause__ or error)
        raise InvalidInput(f"The budget of {tenant!r} for {window!r} cannot be raised: {why.rstrip('.')}.") from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise InvalidInput(f"There is no budget of {tenant!r} for {window!r} that anything was spent of.") from None
        raise InvalidInput(_SILENT) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise InvalidInput(f"{_SILENT} It may still be raised when there is one.") from None
    return TenantBudget.model_validate(raised)

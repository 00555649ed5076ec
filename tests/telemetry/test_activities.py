"""What is known of an activity while it runs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ActivityOutboundInterceptor, ExecuteActivityInput

from durable_responses.activities.messages import (
    AwaitResponse,
    CancelResponse,
    CreatePhase,
    CreateResponse,
    HeartbeatDetails,
    ModelOptions,
)
from durable_responses.telemetry.activities import ActivityTelemetry
from durable_responses.telemetry.log_lines import current_ids

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CREATE = CreateResponse(options=ModelOptions(), iteration=1)


class Asking(ActivityInboundInterceptor):
    """Stands for an activity: it heartbeats, and says what its log lines would hold."""

    def __init__(self, heartbeat: HeartbeatDetails | None) -> None:
        self._heartbeat = heartbeat

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._outbound = outbound

    async def execute_activity(self, input: ExecuteActivityInput) -> Mapping[str, str]:  # noqa: A002, ARG002
        if self._heartbeat is not None:
            self._outbound.heartbeat(self._heartbeat)
        return current_ids()


class Deaf(ActivityOutboundInterceptor):
    """Where heartbeats go."""

    def __init__(self) -> None:
        pass

    def heartbeat(self, *details: Any) -> None:
        assert details


async def ids_in(argument: Any, heartbeat: HeartbeatDetails | None = None) -> Mapping[str, str]:
    """The ids in the log lines of an activity."""
    watched = ActivityTelemetry().intercept_activity(Asking(heartbeat))
    watched.init(Deaf())

    async def run() -> Mapping[str, str]:
        watched_input = ExecuteActivityInput(fn=run, args=[argument], executor=None, headers={})
        ids: Mapping[str, str] = await watched.execute_activity(watched_input)
        return ids

    environment = ActivityEnvironment()
    environment.info = ActivityEnvironment.default_info()
    return await environment.run(run)


@pytest.mark.parametrize(
    "argument",
    [AwaitResponse(response_id="resp_1", created_at=NOW), CancelResponse(response_id="resp_1")],
    ids=lambda argument: type(argument).__name__,
)
async def test_its_log_lines_name_run_and_response(argument: AwaitResponse | CancelResponse) -> None:
    ids = await ids_in(argument)
    assert ids["response_id"] == "resp_1"
    assert ids["workflow_id"] == ActivityEnvironment.default_info().workflow_id


async def test_its_log_lines_name_a_response_from_the_heartbeat_on_that_tells_its_id() -> None:
    heartbeat = HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_2")
    assert (await ids_in(CREATE, heartbeat))["response_id"] == "resp_2"


async def test_its_log_lines_name_no_response_before_there_is_one() -> None:
    assert "response_id" not in await ids_in(CREATE, HeartbeatDetails(phase=CreatePhase.POSTING))

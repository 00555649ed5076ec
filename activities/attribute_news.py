"""How a run learns that it may set search attributes: the worker says so beside each response that it obtains."""

from typing import Any

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from durable_responses.activities.messages import CreatedResponse, ResponseRecord, WebSocketTurn


class TellOfSearchAttributes(Interceptor):
    """Marks the results of activities that obtain responses. For workers whose namespace has our search attributes."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Mark(next)


class _Mark(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's
        result = await super().execute_activity(input)
        obtained = result.response if isinstance(result, WebSocketTurn) else result
        if isinstance(obtained, CreatedResponse | ResponseRecord):
            obtained.search_attributes = True
        return result

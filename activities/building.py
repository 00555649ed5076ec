"""Building the request of a create: reads what history does not carry (files, tools, earlier responses)."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity

from durable_responses.activities.failures import broken_chain, failed_read, invalid_input
from durable_responses.activities.inputs import InputError, opening_input
from durable_responses.activities.messages import CreateResponse
from durable_responses.activities.rebuild import full_input
from durable_responses.activities.requests import create_request
from durable_responses.activities.tools import definitions
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import NotFound, ResponsesError
from durable_responses.responses_api.models import CreateRequest, FunctionTool
from durable_responses.tools.registry import Registry, UnknownToolError


@dataclass
class RequestBuilder:
    """What a worker adds to a create: its tools, its default model, the files it may read."""

    client: ResponsesClient
    registry: Registry
    default_model: str
    files_roots: list[Path]

    async def build(self, create: CreateResponse, *, background: bool, stream: bool) -> CreateRequest:
        """The request to send. Raises `ApplicationError` of type `invalid_input` for what the caller gave wrong."""
        info = activity.info()
        return create_request(
            create.options,
            default_model=self.default_model,
            functions=self._functions(create.options.tools),
            input=await self._input(create),
            previous_response_id=create.previous_response_id,
            metadata={
                "workflow_id": info.workflow_id or "",
                "run_id": info.workflow_run_id or "",
                "iteration": str(create.iteration),
                "attempt": str(create.attempt),
            },
            background=background,
            stream=stream,
        )

    def _functions(self, names: list[str] | None) -> list[FunctionTool]:
        try:
            return definitions(self.registry, names)
        except UnknownToolError as error:
            raise invalid_input(InputError("tools", str(error))) from None

    async def _input(self, create: CreateResponse) -> str | list[Any]:
        before = await self._input_before_texts(create)
        if not create.texts:
            return before
        items = [{"role": "user", "content": before}] if isinstance(before, str) else before
        return [*items, *({"role": "user", "content": text} for text in create.texts)]

    async def _input_before_texts(self, create: CreateResponse) -> str | list[Any]:
        if create.opening is None:
            return list(create.new_items)
        try:
            opening = await asyncio.to_thread(opening_input, create.opening, self.files_roots)
        except InputError as error:
            raise invalid_input(error) from None
        if not create.rebuild_from:
            return opening if isinstance(opening, str) else list(opening)
        try:
            return await full_input(self.client, create, opening)
        except NotFound as error:
            raise broken_chain(error) from None
        except ResponsesError as error:
            raise failed_read(error, create.rebuild_from[-1]) from None

"""The endpoints of the Responses API over HTTP, and the faults that they meet."""

import json
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp

from durable_responses.emulator.faults import AddHeaders, BreakStream, Delay, Effect, Operation, Reset
from durable_responses.emulator.http.asgi_answers import (
    EventStream,
    bytes_answer,
    check_key,
    connection_reset,
    error_answer,
    json_answer,
    no_answer,
    unless_gone,
)
from durable_responses.emulator.objects.answer_bodies import Deletion, InputTokens, ModelList, item_list
from durable_responses.emulator.objects.api_errors import ApiError, no_such_url
from durable_responses.emulator.objects.request_bodies import (
    CompactBody,
    CreateBody,
    InputItemsQuery,
    ModelInput,
    StreamQuery,
    parse,
    parse_query,
)
from durable_responses.emulator.objects.request_checks import parse_create
from durable_responses.emulator.provider import Provider, check_refusal
from durable_responses.emulator.state.lifecycle import StoredResponse
from durable_responses.responses_api.models import ResponseStatus

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class ResponsesApi:
    """The endpoints under `/v1`."""

    def __init__(self, provider: Provider, api_key: str | None = None) -> None:
        self._provider = provider
        self._clock = provider.state.clock
        self._api_key = api_key

    def routes(self) -> list[Route]:
        """The most used first: they are tried in order."""
        one = "/v1/responses/{id}"
        return [
            self._route(one, self.retrieve, "GET"),
            self._route("/v1/responses", self.create, "POST"),
            self._route(f"{one}/cancel", self.cancel, "POST"),
            self._route(one, self.delete, "DELETE"),
            self._route(f"{one}/input_items", self.input_items, "GET"),
            self._route("/v1/responses/input_tokens", self.input_tokens, "POST"),
            self._route("/v1/responses/compact", self.compact, "POST"),
            self._route("/v1/containers/{id}", self.container, "GET"),
            self._route("/v1/containers/{id}/files", self.container_files, "GET"),
            self._route("/v1/containers/{id}/files/{file_id}", self.container_file, "GET"),
            self._route("/v1/containers/{id}/files/{file_id}/content", self.container_content, "GET"),
            self._route("/v1/models", self.models, "GET"),
            self._route("/v1/models/{id:path}", self.model, "GET"),
        ]

    async def create(self, request: Request) -> ASGIApp:
        """POST /responses."""
        wanted = parse_create(await request.body())
        metadata = wanted.metadata or {}
        try:
            effect = self._provider.take_fault(Operation.CREATE, metadata, wanted)
            if instead := await self._before(effect, request, wanted):
                return instead
            response = self._provider.create(wanted, effect)
        except ApiError as error:
            self._provider.reject(error, metadata)
            raise
        if instead := await self._after(effect, request):
            self._provider.hang_up(response)
            return instead
        return await self._answer_create(response, request, effect)

    async def retrieve(self, request: Request) -> ASGIApp:
        """GET /responses/{id}, as JSON or, with `stream=true`, as events."""
        response = self._provider.retrieve(request.path_params["id"])
        metadata = response.request.metadata or {}
        effect = self._provider.take_fault(Operation.RETRIEVE, metadata)
        if instead := await self._before(effect, request) or await self._after(effect, request):
            return instead
        if request.query_params.get("stream") != "true":
            return json_answer(response.body(self._clock.now()), headers=_added(effect))
        response.check_resume(self._clock.now())
        query = parse_query(StreamQuery, request.query_params)
        return await self._stream(response, request, query.starting_after)

    async def cancel(self, request: Request) -> ASGIApp:
        """POST /responses/{id}/cancel."""
        response = self._provider.state.store.get(request.path_params["id"], self._clock.now())
        effect = self._provider.take_fault(Operation.CANCEL, response.request.metadata or {})
        if instead := await self._before(effect, request):
            return instead
        response = self._provider.cancel(response.id, effect)
        if instead := await self._after(effect, request):
            return instead
        return json_answer(response.body(self._clock.now()), headers=_added(effect))

    async def delete(self, request: Request) -> ASGIApp:
        """DELETE /responses/{id}."""
        response = self._provider.state.store.get(request.path_params["id"], self._clock.now())
        effect = self._provider.take_fault(Operation.DELETE, response.request.metadata or {})
        if instead := await self._before(effect, request):
            return instead
        self._provider.delete(response.id)
        if instead := await self._after(effect, request):
            return instead
        return json_answer(Deletion(id=response.id).model_dump_json().encode())

    async def input_items(self, request: Request) -> ASGIApp:
        """GET /responses/{id}/input_items: the items of this request alone, newest first unless `order=asc`."""
        response = self._provider.state.store.get(request.path_params["id"], self._clock.now())
        query = parse_query(InputItemsQuery, request.query_params)
        page = item_list(response.input_items, after=query.after, limit=query.limit, newest_first=query.order == "desc")
        return json_answer(page.model_dump_json().encode())

    async def input_tokens(self, request: Request) -> ASGIApp:
        """POST /responses/input_tokens."""
        wanted = parse(ModelInput, await request.body())
        effect = self._provider.take_fault(Operation.COUNT, {})
        if instead := await self._before(effect, request):
            return instead
        counted = InputTokens(input_tokens=self._provider.input_tokens(wanted))
        return json_answer(counted.model_dump_json().encode())

    async def compact(self, request: Request) -> ASGIApp:
        """POST /responses/compact."""
        wanted = parse(CompactBody, await request.body())
        effect = self._provider.take_fault(Operation.COMPACT, {})
        if instead := await self._before(effect, request):
            return instead
        compacted = self._provider.compact(wanted)
        if instead := await self._after(effect, request):
            return instead
        return json_answer(compacted.model_dump_json().encode(), headers=_added(effect))

    async def container(self, request: Request) -> ASGIApp:
        """GET /containers/{id}; one that has expired, too."""
        container_id, now = request.path_params["id"], self._clock.now()
        if instead := await self._meet_container_fault(request):
            return instead
        found = self._provider.state.containers.all.get(container_id)
        if found is None or found.is_alive(now):
            found = self._provider.container(container_id)
        return json_answer(json.dumps(found.body(now)).encode())

    async def container_files(self, request: Request) -> ASGIApp:
        """GET /containers/{id}/files: newest first unless `order=asc`."""
        if instead := await self._meet_container_fault(request):
            return instead
        files = [file.body for file in self._provider.container_files(request.path_params["id"])]
        query = parse_query(InputItemsQuery, request.query_params)
        page = item_list(files, after=query.after, limit=query.limit, newest_first=query.order == "desc")
        return json_answer(page.model_dump_json().encode())

    async def container_file(self, request: Request) -> ASGIApp:
        """GET /containers/{id}/files/{file_id}."""
        if instead := await self._meet_container_fault(request):
            return instead
        file = self._provider.container_file(request.path_params["id"], request.path_params["file_id"])
        return json_answer(json.dumps(file.body).encode())

    async def container_content(self, request: Request) -> ASGIApp:
        """GET /containers/{id}/files/{file_id}/content: the bytes."""
        if instead := await self._meet_container_fault(request):
            return instead
        file = self._provider.container_file(request.path_params["id"], request.path_params["file_id"])
        return bytes_answer(file.content)

    async def _meet_container_fault(self, request: Request) -> ASGIApp | None:
        effect = self._provider.take_fault(Operation.CONTAINER, {})
        return await self._before(effect, request) or await self._after(effect, request)

    async def models(self, _: Request) -> ASGIApp:
        """GET /models."""
        return json_answer(ModelList(data=self._provider.models()).model_dump_json().encode())

    async def model(self, request: Request) -> ASGIApp:
        """GET /models/{id}."""
        if not request.path_params["id"]:
            raise no_such_url(request.method, request.url.path)
        return json_answer(self._provider.model(request.path_params["id"]).model_dump_json().encode())

    # --- answering -----------------------------------------------------------------------------------------------

    async def _answer_create(self, response: StoredResponse, request: Request, effect: Effect | None) -> ASGIApp:
        if response.request.stream:
            return await self._stream(response, request)
        if response.request.background:
            return json_answer(response.body_as(ResponseStatus.QUEUED), headers=_added(effect))
        if not await unless_gone(request.receive, self._finished(response)):
            self._provider.hang_up(response)
            raise ClientDisconnect
        return json_answer(response.body(self._clock.now()), headers=_added(effect))

    async def _finished(self, response: StoredResponse) -> bool:
        await self._provider.finished(response)
        return True

    async def _stream(self, response: StoredResponse, request: Request, starting_after: int = -1) -> ASGIApp:
        effect = self._provider.take_fault(Operation.STREAM, response.request.metadata or {})
        try:
            instead = await self._before(effect, request) or await self._after(effect, request)
        except ApiError:
            self._provider.hang_up(response)
            raise
        if instead:
            self._provider.hang_up(response)
            return instead
        events = self._provider.follow(response, starting_after)
        broken = effect if isinstance(effect, BreakStream) else None
        return EventStream(events, lambda: self._provider.hang_up(response), broken)

    # --- faults --------------------------------------------------------------------------------------------------

    async def _before(
        self, effect: Effect | None, request: Request, wanted: CreateBody | None = None
    ) -> ASGIApp | None:
        """What happens instead of the request, or delays it."""
        check_refusal(effect, wanted)
        if isinstance(effect, Reset) and not effect.processed:
            return connection_reset
        if isinstance(effect, Delay) and not effect.processed:
            return await self._delay(effect, request)
        return None

    async def _after(self, effect: Effect | None, request: Request) -> ASGIApp | None:
        """What happens instead of the answer, or delays it."""
        if isinstance(effect, Reset) and effect.processed:
            return connection_reset
        if isinstance(effect, Delay) and effect.processed:
            return await self._delay(effect, request)
        return None

    async def _delay(self, effect: Delay, request: Request) -> ASGIApp | None:
        if effect.seconds is None or not await unless_gone(request.receive, self._passed(effect.seconds)):
            return no_answer
        return None

    async def _passed(self, seconds: float) -> bool:
        await self._clock.sleep(seconds)
        return True

    # --- around every request ------------------------------------------------------------------------------------

    def _route(self, path: str, endpoint: Endpoint, method: str) -> Route:
        async def answer(request: Request) -> ASGIApp:
            try:
                check_key(request.headers, self._api_key)
                return await endpoint(request)
            except ApiError as error:
                return error_answer(error)
            except ClientDisconnect:
                return no_answer

        return Route(path, answer, methods=[method])


def _added(effect: Effect | None) -> dict[str, str]:
    return effect.headers if isinstance(effect, AddHeaders) else {}

"""What the provider can do: as the workers have learned it, or as its answers to a few small requests show it."""

import asyncio
import time
from dataclasses import dataclass

from durable_responses.activities.background import is_only_named
from durable_responses.activities.conversation_items import is_no_response
from durable_responses.capabilities import Capabilities, Capability, Finding
from durable_responses.health.checks import Check, note, ok
from durable_responses.provider import NO_KEY, Provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    Misconfigured,
    NoSuchEndpoint,
    NotFound,
    NotProcessed,
    OutcomeUnknown,
    QuotaExhausted,
    ResponsesError,
    names_the_previous,
)
from durable_responses.responses_api.events import ResponseEvent
from durable_responses.responses_api.handshake import ConnectOptions, RequestOverrides, prepare, responses_url
from durable_responses.responses_api.models import ANSWERED, CreateRequest, ReasoningOptions, Response, ResponseStatus
from durable_responses.responses_api.websocket_connection import open_socket
from durable_responses.settings import Settings

MOST_REQUESTS = 6
"""Creates that `Probe` sends at most, each of a few words."""
_WITHIN = 60.0  # seconds for one answer
_LOOKS = 20
_PAUSE = 0.5  # seconds
_MOST_FAILURES = 4  # in a row
_UNCLEAR = (NotProcessed, AuthenticationFailed, QuotaExhausted, Misconfigured)

# What a run does where the server lacks it.
_OTHERWISE = {
    Capability.BACKGROUND: "runs stream instead: a crash while a response is written costs that response",
    Capability.RETRIEVE: "a stream that breaks is created again",
    Capability.CANCEL: "a background response that is cancelled may still run",
    Capability.CHAIN: "each request carries the whole conversation",
    Capability.STREAM: "nothing is seen before an answer is there",
    Capability.WEBSOCKET: "HTTP is used",
    Capability.REASONING: "no effort is sent",
}


def notice(provider: Provider) -> str:
    """What `doctor --deep` says before it sends anything."""
    server = Capabilities(provider.base_url).server
    return f"Asking {server} with up to {MOST_REQUESTS} small requests, which are paid for like any other."


def table(capabilities: Capabilities) -> list[Check]:
    """One line for each part of the API: whether the server has it, and what runs do otherwise."""
    known = capabilities.table()
    return [_line(capability, known.get(capability)) for capability in Capability]


def summary(capabilities: Capabilities) -> Check:
    """One line with all that has been learned in the last hour."""
    known = capabilities.table()
    found = ", ".join(f"{capability} {'yes' if finding.can else 'no'}" for capability, finding in known.items())
    return ok("capabilities", found or "nothing is known yet: runs learn it, or `durable-responses doctor --deep` asks")


def _line(capability: Capability, finding: Finding | None) -> Check:
    name = f"can {capability}"
    if finding is None:
        return note(name, "not known", "ask again, or let a run find out")
    minutes = max(int(time.time() - finding.at), 0) // 60
    when = f"seen {minutes} min ago" if minutes else "seen just now"
    if finding.can:
        return ok(name, f"yes ({when})")
    return note(name, f"no ({when}): {finding.why or 'it was refused'}", f"nothing to do: {_OTHERWISE[capability]}")


@dataclass
class Probe:
    """A few small requests that show what a server can do. What they show is noted in `capabilities`."""

    client: ResponsesClient
    provider: Provider
    capabilities: Capabilities
    model: str
    pause: float = _PAUSE

    async def ask(self) -> None:
        """Ask. Raises `ResponsesError` where no answer says anything: no connection, a wrong key, no credit."""
        first = await self._background()
        if first is not None:
            await self._retrieve(first)
            await self._chain(first)
        await self._stream()
        await self._websocket()

    def _request(self, **fields: object) -> CreateRequest:
        words = {"model": self.model, "input": "Say yes.", "max_output_tokens": 256, "store": True}
        return CreateRequest.model_validate(words | fields)

    def _learn(self, capability: Capability, can: bool, why: object = None) -> None:
        self.capabilities.learned(capability, can, str(why) if why else None)

    async def _background(self) -> Response | None:
        """A response to ask about; None where the server gave none."""
        try:
            response = await self._create(self._request(background=True))
        except ResponsesError as refused:
            if isinstance(refused, _UNCLEAR):
                raise
            plain = await self._create(self._request())  # if that fails, too, it was not about background
            self._learn(Capability.BACKGROUND, False, refused)
            return plain
        if is_only_named(response):
            response.status = ResponseStatus.IN_PROGRESS
        if response.is_finished and response.status not in ANSWERED:  # it failed, which it may do in the background too
            return response
        ignored = response.is_finished and response.background is not True
        why = "it answered with the finished response" if ignored else None
        self._learn(Capability.BACKGROUND, not ignored, why)
        return response

    async def _create(self, request: CreateRequest) -> Response:
        return await self.client.create(request, within=_WITHIN)

    async def _retrieve(self, response: Response) -> None:
        failures = 0
        for _ in range(_LOOKS):
            try:
                response = (await self.client.retrieve(response.id)).response
            except (NotFound, OutcomeUnknown, NotProcessed) as failed:  # as it may for a moment
                failures += 1
                if failures == _MOST_FAILURES:
                    if not isinstance(failed, NotProcessed):
                        self._learn(Capability.RETRIEVE, False, failed)
                    break
                await asyncio.sleep(self.pause)
                continue
            except ResponsesError as refused:
                self._learn(Capability.RETRIEVE, False, refused)
                break
            self._learn(Capability.RETRIEVE, True)
            if response.is_finished:
                break
            await asyncio.sleep(self.pause)
        await self._cancel(response)

    async def _cancel(self, response: Response) -> None:
        try:
            await self.client.cancel(response.id)
        except NotFound as refused:
            # Of a server that finds the response, this is about the route.
            if self.capabilities.can(Capability.RETRIEVE):
                self._learn(Capability.CANCEL, False, refused)
        except NoSuchEndpoint as refused:
            self._learn(Capability.CANCEL, False, refused)
        except ResponsesError as refused:
            if (refused.status or 0) >= 500:
                self._learn(Capability.CANCEL, False, refused)
            elif refused.status in (400, 409):  # it has finished: the server knows what was asked
                self._learn(Capability.CANCEL, True)
        else:
            self._learn(Capability.CANCEL, True)

    async def _chain(self, first: Response) -> None:
        try:
            response = await self._create(self._request(previous_response_id=first.id))
        except ResponsesError as refused:
            if not isinstance(refused, (*_UNCLEAR, OutcomeUnknown)):
                self._learn(Capability.CHAIN, False, refused)
            return
        if response.status == ResponseStatus.FAILED:
            error = response.error
            if error is not None and names_the_previous(f"{error.code} {error.message}", first.id):
                self._learn(Capability.CHAIN, False, error.message or error.code)
        elif is_no_response(response.previous_response_id):
            self._learn(Capability.CHAIN, False, "it takes previous_response_id, and does not name it in its answer")
        elif response.previous_response_id == first.id:
            self._learn(Capability.CHAIN, True)

    async def _stream(self) -> None:
        """Also whether it takes `reasoning`; each is asked for alone where both together are refused."""
        reasoning = ReasoningOptions(effort="low")
        try:
            await self._follow(self._request(reasoning=reasoning))
        except ResponsesError as refused:
            if isinstance(refused, _UNCLEAR):
                return
        else:
            self._learn(Capability.STREAM, True)
            self._learn(Capability.REASONING, True)
            return
        try:
            await self._follow(self._request())
        except ResponsesError as refused:
            self._learn(Capability.STREAM, False, refused)
        else:
            self._learn(Capability.STREAM, True)
        try:
            await self._create(self._request(reasoning=reasoning))
        except ResponsesError as refused:
            self._learn(Capability.REASONING, False, refused)
        else:
            self._learn(Capability.REASONING, True)

    async def _follow(self, request: CreateRequest) -> None:
        async with self.client.stream(request, silence=_WITHIN) as events:
            async for event in events:
                if isinstance(event, ResponseEvent) and event.response.status != ResponseStatus.FAILED:
                    return

    async def _websocket(self) -> None:
        overrides = RequestOverrides(allow_plaintext=True, allow_private_network=True)
        options = ConnectOptions(max_retries=0, headers=self.provider.headers, overrides=overrides)
        url = responses_url(self.provider.websocket_base_url)
        try:
            socket = await open_socket(prepare(url, self.provider.api_key or NO_KEY, options))
        except ResponsesError as refused:
            if not isinstance(refused, _UNCLEAR):
                self._learn(Capability.WEBSOCKET, False, refused)
            return
        self._learn(Capability.WEBSOCKET, True)
        await socket.close(1000, "Client closed")


async def check_deeply(settings: Settings, provider: Provider) -> list[Check]:
    """Ask, and tell what was found, one line for each part of the API."""
    capabilities = Capabilities(provider.base_url, settings.state_folder)
    async with ResponsesClient(provider.base_url, provider.api_key, headers=provider.headers) as client:
        try:
            await Probe(client, provider, capabilities, settings.model).ask()
        except ResponsesError as error:
            return [
                note("capabilities", f"could not be asked for: {error}", "see the lines above"),
                *table(capabilities),
            ]
    return table(capabilities)

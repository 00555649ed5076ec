"""The emulator's end of one WebSocket: receiving, sending, and breaking it."""

import asyncio
import struct

from starlette.types import Message, Receive, Scope, Send
from websockets.frames import Frame, Opcode

from durable_responses.emulator.faults import BreakSocket, Delay, Effect, ExtraFrame, Reset, SlowFrames, SocketBreak
from durable_responses.emulator.http import breakable_connections
from durable_responses.emulator.http.asgi_answers import api_headers
from durable_responses.emulator.objects.api_errors import ApiError, ErrorAnswer, ErrorFrame, EventError
from durable_responses.emulator.state.clock import Clock


class SocketWire:
    """An ASGI WebSocket. Faults write their frames past ASGI, which knows neither fragments nor unusual closes."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, clock: Clock) -> None:
        self._clock = clock
        self._scope = scope
        self._receive = receive
        self._send = send
        self._silent = False
        # No frame of another message may come between two fragments.
        self._writing = asyncio.Lock()

    async def accept(self) -> None:
        """Open it."""
        headers = [(name.encode(), value.encode()) for name, value in api_headers().items()]
        await self._put({"type": "websocket.accept", "headers": headers})

    async def refuse(self, error: ApiError) -> None:
        """Answer the upgrade with an error of the API instead."""
        headers = {"content-type": "application/json", **api_headers(), **error.headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._put({"type": "websocket.http.response.start", "status": error.status, "headers": raw})
        body = ErrorAnswer(error=error.error).model_dump_json().encode()
        await self._put({"type": "websocket.http.response.body", "body": body})

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client has gone."""
        while (message := await self._receive())["type"] == "websocket.connect":
            pass
        if message["type"] == "websocket.disconnect":
            return None
        content: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        return content

    async def send(self, event: bytes) -> None:
        """Send one event as a text frame. Never returns when nothing can be sent any more."""
        async with self._writing:
            await self._check()
            await self._put({"type": "websocket.send", "text": event.decode()})

    async def send_error(self, error: ApiError, stream_id: str | None = None) -> None:
        """Send an error as an event."""
        shown = EventError(**error.error.model_dump(), headers=error.headers or None)
        frame = ErrorFrame(status=error.status, error=shown, stream_id=stream_id)
        await self.send(frame.model_dump_json(exclude_none=True).encode())

    async def send_slowly(self, event: bytes, slow: SlowFrames) -> None:
        """Send one event in fragments, each after a pause."""
        size = -(-len(event) // slow.fragments) or 1
        pieces = [event[at : at + size] for at in range(0, len(event), size)]
        async with self._writing:
            for number, piece in enumerate(pieces):
                await self._clock.sleep(slow.seconds)
                await self._check()
                opcode = Opcode.CONT if number else Opcode.TEXT
                self._write(Frame(opcode, piece, fin=number == len(pieces) - 1))

    async def send_extra(self, extra: ExtraFrame) -> None:
        """Send a frame that no server should send."""
        async with self._writing:
            await self._check()
            self._write(Frame(Opcode.BINARY if extra.binary else Opcode.TEXT, extra.text.encode().ljust(extra.size)))

    async def close(self, code: int, reason: str) -> None:
        """Close it with a close frame."""
        async with self._writing:
            await self._check()
            self._silent = True
            await self._put({"type": "websocket.close", "code": code, "reason": reason})

    async def meet(self, effect: Effect | None, *, processed: bool) -> None:
        """Meet a fault that delays or resets before or after a request is `processed`."""
        if isinstance(effect, Delay) and effect.processed is processed:
            await (for_ever() if effect.seconds is None else self._clock.sleep(effect.seconds))
        if isinstance(effect, Reset) and effect.processed is processed:
            await self.break_(BreakSocket(how=SocketBreak.RESET))

    async def break_(self, broken: BreakSocket) -> None:
        """Break it. Nothing else will be sent, so this never returns."""
        self._silent = True
        transport = breakable_connections.transport_of(self._scope)
        if broken.how is SocketBreak.RESET:
            breakable_connections.reset(self._scope)
        elif broken.how is SocketBreak.HALF_OPEN and transport is not None:
            transport.pause_reading()
        elif broken.how is SocketBreak.CLOSE:
            payload = b"" if broken.code is None else struct.pack("!H", broken.code) + broken.reason.encode()
            self._write(Frame(Opcode.CLOSE, payload))
        await for_ever()

    async def _put(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError):
            # OSError: the client is gone. RuntimeError: uvicorn has closed, as its pings were not answered, and lets no
            # message follow. The reader learns it too, and ends whoever waits here.
            await for_ever()

    async def _check(self) -> None:
        if self._silent:
            await for_ever()

    def _write(self, frame: Frame) -> None:
        transport = breakable_connections.transport_of(self._scope)
        if transport is not None:
            transport.write(frame.serialize(mask=False))


async def for_ever() -> None:
    """Wait until cancelled, which is what happens when the client leaves."""
    await asyncio.Event().wait()

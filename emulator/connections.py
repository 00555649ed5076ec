"""Breaking connections: what no HTTP server does on purpose."""

import asyncio
import socket
import struct

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_open: dict[tuple[str, int], asyncio.Transport] = {}


class BreakableProtocol(H11Protocol):
    """uvicorn's protocol, remembering its transport by the client's address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport."""
        super().connection_made(transport)
        # asyncio leaves this out for sockets of `socket.create_server`; without it an answer may wait 40 ms for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _open[transport.get_extra_info("peername")[:2]] = transport
        self._peer = transport.get_extra_info("peername")[:2]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport."""
        _open.pop(self._peer, None)
        super().connection_lost(exc)


def reset(scope: Scope) -> None:
    """Reset the TCP connection that a request came on: the client sees ECONNRESET."""
    transport = _open.get(tuple(scope["client"]))
    if transport is None:
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()

"""TCP connections that can be reset under a client, which servers offer no way to do."""

import asyncio
import socket
import struct
from weakref import WeakValueDictionary

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# An ASGI application sees addresses, not transports. Weak: a WebSocket's transport changes its protocol on the way.
_open: "WeakValueDictionary[tuple[str, int], asyncio.Transport]" = WeakValueDictionary()


class BreakableProtocol(H11Protocol):
    """uvicorn's protocol, remembering its transport by the client's address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport."""
        super().connection_made(transport)
        # asyncio leaves this out for sockets of `socket.create_server`; without it an answer may wait 40 ms for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _open[transport.get_extra_info("peername")[:2]] = transport


def transport_of(scope: Scope) -> asyncio.Transport | None:
    """The TCP connection that a request came on. None where it is gone."""
    transport = _open.get(tuple(scope["client"]))
    return None if transport is None or transport.is_closing() else transport


def reset(scope: Scope) -> None:
    """Reset the TCP connection that a request came on: the client sees ECONNRESET. Nothing where it is gone."""
    transport = transport_of(scope)
    if transport is None:
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()

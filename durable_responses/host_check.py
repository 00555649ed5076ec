"""Who may speak to a server that listens on loopback: this machine's own programs and pages, no foreign web page.

A browser sends any page's requests to 127.0.0.1. They betray themselves: by `Origin`, which names the page, by
`Sec-Fetch-Site`, or, where the page has pointed a name of its own at 127.0.0.1 (DNS rebinding), by `Host`. Programs
send none of the first two, and a `Host` that they were told.

Nothing of ours is imported, so that everybody can use it.
"""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_WILDCARDS = {"0.0.0.0", "::", ""}
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?", re.IGNORECASE)


class HostCheck:
    """ASGI middleware: lets requests pass that name this machine, or one of the `allowed` hosts; others get a 403.

    With a wildcard such as 0.0.0.0 among the allowed, they may name any address, but not any name: to whose address a
    name leads is up to its owner. `same_origin`: pages of other ports of this machine are foreign, too.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str] = (), *, same_origin: bool = False) -> None:
        self._app = app
        self._allowed = {name.lower() for name in allowed}
        self._any_address = not self._allowed.isdisjoint(_WILDCARDS)
        self._same_origin = same_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer foreign requests, pass on the others."""
        problem = (
            self.problem(Headers(scope=scope), scope.get("method", "GET")) if scope["type"] != "lifespan" else None
        )
        if problem is None:
            await self._app(scope, receive, send)
            return
        body = {
            "error": {"message": problem, "type": "invalid_request_error", "param": None, "code": "foreign_request"}
        }
        # Starlette sends it to the upgrade of a WebSocket as well.
        await JSONResponse(body, 403)(scope, receive, send)

    def problem(self, headers: Headers, method: str) -> str | None:
        """What is foreign about a request, in a sentence; None where nothing is."""
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        name = _name_of(host)
        if not (self._is_allowed(name) or (self._any_address and _address(name))):
            return f"The host {host[:100]!r} is not served here: use 127.0.0.1 or localhost."
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin.lower(), host):
            return f"Pages of {origin[:100]!r} are not served here."
        # What a page makes a browser fetch without asking, as an image is. Following a link is the user's own doing.
        follows_a_link = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") == "cross-site" and not follows_a_link:
            return "Requests of other sites' pages are not served here."
        return None

    def _is_ours(self, origin: str, host: str) -> bool:
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        if page.scheme not in ("http", "https"):
            return False
        return page.netloc == host or (self._is_allowed(_name_of(page.netloc)) and not self._same_origin)

    def _is_allowed(self, name: str) -> bool:
        return bool(name) and (name in self._allowed - _WILDCARDS or is_loopback(name))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whatever DNS says: `localhost`, or an address of loopback."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _name_of(host: str) -> str:
    """The host of `host:port`; nothing where it is neither."""
    found = _HOST.fullmatch(host)
    return found["name"] if found else ""

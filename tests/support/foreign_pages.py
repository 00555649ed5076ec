"""What a web page that the user visits can make a browser send to the ports of this machine."""

import asyncio
import json
from collections.abc import Iterable

import psutil

from durable_responses.workflows.contract import WORKFLOW_TYPE, TaskQueue

_START = json.dumps({"workflowType": {"name": WORKFLOW_TYPE}, "taskQueue": {"name": TaskQueue.AGENTS}, "input": [{}]})
_CREATE = json.dumps({"model": "scenario:echo", "input": "Hi.", "metadata": {"from": "a foreign page"}})
STARTED = "started-by-a-foreign-page"
"""The id of the run that the page would start."""
_RUNS = "/api/v1/namespaces/default/workflows"
REQUESTS = [
    ("POST", f"{_RUNS}/{STARTED}", _START),
    ("POST", f"{_RUNS}/bystander/signal/cancel", "{}"),
    ("POST", f"{_RUNS}/bystander/terminate", "{}"),
    ("POST", "/v1/responses", _CREATE),
    ("POST", "/control/reset", ""),
    ("POST", "/", _START),
    ("GET", _RUNS, ""),
    ("GET", f"{_RUNS}/bystander", ""),
    ("GET", "/control/billing", ""),
    ("GET", "/readyz", ""),
]
"""Simple requests (https://fetch.spec.whatwg.org/#simple-header): a browser sends them without asking the server."""


def listening_ports(pids: Iterable[int]) -> dict[int, str]:
    """The TCP ports that processes and their children listen on, with the name of each process."""
    found: dict[int, str] = {}
    for pid in pids:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            for connection in each.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found[connection.laddr.port] = each.name()
    return found


async def send_all(port: int) -> list[bytes]:
    """Send every request to a port, by a name of the page's own (DNS rebinding) and from its own origin."""
    own, foreign = f"127.0.0.1:{port}", f"evil.example:{port}"
    headers = [
        [("Host", foreign), ("Origin", f"http://{foreign}")],
        # A page at its own port needs no other name for what it sends without reading the answer.
        [("Host", own), ("Origin", "http://evil.example")],
        [("Host", own), ("Origin", "null")],
        # A page that has been rebound is of the same origin as the port that it reads.
        [("Host", foreign)],
    ]
    return await asyncio.gather(
        *(_send(port, method, path, body, given) for method, path, body in REQUESTS for given in headers)
    )


async def _send(port: int, method: str, path: str, body: str, headers: list[tuple[str, str]]) -> bytes:
    """The answer's bytes, whatever they are; nothing where the connection is cut."""
    given = [*headers, ("Content-Type", "text/plain;charset=UTF-8"), ("Content-Length", str(len(body)))]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given), "Connection: close", "", body]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join(lines).encode())
        # A server of another protocol may wait for more; it has shown by then that it does not understand this.
        async with asyncio.timeout(3):
            return await reader.read()
    except (OSError, TimeoutError):
        return b""
    finally:
        writer.close()

"""An MCP server with tools that behave in the ways a worker has to cope with: a program, over stdio or HTTP.

    python -m tests.support.mcp_tool_server FOLDER [PORT]

What has to be counted is written to files in FOLDER, a line for each call.
"""

import asyncio
import base64
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve
from mcp_types import ContentBlock, ImageContent, ListRootsResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

READS = ToolAnnotations(read_only_hint=True)
AGAIN = ToolAnnotations(read_only_hint=False, idempotent_hint=True, destructive_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False)

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)

server = MCPServer("tool-server")
_folder = Path()


def _noted(name: str) -> int:
    with (_folder / name).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len((_folder / name).read_text().splitlines())


@server.tool(annotations=READS)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    _noted("add")
    return a + b


@server.tool(annotations=READS)
def greet(name: str, greeting: Annotated[str, Field(description="What to say.")] = "Hello") -> str:
    """Greet somebody."""
    return f"{greeting}, {name}!"


@server.tool(annotations=ADDS)
def append(text: str) -> str:
    """Append a line to a file: twice is once too often."""
    return f"appended {text!r}: {_noted('append')}"


@server.tool(annotations=AGAIN)
def put(text: str) -> str:
    """Put a text where it was before."""
    return f"put {text!r}: {_noted('put')}"


@server.tool()
def unspoken(text: str) -> str:
    """A tool of which its server says nothing."""
    return f"unspoken {text}: {_noted('unspoken')}"


@server.tool(annotations=READS)
async def wait(context: Context, seconds: float) -> str:
    """Wait, and say how far it has come."""
    _noted("waiting")
    try:
        for second in range(int(seconds * 10)):
            await context.report_progress(second, seconds * 10, "waiting")
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        _noted("cancelled")
        raise
    return "waited"


async def _slowly(name: str) -> str:
    count = _noted(name)
    while not (_folder / "open").exists():
        await asyncio.sleep(0.05)
    return f"{name}: {count}"


@server.tool(annotations=READS)
async def look_slowly() -> str:
    """Read something, once the file `open` is there."""
    return await _slowly("look_slowly")


@server.tool(annotations=AGAIN)
async def put_slowly() -> str:
    """Put something where it was, once the file `open` is there."""
    return await _slowly("put_slowly")


@server.tool(annotations=ADDS)
async def append_slowly() -> str:
    """Add something, once the file `open` is there."""
    return await _slowly("append_slowly")


@server.tool(annotations=READS)
def fail() -> str:
    """Fail."""
    raise ValueError("the disk is on fire")


@server.tool(annotations=READS)
def variable(name: str) -> str:
    """A variable of the server's environment."""
    return os.environ.get(name, "not set")  # noqa: TID251 - it is what the test asks about


class Address(BaseModel):
    """What has to be known before anything is sent."""

    street: str
    number: int = Field(description="Of the house.")


def _whereto() -> Elicit[Address]:
    return Elicit("Where is it to be sent?", Address)


@server.tool(annotations=ADDS)
def send(what: str, address: Annotated[Address, Resolve(_whereto)]) -> str:
    """Send something to an address that nobody but the user knows."""
    return f"sent {what} to {address.street} {address.number}: {_noted('send')}"


def _folders() -> ListRoots:
    return ListRoots()


@server.tool(annotations=READS)
def folders(roots: Annotated[ListRootsResult, Resolve(_folders)]) -> str:
    """The folders of the user."""
    return ", ".join(str(root.uri) for root in roots.roots)


@server.tool(annotations=READS)
def picture(broken: bool = False) -> list[ContentBlock]:
    """A picture, and what is to be said of it."""
    data = PICTURE[:20] if broken else PICTURE
    image = ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type="image/png")
    return [TextContent(type="text", text="As you see:"), image]


def lesson() -> str:
    """What was learned."""
    return "learned"


@server.tool(annotations=ADDS)
async def learn(context: Context) -> str:
    """Have one more tool from now on."""
    server.add_tool(lesson, annotations=READS)
    await context.notify_tools_changed()
    return "learned"


def _die(name: str) -> str:
    if _noted(name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@server.tool(annotations=READS)
def die_reading() -> str:
    """Die in the first call."""
    return _die("die_reading")


@server.tool(annotations=ADDS)
def die_once() -> str:
    """Die in the first call, having done something that must not be done twice."""
    return _die("die_once")


@server.tool(annotations=READS)
def megabytes(count: int) -> str:
    """Far too much."""
    return "x" * (count * 1024 * 1024)


def refusing(app: ASGIApp) -> ASGIApp:
    """The same, but too many requests come while the file `refuses` is there."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refuses = scope["type"] == "http" and (_folder / "refuses").exists()
        await (Response(status_code=429) if refuses else app)(scope, receive, send)

    return answer


def serve_in(folder: Path) -> None:
    """Note calls in this folder."""
    global _folder
    _folder = folder


def main() -> None:
    """Serve on standard input and output, or over HTTP."""
    serve_in(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        uvicorn.run(
            refusing(server.streamable_http_app()), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning"
        )
    else:
        server.run()


if __name__ == "__main__":
    main()

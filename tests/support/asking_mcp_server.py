"""An MCP server of revision 2025-11-25, which asks its user in the middle of a call: a program, over stdio or HTTP.

    python -m tests.support.asking_mcp_server FOLDER [PORT]

What has to be counted is written to files in FOLDER: a line for each call, and in `answers` what was answered.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
from pydantic import BaseModel

READS = types.ToolAnnotations(read_only_hint=True)
ADDS = types.ToolAnnotations(read_only_hint=False, destructive_hint=False)
TOOLS = {
    "look_up": READS,
    "order": ADDS,
    "order_twice": ADDS,
    "order_together": ADDS,
    "log_in": READS,
    "after_log_in": READS,
    "impatient_look_up": READS,
    "impatient_order": ADDS,
    "slow": READS,
    "echo": READS,
}
WHICH: types.ElicitRequestedSchema = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": ["red", "green"]}},
    "required": ["color"],
}
PAGE = "https://shop.example/login?id=1"
Context = ServerRequestContext[Any, Any]
_folder = Path()


def _noted(name: str, line: str = "x") -> int:
    with (_folder / name).open("a") as file:
        file.write(f"{line}\n")
    return _count(name)


def _count(name: str) -> int:
    return len((_folder / name).read_text().splitlines())


async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """All of them."""
    del context, params
    tools = [types.Tool(name=name, input_schema={"type": "object"}, annotations=how) for name, how in TOOLS.items()]
    return types.ListToolsResult(tools=tools)


async def _answered(context: Context, message: str = "Which color?") -> str:
    answer = await context.session.elicit_form(message, WHICH, context.request_id)
    _noted("answers", answer.action)
    return str((answer.content or {}).get("color")) if answer.action == "accept" else answer.action


async def _impatiently(context: Context) -> str:
    if (_folder / "patient").exists():
        return await _answered(context)
    _noted("asking")
    asking = asyncio.create_task(_answered(context))
    while not (_folder / "patient").exists():
        await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.wait({asking})
    _noted("given_up")
    raise MCPError(code=types.INTERNAL_ERROR, message="nobody has answered in time")


async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Ask, and say what the answer was."""
    count = _noted(params.name)
    match params.name:
        case "look_up" | "order":
            said = await _answered(context)
        case "order_together":
            while _count(params.name) < 2:
                await asyncio.sleep(0.02)
            said = await _answered(context)
        case "order_twice":
            said = f"{await _answered(context)} and {await _answered(context, 'And which second color?')}"
        case "log_in":
            said = (await context.session.elicit_url("Log in.", PAGE, "1", context.request_id)).action
            _noted("answers", said)
        case "after_log_in":
            if count == 1:
                asked = types.ElicitRequestURLParams(message="Log in first.", url=PAGE, elicitation_id="1")
                raise UrlElicitationRequiredError([asked])
            said = "logged in"
        case "impatient_look_up" | "impatient_order":
            try:
                said = await _impatiently(context)
            except MCPError as error:
                return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
        case "slow":
            while not (_folder / "open").exists():
                await asyncio.sleep(0.02)
            said = "done"
        case _:
            said = "echo"
    return types.CallToolResult(content=[types.TextContent(text=f"{params.name}: {said}")])


async def no_such_method(context: Context, params: BaseModel) -> types.DiscoverResult:
    """What servers say that are older than revision 2026-07-28."""
    del context, params
    raise MCPError(code=types.METHOD_NOT_FOUND, message="Method not found")


def main() -> None:
    """Serve on standard input and output, or over HTTP."""
    global _folder
    _folder = Path(sys.argv[1])
    server = Server("asking", on_list_tools=list_tools, on_call_tool=call_tool)
    server.add_request_handler("server/discover", types.RequestParams, no_such_method)
    if len(sys.argv) > 2:
        uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
        return

    async def on_streams() -> None:  # `server.run` would serve newer revisions as well
        async with stdio_server() as (reading, writing), server.lifespan(server) as state:
            await serve_loop(server, reading, writing, lifespan_state=state)

    anyio.run(on_streams)


if __name__ == "__main__":
    main()

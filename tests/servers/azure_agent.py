"""An agent on azure-ai-agentserver-responses, run in its environment: `python azure_agent.py`, with PORT.

It follows the words of `chat_model`, by what the server tells it of the conversation.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from azure.ai.agentserver.responses import ResponseEventStream, ResponsesAgentServerHost

sys.path.insert(0, str(Path(__file__).parent))
from chat_model import CALL, said, seconds_of, text_of, wants_call

app = ResponsesAgentServerHost()


@app.response_handler  # type: ignore[untyped-decorator]
async def answer(request: Any, context: Any, cancelled: asyncio.Event) -> Any:
    """Answer by the whole conversation."""
    return _events(request, context, cancelled)


async def _events(request: Any, context: Any, cancelled: asyncio.Event) -> Any:
    items = [_plain(item) for item in [*await context.get_history(), *await context.get_input_items()]]
    users = [text_of(item.get("content")) for item in items if item.get("role") == "user"]
    told = [text_of(item.get("output")) for item in items if item.get("type") == "function_call_output"]
    task = users[0] if users else ""
    stream = ResponseEventStream(response_id=context.response_id, request=request)
    yield stream.emit_created()
    yield stream.emit_in_progress()
    if wants_call(task, told):
        for event in stream.output_item_function_call(CALL["name"], "call_1", CALL["arguments"]):
            yield event
        yield stream.emit_completed()
        return
    try:
        await asyncio.wait_for(cancelled.wait(), seconds_of(task) or 0.01)
        return
    except TimeoutError:
        pass
    for event in stream.output_item_message(said(task, told)):
        yield event
    yield stream.emit_completed()


def _plain(item: Any) -> dict[str, Any]:
    return dict(item.as_dict() if hasattr(item, "as_dict") else item)


app.run()

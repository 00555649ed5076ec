"""Small servers of the Responses API that do not continue from `previous_response_id`, each in its own way.

They have no background either: a POST is answered with the whole response, as JSON or as a stream, and nothing can be
read back. Their model calls `add` as often as `calls` says, each time that it sees a task without enough outputs, and
then says what it was given.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Chain(StrEnum):
    """What a server does with `previous_response_id`."""

    IGNORED = "ignored"
    NAMES_A_COMPLETION = "ignored, and a chat completion is named"
    REFUSED_BY_NAME = "400 that names the parameter"
    REFUSED_BY_ID = "404 that names the id"
    REFUSED_BY_PARAM = "404 whose param is response_id"
    REFUSED_BY_CODE = "400 with code previous_response_not_found"
    UNPROCESSABLE = "422 that names the parameter"
    PLAIN_DETAIL = "400 of a framework, {detail: …}"
    NAMES_NOTHING = "ignored, and an empty text is named"
    BREAKS_DOWN = "500 that names the id"
    FAILS = "a response that has failed for it"
    CALL_UNKNOWN = "400 that complains of the call's output"
    ECHOES_ANOTHER = "continued, and another id is named"
    CONTINUED = "continued"


CHAINLESS = [each for each in Chain if each not in (Chain.ECHOES_ANOTHER, Chain.CONTINUED)]


@dataclass
class ChainlessServer:
    """One server. `asked`: the bodies of all creates; `calls`: how many tool calls its model makes, one a turn.

    `padding`, `thought`: characters of text, and of reasoning, beside each call. `queues`: it has background responses.
    """

    chain: Chain
    calls: int = 1
    padding: int = 0
    thought: int = 0
    queues: bool = False
    tool: str = "add"
    arguments: str = '{"a": 1, "b": 2}'
    asked: list[dict[str, Any]] = field(default_factory=list)
    gets: int = 0
    base_url: str = ""
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    _said: dict[str, list[Any]] = field(default_factory=dict)

    def answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the body that answer a create."""
        self.asked.append(asked)
        given = asked["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        previous = asked.get("previous_response_id")
        if previous is not None and (refusal := self._refusal(previous)) is not None:
            return refusal
        chains = self.chain in (Chain.CONTINUED, Chain.ECHOES_ANOTHER)
        seen = [*(self._said.get(previous, []) if chains and previous else []), *items]
        output = self._output(seen, asked)
        response_id = f"resp_{uuid.uuid4().hex}"
        self._said[response_id] = [*seen, *output]
        echo = {
            Chain.CONTINUED: previous,
            Chain.ECHOES_ANOTHER: previous and "resp_another",
            Chain.NAMES_NOTHING: previous and "",
            Chain.NAMES_A_COMPLETION: previous and "chatcmpl-d1ebf0ec",
        }.get(self.chain)
        return 200, {
            "id": response_id,
            "object": "response",
            "created_at": int(time.time()),
            "model": asked.get("model"),
            "status": "completed",
            "output": output,
            "previous_response_id": echo,
            "usage": {"input_tokens": len(seen), "output_tokens": 1, "total_tokens": len(seen) + 1},
        }

    def compacted(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:  # noqa: ARG002
        """The status and the body that answer `POST /responses/compact`."""
        return 404, _error("Not found.", code=404)

    def _refusal(self, previous: str) -> tuple[int, dict[str, Any]] | None:
        match self.chain:
            case Chain.REFUSED_BY_NAME:
                return 400, _error("llama.cpp does not support 'previous_response_id'.", code=400)
            case Chain.REFUSED_BY_ID:
                return 404, _error(f"Nothing is known of {previous}.")
            case Chain.REFUSED_BY_PARAM:
                return 404, _error("It was not found.", param="response_id", code=404)
            case Chain.REFUSED_BY_CODE:
                return 400, _error("No.", code="previous_response_not_found", param="previous_response_id")
            case Chain.UNPROCESSABLE:
                return 422, _error("Extra inputs are not permitted: previous_response_id")
            case Chain.BREAKS_DOWN:
                return 500, _error(f"KeyError: {previous!r}", type="server_error")
            case Chain.FAILS:
                error = {"code": "previous_response_not_found", "message": f"Previous response {previous} not found."}
                return 200, {"id": f"resp_{uuid.uuid4().hex}", "status": "failed", "output": [], "error": error}
            case Chain.PLAIN_DETAIL:
                return 400, {"detail": "previous_response_id is not supported"}
            case Chain.CALL_UNKNOWN:
                return 400, _error(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                )
            case _:
                return None

    def _output(self, seen: list[Any], asked: dict[str, Any]) -> list[Any]:
        outputs = [item for item in seen if item.get("type") == "function_call_output"]
        tasks = [item for item in seen if item.get("role") == "user"]
        if asked.get("tools") and tasks and len(outputs) < self.calls:
            number = len(outputs) + 1
            thought = {"type": "reasoning", "id": f"rs_{number}", "summary": []}
            thought["encrypted_content"] = f"E{number}" + "x" * self.thought
            said = {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": f"Step {number}." + "x" * self.padding, "annotations": []}],
            }
            call = {
                "type": "function_call",
                "id": f"fc_{number}",
                "call_id": f"call_{number}",
                "name": self.tool,
                "arguments": self.arguments,
                "status": "completed",
            }
            return [thought, *([said] if self.padding else []), call]
        text = f"I was given: {', '.join(kinds(seen))}"
        part = {"type": "output_text", "text": text, "annotations": []}
        return [{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [part]}]


def kinds(items: list[Any]) -> list[str]:
    """What an input consists of, item by item."""
    return [item.get("role") or item.get("type") for item in items]


def _error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", **fields, "message": message}}


@contextmanager
def serving(server: ChainlessServer) -> Iterator[ChainlessServer]:
    """Serve it on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.gets += 1
            stored = server.stored.get(self.path.rpartition("/")[2])
            if stored is not None:
                self._say(200, json.dumps(stored).encode())
                return
            self._say(404, json.dumps(_error("Not found.", code=404)).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            if self.path.endswith("/responses/compact"):
                status, answer = server.compacted(json.loads(body))
                self._say(status, json.dumps(answer).encode())
                return
            if re.search("/responses/.", self.path):
                self._say(404, json.dumps(_error("Not found.", code=404)).encode())
                return
            asked = json.loads(body)
            status, answer = server.answer(asked)
            if status == 200 and asked.get("background") and server.queues:
                server.stored[answer["id"]] = answer
                queued = answer | {"status": "queued", "output": [], "previous_response_id": None}
                self._say(200, json.dumps(queued).encode())
                return
            if status != 200 or not asked.get("stream"):
                self._say(status, json.dumps(answer).encode())
                return
            created = {"type": "response.created", "response": answer | {"status": "in_progress", "output": []}}
            events = [created, {"type": "response.completed", "response": answer}]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            self._say(200, text.encode(), "text/event-stream")

        def _say(self, status: int, data: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()

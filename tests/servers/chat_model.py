"""A chat model that follows three words, as an OpenAI-compatible server: `python chat_model.py PORT`. Standard library.

Behind gateways that have no model of their own. It answers by the conversation that it was given, so that an answer
shows what a model has seen: `The task was: … I was told: …`.
"""

import json
import re
import sys
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CALL = {"name": "look", "arguments": json.dumps({"gate": "open"})}


def text_of(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def said(task: str, told: list[str]) -> str:
    """The answer to a conversation with this task and these results of calls."""
    return f"The task was: {task or 'unknown'} I was told: {' '.join(told) or 'nothing'}"


def wants_call(task: str, told: list[str]) -> bool:
    """Whether the function is called now."""
    return "Look at the gate" in task and not told


def seconds_of(task: str) -> float:
    """How long the answer to a task takes."""
    match = re.search(r"Take (\d+) seconds", task)
    return float(match[1]) if match else 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._json({"object": "list", "data": [{"id": "scripted", "object": "model", "created": 0, "owned_by": "us"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        users = [text_of(each["content"]) for each in asked["messages"] if each["role"] == "user"]
        told = [text_of(each["content"]) for each in asked["messages"] if each["role"] == "tool"]
        task = users[0] if users else ""
        words = re.findall(r"\S+\s*", said(task, told)) if not wants_call(task, told) else []
        pause = seconds_of(task) / max(1, len(words))
        if asked.get("stream"):
            self._stream(self._chunks(asked["model"], words, pause))
            return
        time.sleep(pause * len(words))
        message: dict[str, Any] = {"role": "assistant", "content": "".join(words) or None}
        if not words:
            message["tool_calls"] = [{"id": f"call_{uuid.uuid4().hex[:8]}", "type": "function", "function": CALL}]
        choice = {"index": 0, "message": message, "finish_reason": "stop" if words else "tool_calls"}
        self._json(self._head(asked["model"], "chat.completion") | {"choices": [choice], "usage": _usage(words)})

    def _chunks(self, model: str, words: list[str], pause: float) -> Iterator[dict[str, Any]]:
        head = self._head(model, "chat.completion.chunk")
        if not words:
            call = {"index": 0, "id": f"call_{uuid.uuid4().hex[:8]}", "type": "function", "function": CALL}
            yield head | {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}}]}
        for word in words:
            yield head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}]}
            time.sleep(pause)
        ending = "stop" if words else "tool_calls"
        yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": ending}]}
        yield head | {"choices": [], "usage": _usage(words)}

    def _head(self, model: str, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}

    def _json(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _usage(words: list[str]) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": len(words) or 1, "total_tokens": 10 + (len(words) or 1)}


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()

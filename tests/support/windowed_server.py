"""A small server of the Responses API whose model has a context window, and which compacts when it is asked to.

Its model calls `add` as often as `calls` says, over compactions too, and then answers. It refuses what is too long for
its window. It compacts by `compaction_trigger` where `triggers`, and by `POST /responses/compact` where `compacts`.
Each compaction has `bulk` spaces, which take no tokens.
"""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.chainless_servers import ChainlessServer, serving


@dataclass
class WindowedServer(ChainlessServer):
    """One server. A token has four bytes of JSON. `compactions`: the bodies of the requests that were compacted."""

    window: int = 8_000
    triggers: bool = True
    compacts: bool = True
    bulk: int = 0
    compactions: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """As its model answers; a compaction if that is asked for."""
        is_trigger = isinstance(asked["input"], list) and asked["input"][-1].get("type") == "compaction_trigger"
        if is_trigger and not self.triggers:
            return 400, _error("Invalid value: 'compaction_trigger'.", param="input[1]")
        seen = self._seen(asked)
        if _tokens(seen) > self.window:
            return 400, _error("Your input exceeds the context window of this model.", code="context_length_exceeded")
        if not is_trigger:
            status, answer = super().answer(asked)
            answer["usage"] = _usage(seen, answer["output"])
            return status, answer
        self.compactions.append(asked)
        output = [_compaction(seen, self.bulk)]
        answer = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "status": "completed",
            "output": output,
            "previous_response_id": asked.get("previous_response_id"),
            "usage": _usage(seen, output),
        }
        self._said[answer["id"]] = [*seen, *output]
        return 200, answer

    def compacted(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The answer has the user's messages, unchanged, and what stands for the rest."""
        if not self.compacts:
            return super().compacted(asked)
        seen = self._seen(asked)
        self.compactions.append(asked)
        users = [{"type": "message", **item} for item in seen if item.get("role") == "user"]
        output = [*users, _compaction(seen, self.bulk)]
        return 200, {
            "id": f"cmp_{uuid.uuid4().hex}",
            "object": "response.compaction",
            "created_at": 1,
            "output": output,
            "usage": _usage(seen, output),
        }

    def _seen(self, asked: dict[str, Any]) -> list[Any]:
        given = asked["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        items = [item for item in items if item.get("type") != "compaction_trigger"]
        previous = asked.get("previous_response_id")
        return [*(self._said.get(previous, []) if previous else []), *items]

    def _output(self, seen: list[Any], asked: dict[str, Any]) -> list[Any]:
        # What was compacted counts: the task and the outputs that it stands for.
        stands_for = [json.loads(item["encrypted_content"]) for item in seen if item.get("type") == "compaction"]
        if not stands_for:
            return super()._output(seen, asked)
        done = [{"type": "function_call_output"}] * stands_for[-1]
        task = [{"role": "user", "content": "Add."}]
        return super()._output([*task, *done, *seen], asked)


def _compaction(seen: list[Any], bulk: int) -> dict[str, Any]:
    done = sum(json.loads(item["encrypted_content"]) for item in seen if item.get("type") == "compaction")
    done += sum(item.get("type") == "function_call_output" for item in seen)
    return {
        "type": "compaction",
        "id": f"cmp_{uuid.uuid4().hex[:8]}",
        "encrypted_content": json.dumps(done) + " " * bulk,
    }


def _tokens(items: list[Any]) -> int:
    return len(re.sub(" {2,}", "", json.dumps(items))) // 4


def _usage(seen: list[Any], output: list[Any]) -> dict[str, int]:
    given, said = _tokens(seen), _tokens(output)
    return {"input_tokens": given, "output_tokens": said, "total_tokens": given + said}


def _error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **fields}}


@contextmanager
def serving_windowed(server: WindowedServer) -> Iterator[WindowedServer]:
    """Serve it on a free port of this machine."""
    with serving(server):
        yield server

"""Whole runs whose tools answer more than a model should be given at once."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, TransportChoice
from tests.support.chainless_servers import Chain, ChainlessServer, serving
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import agents_at

LINES = [f"line {number:05} of a long file" for number in range(4_000)]


@dataclass
class ReadingServer(ChainlessServer):
    """Its model reads a file, and then whatever of the answer it was not given."""

    id: str = ""

    def _output(self, seen: list[Any], asked: dict[str, Any]) -> list[Any]:  # noqa: ARG002
        outputs = [item["output"] for item in seen if item.get("type") == "function_call_output"]
        if not outputs:
            return [self._call(1, "read_file", {"path": "long.txt"})]
        note = re.search(r'read_output with id "([\w-]+)" and offset (\d+)|continue with offset=(\d+)', outputs[-1])
        if note:
            self.id = note[1] or self.id
            return [self._call(len(outputs) + 1, "read_output", {"id": self.id, "offset": int(note[2] or note[3])})]
        text = "The last line is: " + outputs[-1].strip().splitlines()[-1]
        part = {"type": "output_text", "text": text, "annotations": []}
        return [{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [part]}]

    def _call(self, number: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        ids = {"id": f"fc_{number}", "call_id": f"call_{number}"}
        return {"type": "function_call", **ids, "name": name, "arguments": json.dumps(arguments), "status": "completed"}


@pytest.mark.parametrize("tools", [None, ["read_file"]], ids=["all tools", "one tool"])
async def test_a_model_reads_on_in_an_answer_that_was_too_long(
    client: Client, emulator: RunningEmulator, settings: Settings, tmp_path: Path, tools: list[str] | None
) -> None:
    (tmp_path / "long.txt").write_text("\n".join(LINES[:2000]))  # what `read_file` gives at once
    settings = settings.model_copy(update={"workspace": tmp_path})
    server = ReadingServer(Chain.CONTINUED)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(AgentInput(task="Read.", transport=TransportChoice.STREAM, tools=tools))
    assert (result.status, result.error) == ("completed", None)
    assert result.output_text == f"The last line is: {LINES[1999]}"
    offered = [[tool["name"] for tool in body["tools"]] for body in server.asked]
    assert "read_output" not in offered[0]  # until there is something to read
    assert all(names.count("read_output") == 1 for names in offered[1:])

"""Files that the provider's tools have made are saved beside the result: whole runs at the emulator."""

from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.messages import SaveOptions
from durable_responses.workflows.contract import AgentInput, AgentResult, AgentStatus
from tests.support.runs import Agents, result_of

PNG = b"\x89PNG\r\n\x1a\n"
WAYS: dict[str, dict[str, Any]] = {
    "background": {"transport": "background"},
    "stream": {"transport": "stream"},
    "websocket": {"transport": "websocket"},
    "in full": {"transport": "stream", "conversation": "full"},
}


def asks(scenario: str, way: str = "background", **fields: Any) -> AgentInput:
    save = fields.pop("save", SaveOptions(files=True))
    return AgentInput(
        task="Make files.",
        tools=[],
        enable_code_interpreter=True,
        save=save,
        metadata={"scenario": scenario},
        **WAYS[way],
        **fields,
    )


def contents(result: AgentResult) -> dict[str, bytes]:
    """What is saved, by the names that the files have at the provider; each is as large as it says."""
    saved = {file.name: Path(file.path).read_bytes() for file in result.files if file.path is not None}
    assert {file.name: file.bytes for file in result.files if file.path} == {n: len(it) for n, it in saved.items()}
    return saved


@pytest.mark.parametrize("way", WAYS)
async def test_files_of_a_container_are_saved_cited_or_not(agents: Agents, way: str) -> None:
    result = await agents.run(asks("code_interpreter?files=3&cited=1&bytes=1000", way))
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    saved = contents(result)
    assert list(saved) == ["plot.png", "table1.csv", "table2.csv"]
    assert saved["plot.png"].startswith(PNG)
    assert saved["table1.csv"].startswith(b"a,b\n1,2\n")
    assert result.artifact_path is not None
    assert {Path(file.path or "").parent.parent for file in result.files} == {Path(result.artifact_path).parent}


@pytest.mark.parametrize("way", WAYS)
async def test_images_are_saved_and_never_enter_history(agents: Agents, way: str) -> None:
    run = await agents.start(asks("image_generation?bytes=3000000", way))
    result = await result_of(run)
    [(name, image)] = contents(result).items()
    assert (name, image[:8], len(image) > 3_000_000) == ("image.png", PNG, True)
    history = await run.fetch_history()
    assert sum(event.ByteSize() for event in history.events) < 40_000

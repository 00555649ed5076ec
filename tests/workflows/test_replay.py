"""Yesterday's runs still replay: stored histories of real workers against today's workflow code."""

import contextlib
import json
import re
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from durable_responses.workflows.agent import AgentWorkflow
from tests.workflows.record_histories import HISTORIES, RELEASE, SCENARIOS

STORED = sorted(HISTORIES.rglob("*.json"))
# Libraries that the modules of the activities import: the workflow names activities by their methods.
LIBRARIES = [
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "httpx",
    "httpx_aiohttp",
    "httpx_sse",
    "aiohttp",
    "websockets",
]


def name_of(path: Path) -> str:
    """The release that a history was recorded with, and its scenario."""
    return str(path.relative_to(HISTORIES).with_suffix(""))


async def replay(path: Path) -> None:
    """In the sandbox, which workers do without."""
    replayer = Replayer(
        workflows=[AgentWorkflow],
        data_converter=pydantic_data_converter,
        workflow_runner=SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_modules(*LIBRARIES)),
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


@pytest.mark.parametrize("path", STORED, ids=name_of)
async def test_a_stored_history_replays(path: Path) -> None:
    await replay(path)


def test_every_scenario_has_a_history_of_this_release() -> None:
    """A release whose histories were not recorded would be one that later versions may break unseen."""
    assert {scenario.__name__ for scenario in SCENARIOS} <= {path.stem for path in RELEASE.glob("*.json")}


async def test_a_history_of_something_else_does_not_replay(tmp_path: Path) -> None:
    """The check can fail: an activity that the workflow does not ask for is noticed."""
    events = (RELEASE / "background.json").read_text().replace('"await_response"', '"some_other_activity"')
    other = tmp_path / "other.json"
    other.write_text(events)
    with pytest.raises(Exception, match=r"[Nn]ondeterminism"):
        await replay(other)


@pytest.mark.parametrize("path", STORED, ids=name_of)
def test_a_stored_history_names_no_machine_and_no_key(path: Path) -> None:
    """A25."""
    events = json.loads(path.read_text())
    identities = set(_values(events, "identity"))
    assert identities <= {"worker", "history-service", ""}
    assert not re.search(r"sk-|stackTrace|/root/|/home/|/site-packages/", path.read_text())


def _values(value: object, key: str) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _values(item, key)]
    if isinstance(value, dict):
        here = [value[key]] if isinstance(value.get(key), str) else []
        return here + [found for item in value.values() for found in _values(item, key)]
    return []


async def test_workflow_code_passes_the_strict_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """With our own modules loaded inside it, too, it finds nothing that workflow code must not do."""
    monkeypatch.setattr(workflow.unsafe, "imports_passed_through", contextlib.nullcontext)
    await replay(RELEASE / "background.json")

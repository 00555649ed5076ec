"""The runs in the pictures: of all statuses, two of them under way."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.jobs.jobs import Jobs
from durable_responses.stack_file import StackFile
from durable_responses.workflows.contract import AgentInput, AgentState, AgentStatus, CallStatus

FINISHED, WRITING, ASKING = "release-checklist", "release-notes", "release-plan"

_NOTES = """\
# Fernwick 2.0

The pump no longer starts while the tank is empty, and beds are watered one after the other.

## What is new

- Moisture is read every ten minutes, and each reading is kept for a year.
- A valve that does not close is reported within a minute, and its bed is left out until somebody has looked at it.
- The plan of the week can be changed from the telephone, also while the controller is away from the network.

## What has changed

- A forecast of rain postpones the watering, for a day at most. It can be switched off for each bed.
- The diary is written as plain text, one file a month, and stays in the house as before.
- The old valve driver is gone. Controllers of the first series need the adapter that has been in the box since May.

## Before you update

Write down the calibration of each sensor: the new firmware asks for it once.
"""
_READS = [
    FunctionCallStep(name="read_file", arguments={"path": path})
    for path in ("release/2.0-checklist.md", "notes/2026-11-09-release-meeting.md", "docs/install.md")
]
_SCENARIO = Scenario(
    name="release-notes",
    responses=[
        Script(think=1.5, summary=["First I read what is to be in the release."], output=[*_READS]),
        # At the time of the pictures it is still being written.
        Script(think=2, write=120, output=[Text(text=_NOTES)]),
    ],
)
_QUESTION = {
    "question": "Which release is to be planned?",
    "choices": ["2.1, without the new valve driver", "2.1, with it", "3.0"],
    "why": "The checklist and the notes of the last meeting say different things.",
}
ASKS = Scenario(
    name="release-plan",
    responses=[
        Script(think=1.5, summary=["I read what was planned so far."], output=[*_READS[:2]]),
        Script(think=1.5, output=[FunctionCallStep(name="ask_owner", arguments=_QUESTION)]),
        Script(think=1.5, output=[Text(text="Then **2.1** ships in three weeks, and the old driver stays until 3.0.")]),
    ],
)


async def add_scenarios(stack: StackFile) -> None:
    """Tell the emulator how the model behaves."""
    assert stack.emulator_url is not None
    async with httpx.AsyncClient(trust_env=False) as http:
        control = stack.emulator_url.removesuffix("/v1") + "/control"
        for scenario in (_SCENARIO, ASKS):
            (await http.post(f"{control}/scenarios", content=scenario.model_dump_json())).raise_for_status()


async def make(jobs: Jobs) -> None:
    """Start all runs; returns when each is where the pictures want it."""
    background = {"transport": "background"}
    await _start(jobs, "unknown-model", "Translate the manual into Sindarin.", model="unknown-model", tenant="docs")
    thinking = {"metadata": {"scenario": "think?seconds=600"}, **background}
    await _start(jobs, "plan-2.1", "Plan release 2.1 in ten seconds.", deadline=3.0, tenant="planning", **thinking)
    await _start(jobs, "sensor-review", "Review the firmware of the sensors.", tenant="firmware", **thinking)
    await _start(jobs, "flooded-bed", "Why was the bed flooded in August?", model="gpt-5.4-mini", tenant="support")
    task = "What is still open before Fernwick 2.0 can ship? Name the owner of each point."
    await _start(jobs, FINISHED, task, reasoning_effort="high", tenant="release", **background)
    written = {"metadata": {"scenario": _SCENARIO.name}, "live_preview": True, **background}
    await _start(jobs, WRITING, "Write the release notes of Fernwick 2.0.", tenant="release", **written)

    asking = {"metadata": {"scenario": ASKS.name}, "allow_questions": True, **background}
    await _start(jobs, ASKING, "Plan the next release of Fernwick.", tenant="planning", **asking)

    await _until(jobs, "sensor-review", lambda state: state.status is AgentStatus.RUNNING)
    await jobs.cancel("sensor-review", "The review was done by hand.")
    for ended in ("unknown-model", "plan-2.1", "sensor-review", "flooded-bed", FINISHED):
        await _until(jobs, ended, lambda state: state.status.is_final)
    await _until(jobs, ASKING, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    await _until(jobs, WRITING, lambda state: _has_read(state) and "What is new" in state.preview)


async def _start(jobs: Jobs, job_id: str, task: str, **fields: Any) -> None:
    fields = {"model": "gpt-5.4", **fields}
    await jobs.start(AgentInput.model_validate({"task": task, **fields}), job_id=job_id)


def _has_read(state: AgentState) -> bool:
    return bool(state.function_calls) and all(call.status is not CallStatus.RUNNING for call in state.function_calls)


async def _until(jobs: Jobs, job_id: str, reached: Callable[[AgentState], bool]) -> None:
    async with asyncio.timeout(120):
        async for view in jobs.watch(job_id):
            if reached(view.state):
                return
    raise RuntimeError(f"{job_id} ended too early.")

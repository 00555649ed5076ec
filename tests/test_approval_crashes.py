"""No call whose rule says ask or deny ever runs without its answer: random rules, calls, answers and kills.

Real processes: each example kills the worker at some events of the histories of its runs, and starts it again, perhaps
with stricter rules. What the tools have done is read from the files that they leave.
"""

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.tools.approvals import call_hash
from durable_responses.workflows.contract import AgentStatus, InputRequest, TransportChoice
from tests.support.deployment import Deployment, Run, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.gated_tools import Gate
from tests.support.processes import TemporalServer, WorkerProcess

EXAMPLES = 3
EFFECTS = {"look": "pure", "put": "idempotent", "send": "once"}
STRICTNESS = ["allow", "ask", "deny"]
EVENTS = 45
"""So many events has the history of a run of two responses whose calls are asked about."""

Rules = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """One run: the tools that its model calls, its rules, and what its owner answers about each call."""

    tools: list[str]
    rules: Rules
    answers: list[str]


@dataclass(frozen=True)
class Kill:
    """SIGKILL for the worker once the history of a run has so many events; the next one has these rules in addition."""

    run: int
    events: int
    stricter: bool


def verdict(rules: Rules, tool: str, place: str) -> str:
    """What these rules say, told once more in the simplest way."""
    for rule in rules["rules"]:  # type: ignore[attr-defined]
        fits = rule.get("tool", tool) == tool and rule.get("effect", EFFECTS[tool]) == EFFECTS[tool]
        if fits and rule.get("arguments", {"gate": place})["gate"] == place:
            return str(rule["action"])
    return "allow" if rules["default"] == "ask" and tool == "look" else str(rules["default"])


def rules_with(actions: "st.SearchStrategy[str]") -> "st.SearchStrategy[Rules]":
    by_tool = st.fixed_dictionaries({"tool": st.sampled_from(list(EFFECTS)), "action": actions})
    by_effect = st.fixed_dictionaries({"effect": st.sampled_from(list(EFFECTS.values())), "action": actions})
    return st.fixed_dictionaries({"rules": st.lists(st.one_of(by_tool, by_effect), max_size=3), "default": actions})


plans = st.builds(
    Plan,
    tools=st.lists(st.sampled_from(list(EFFECTS)), min_size=3, max_size=4),
    rules=rules_with(st.sampled_from([*STRICTNESS, "ask", "ask"])),
    answers=st.lists(st.sampled_from(["allow", "allow", "deny", "not like that"]), min_size=4, max_size=4),
)
kills = st.builds(Kill, run=st.integers(0, 3), events=st.integers(2, EVENTS), stricter=st.booleans())


@dataclass
class Owner:
    """Answers what one run asks, and looks before each answer whether the call has run already."""

    run: Run
    plan: Plan
    workspace: Path
    number: int
    asked: dict[int, str] = field(default_factory=dict)

    def gate(self, position: int) -> Gate:
        return Gate(self.workspace, f"run-{self.number}-call-{position}")

    async def until_the_end(self) -> AgentStatus:
        while True:
            try:
                if (await self.run.handle.describe()).close_time is not None:
                    return (await self.run.result()).status
                for request in (await self.run.progress()).input_requests:
                    if request.is_open:
                        await self.answer(request)
            except (RPCError, TimeoutError):  # the worker is being killed
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)

    async def answer(self, request: InputRequest) -> None:
        assert request.call is not None
        gate = str(json.loads(request.call.arguments)["gate"])
        position = int(gate.rpartition("-")[2])
        assert request.call.name == self.plan.tools[position]
        assert request.call.hash == call_hash(request.call.name, request.call.arguments)
        if position not in self.asked:
            assert self.gate(position).runs == 0, f"{request.id} was asked about a call that has run"
        said = self.asked[position] = self.plan.answers[position]
        answer = {"id": request.id, "answer": said, "by": "the test"}
        if position % 2:
            await self.run.handle.signal("respond", answer)
            return
        try:
            await self.run.handle.execute_update("respond", answer)
        except WorkflowUpdateFailedError as refused:
            assert "already over" in str(refused.cause)


@dataclass
class Tally:
    """What came of it."""

    runs: int = 0
    kills: int = 0
    allowed: int = 0
    asked: int = 0
    denied: int = 0
    executed: int = 0
    unanswered: int = 0

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.kills} kills of the worker; calls by their rules: {self.allowed} allow, "
            f"{self.asked} ask, {self.denied} deny; executed: {self.executed}; without the answer that their rule "
            f"asks for: {self.unanswered}"
        )


@pytest.mark.timeout(900)
def test_no_call_runs_without_the_answer_that_its_rule_asks_for(tmp_path: Path) -> None:
    tally, count = Tally(), itertools.count(1)
    temporal = asyncio.run(_temporal(tmp_path))
    emulator = asyncio.run(EmulatorProcess(tmp_path / "emulator").start())

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(
        st.lists(plans, min_size=4, max_size=4),
        rules_with(st.sampled_from(["allow", "ask"])),
        st.lists(kills, min_size=2, max_size=3),
    )
    def example(planned: list[Plan], of_the_worker: Rules, killed: list[Kill]) -> None:
        async def run() -> None:
            folder = tmp_path / f"example-{next(count)}"
            deployment = Deployment(temporal, await temporal.client(), emulator, folder)
            await _example(deployment, planned, of_the_worker, killed, tally)

        asyncio.run(run())

    try:
        example()
    finally:
        temporal.kill()
        emulator.kill()
    print(tally)
    assert tally.unanswered == 0
    assert min(tally.asked, tally.denied, tally.executed, tally.kills) > 0


async def _temporal(folder: Path) -> TemporalServer:
    return await (await TemporalServer.on(folder / "temporal")).start()


async def _example(
    deployment: Deployment, planned: Sequence[Plan], of_the_worker: Rules, killed: Sequence[Kill], tally: Tally
) -> None:
    deployment.open_gates()
    workers: list[WorkerProcess] = []
    try:
        owners = [await _started(deployment, number, plan) for number, plan in enumerate(planned)]
        ends = [asyncio.create_task(owner.until_the_end()) for owner in owners]
        await _killed(deployment, workers, owners, of_the_worker, killed, tally)
        statuses = await asyncio.wait_for(asyncio.gather(*ends), 200)
    finally:
        for worker in workers:
            worker.kill()
    tally.runs += len(owners)
    assert statuses == [AgentStatus.COMPLETED] * len(owners)
    for owner in owners:
        _judge(owner, of_the_worker, tally)


async def _started(deployment: Deployment, number: int, plan: Plan) -> Owner:
    steps = [
        FunctionCallStep(name=tool, arguments={"gate": f"run-{number}-call-{position}"})
        for position, tool in enumerate(plan.tools)
    ]
    scripts = [Script(output=[*steps]), Script(output=[Text(text="Done.")])]
    run = await deployment.start(
        f"{deployment.task_queue}-{number}",
        scripts,
        approvals=plan.rules,
        transport=TransportChoice.BACKGROUND,
        deadline=600,
    )
    return Owner(run, plan, deployment.workspace, number)


async def _killed(
    deployment: Deployment,
    workers: list[WorkerProcess],
    owners: Sequence[Owner],
    of_the_worker: Rules,
    killed: Sequence[Kill],
    tally: Tally,
) -> None:
    await _work(deployment, workers, of_the_worker)
    for kill in killed:

        async def has_come_so_far(kill: Kill = kill, run: Run = owners[kill.run].run) -> bool:
            described = await run.handle.describe()
            return described.close_time is not None or described.history_length >= kill.events

        await until(has_come_so_far, seconds=120)
        workers[-1].kill()
        tally.kills += 1
        rules = {**of_the_worker, "default": "deny"} if kill.stricter else of_the_worker
        await _work(deployment, workers, rules)


async def _work(deployment: Deployment, workers: list[WorkerProcess], rules: Rules) -> None:
    workers.append(deployment.worker(AGENT_APPROVALS=json.dumps(rules)))
    await workers[-1].start(within=120)


def _judge(owner: Owner, of_the_worker: Rules, tally: Tally) -> None:
    for position, tool in enumerate(owner.plan.tools):
        place, runs = f"run-{owner.number}-call-{position}", owner.gate(position).runs
        said = max((verdict(rules, tool, place) for rules in (of_the_worker, owner.plan.rules)), key=STRICTNESS.index)
        tally.executed += runs > 0
        tally.allowed += said == "allow"
        tally.asked += said == "ask"
        tally.denied += said == "deny"
        if said == "deny" or (said == "ask" and owner.asked.get(position) != "allow"):
            tally.unanswered += runs > 0
        if tool == "send":
            assert runs <= 1

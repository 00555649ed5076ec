"""Runs started, watched and stopped by the `temporal` binary alone."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from durable_responses.embedded import find_temporal_cli
from durable_responses.settings import Settings
from durable_responses.workflows.contract import agent_workflow_id
from tests.support.processes import TemporalServer
from tests.support.runs import Agents, until


class TemporalCli:
    """The binary, pointed at the session's server."""

    def __init__(self, binary: Path, temporal: TemporalServer, task_queue: str) -> None:
        self._binary = binary
        self._address = temporal.address
        self.task_queue = task_queue

    async def __call__(self, *arguments: str) -> Any:
        """Run `temporal workflow …` and return what it says as JSON; text where it says something else."""
        command = [str(self._binary), "workflow", *arguments, "--address", self._address, "--output", "json"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        text = (out or err).decode()
        try:
            return json.loads(text)
        except ValueError:
            return text

    async def start(self, agent_input: object) -> str:
        """`temporal workflow start` with this input; the job id."""
        job_id = agent_workflow_id()
        text = agent_input if isinstance(agent_input, str) else json.dumps(agent_input)
        options = ["--type", "AgentWorkflow", "--task-queue", self.task_queue, "--workflow-id", job_id]
        started = await self("start", *options, "--input", text)
        assert started["workflowId"] == job_id
        return job_id

    async def progress(self, job_id: str) -> Any:
        """`temporal workflow query --type progress`."""
        return (await self("query", "--workflow-id", job_id, "--type", "progress"))["queryResult"][0]

    async def result(self, job_id: str) -> Any:
        """`temporal workflow result`."""
        return await self("result", "--workflow-id", job_id)


@pytest.fixture
async def cli(agents: Agents, temporal: TemporalServer, settings: Settings) -> TemporalCli:
    return TemporalCli(await find_temporal_cli(Settings(), print), temporal, settings.task_queue)


async def test_a_run_is_started_and_its_result_read_from_the_command_line(cli: TemporalCli) -> None:
    job_id = await cli.start({"task": "Say hello.", "metadata": {"scenario": "echo"}})
    answer = await cli.result(job_id)
    assert answer["status"] == "COMPLETED"
    assert answer["result"]["output_text"] == "Say hello."
    assert answer["result"]["status"] == "completed"


async def test_the_query_progress_answers_during_a_run_and_after_it(cli: TemporalCli) -> None:
    """A15: the same state from every tool."""
    job_id = await cli.start({"task": "Think.", "transport": "background", "metadata": {"scenario": "think?seconds=2"}})

    async def running() -> bool:
        return bool((await cli.progress(job_id))["status"] == "running")

    await until(running)
    await cli.result(job_id)
    after = await cli.progress(job_id)
    assert (after["status"], after["iteration"]) == ("completed", 1)


@pytest.mark.parametrize("input_of_the_signal", [[], ["--input", '"enough"'], ["--input", '{"not": "text"}']])
async def test_the_signal_cancel_ends_a_run(cli: TemporalCli, input_of_the_signal: list[str]) -> None:
    job_id = await cli.start({"task": "Think.", "metadata": {"scenario": "think?seconds=60"}})
    await cli("signal", "--workflow-id", job_id, "--name", "cancel", *input_of_the_signal)
    answer = await cli.result(job_id)
    assert (answer["status"], answer["result"]["status"]) == ("COMPLETED", "cancelled")


async def test_workflow_cancel_ends_a_run_as_temporals_users_expect(cli: TemporalCli) -> None:
    job_id = await cli.start({"task": "Think.", "metadata": {"scenario": "think?seconds=60"}})
    await cli("cancel", "--workflow-id", job_id)
    answer = await cli.result(job_id)
    assert answer["status"] == "CANCELED"
    assert (await cli.progress(job_id))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("agent_input", "said"),
    [
        ({"task": ""}, "task: is empty"),
        ({"task": "t", "max_iterations": "many"}, "max_iterations"),
        ({"tusk": "t"}, "tusk is not a field of AgentInput"),
        ('"just text"', "one JSON object"),
        ({"task": "t", "tools": ["no_such_tool"]}, "no_such_tool"),
    ],
)
async def test_wrong_json_fails_the_run_with_a_sentence_that_the_binary_shows(
    cli: TemporalCli, agent_input: object, said: str
) -> None:
    job_id = await cli.start(agent_input)
    answer = await cli.result(job_id)
    assert answer["status"] == "FAILED"
    assert said in json.dumps(answer)


async def test_a_run_without_input_fails_clearly(cli: TemporalCli) -> None:
    job_id = agent_workflow_id()
    await cli("start", "--type", "AgentWorkflow", "--task-queue", cli.task_queue, "--workflow-id", job_id)
    assert "one JSON object" in json.dumps(await cli.result(job_id))


@pytest.mark.parametrize("how", [("update", "execute", "-w"), ("signal", "-w")], ids=["update", "signal"])
async def test_what_a_run_asks_is_answered_from_the_command_line(cli: TemporalCli, how: tuple[str, ...]) -> None:
    scenario = 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'
    limits = {"max_iterations": 1, "on_max_iterations": "ask"}
    job_id = await cli.start({"task": "Count.", "metadata": {"scenario": scenario}, **limits})

    async def asks() -> bool:
        return bool((await cli.progress(job_id))["status"] == "input_required")

    await until(asks)
    answer = json.dumps({"id": "limit-1", "answer": 20, "by": "Ada"})
    await cli(*how, job_id, "--name", "respond", "--input", answer)
    result = (await cli.result(job_id))["result"]
    assert (result["status"], result["requests"][0]["answer"], result["requests"][0]["by"]) == (
        "completed",
        "20",
        "Ada",
    )

"""An `async def` tool that blocks, in a real worker: the other runs of that worker know nothing of it."""

from durable_responses.emulator.model.script import Script, Text
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import AgentStatus, TransportChoice
from tests.support.deployment import Deployment, calls, until
from tests.support.processes import Process

ANSWER = Script(output=[Text(text="Done.")], write=0)


async def test_a_tool_that_blocks_loses_no_create_of_another_run(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        blocked = await deployment.start(
            "blocked", [Script(output=[calls("block", "blocked")]), ANSWER], transport=TransportChoice.BACKGROUND
        )
        await until(lambda: deployment.gate("blocked").has_begun())
        other = await deployment.start("other", [Script(output=[calls("look", "other")]), ANSWER])
        deployment.gate("other").open()
        result = await other.result()
        await worker.wait_for_line("Tool block has blocked the event loop of the async tools")
        deployment.gate("blocked").open()
        results = [result, await blocked.result()]
    assert [each.status for each in results] == [AgentStatus.COMPLETED] * 2
    assert [each.ambiguous_creates for each in results] == [0, 0]
    assert [len(await run.responses()) for run in (blocked, other)] == [2, 2]


async def test_a_tool_that_stops_its_whole_process_stops_no_run_where_tools_have_one_of_their_own(
    deployment: Deployment,
) -> None:
    """`--queues tools`: what holds the interpreter's lock cannot be seen from inside."""
    deployment.open_gates()
    others = [queue for queue in Queue if queue is not Queue.TOOLS]
    tools = deployment.worker([Queue.TOOLS])
    async with deployment.worker(others):
        await Process.start(tools)
        try:
            stopped = await deployment.start("stopped", [Script(output=[calls("seize", "stopped")]), ANSWER])
            await until(deployment.gate("stopped").has_begun)
            other = await deployment.start("another", [ANSWER], transport=TransportChoice.BACKGROUND)
            result = await other.result()
            assert (await stopped.progress()).function_calls[0].status == "running"
            results = [result, await stopped.result()]
        finally:
            tools.kill()
    assert [each.status for each in results] == [AgentStatus.COMPLETED] * 2
    assert [each.ambiguous_creates for each in results] == [0, 0]
    assert deployment.gate("stopped").runs == 2

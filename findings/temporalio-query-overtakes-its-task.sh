#!/usr/bin/env bash
# A query that waits for a worker together with a signal leaves a workflow behind that cannot be replayed
#
# With no worker there, a workflow is asked something and then sent a signal. The next worker is often given the query
# first, with a history that ends before the signal's workflow task. To answer, it runs the signal's handler at the time
# of the task before, and keeps that in its cache: the signal's own task finds it received, and sends what came of it.
# History has the signal in the later task, so that a replay reads another clock, and comes to other commands.
# No crash is needed: somebody who watches a workflow while its worker starts again is enough.
# Versions: temporalio 1.35.0, with a Temporal CLI from the PATH or as the SDK downloads it (seen with server 1.29.1).
# What users of this project meet of it: nothing; a run leaves the cache with such a query.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check temporalio==1.35.0
cat > program.py << 'PROGRAM'
import asyncio
import logging
import shutil
from datetime import timedelta

from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

received = []


@workflow.defn
class Doorbell:
    def __init__(self) -> None:
        self.rung_after = None

    @workflow.run
    async def run(self) -> float:
        begun = workflow.now()
        await workflow.wait_condition(lambda: self.rung_after is not None)
        if self.rung_after - begun < timedelta(seconds=0.5):
            await workflow.sleep(0.01)
        return (self.rung_after - begun).total_seconds()

    @workflow.signal
    def ring(self) -> None:
        self.rung_after = workflow.now()
        received.append(workflow.info().get_current_history_length())

    @workflow.query
    def is_quiet(self) -> bool:
        return self.rung_after is None


def worker(client, queue):
    runner = UnsandboxedWorkflowRunner()
    return Worker(client, task_queue=queue, workflows=[Doorbell], workflow_runner=runner)


async def main():
    cli = shutil.which("temporal")
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=cli, dev_server_log_level="error") as server:
        client = server.client
        for number in range(40):
            queue = f"doorbell-{number}"
            received.clear()
            run = await client.start_workflow(Doorbell.run, id=queue, task_queue=queue)
            async with worker(client, queue):
                await run.query(Doorbell.is_quiet)
            asked = asyncio.create_task(run.query(Doorbell.is_quiet, rpc_timeout=timedelta(seconds=20)))
            await asyncio.sleep(1)
            await run.signal(Doorbell.ring)
            async with worker(client, queue):
                await asked
                after = await run.result()
            # Started, scheduled, started, completed, signaled, scheduled: the signal's task would be the seventh.
            if received == [6]:
                break
        print(f"received with a history of {received[0]} events")
        print("by its clock the bell rang in the first second:", after < 1)
        replayer = Replayer(workflows=[Doorbell], workflow_runner=UnsandboxedWorkflowRunner())
        logging.disable()
        replayed = await replayer.replay_workflow(await run.fetch_history(), raise_on_replay_failure=False)
        print("a replay:", type(replayed.replay_failure).__name__)


if __name__ == "__main__":
    asyncio.run(main())
PROGRAM
environment/bin/python program.py 2> /dev/null | grep -E '^(received|by|a replay)' > seen.txt  # the server prints, too
cat > expected.txt << 'EXPECTED'
received with a history of 6 events
by its clock the bell rang in the first second: True
a replay: NondeterminismError
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: temporalio-query-overtakes-its-task no longer behaves as described." >&2
    exit 1
}

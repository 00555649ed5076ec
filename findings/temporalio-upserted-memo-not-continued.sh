#!/usr/bin/env bash
# What a workflow adds to its memo is gone after continue-as-new, what it was started with is not
#
# `workflow.continue_as_new` without a memo is documented to keep the workflow's memo. It keeps the memo of the start:
# keys that `upsert_memo` has added are missing in the new run, and its lists and clients no longer find them. To keep
# them the memo must be given again.
# Versions: temporalio 1.35.0, with a Temporal CLI from the PATH or as the SDK downloads it. What users of this project
# meet of it: nothing; each continuation of a run names itself again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check temporalio==1.35.0
cat > program.py << 'PROGRAM'
import asyncio
import shutil

from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker


@workflow.defn
class Continued:
    @workflow.run
    async def run(self, again: bool, before: list[str]) -> list[str]:
        if again:
            workflow.upsert_memo({"added": 1})
            workflow.continue_as_new(args=[False, sorted(workflow.memo())])
        return [*before, "|", *sorted(workflow.memo())]


async def main():
    cli = shutil.which("temporal")
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=cli, dev_server_log_level="error") as server:
        async with Worker(server.client, task_queue="example", workflows=[Continued]):
            memo = {"started": 1}
            seen = await server.client.execute_workflow(
                Continued.run, args=[True, []], id="1", task_queue="example", memo=memo
            )
            print("before and after:", *seen)


if __name__ == "__main__":
    asyncio.run(main())
PROGRAM
environment/bin/python program.py | grep '^before' > seen.txt  # the server prints its addresses, too
cat > expected.txt << 'EXPECTED'
before and after: added started | started
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: temporalio-upserted-memo-not-continued no longer behaves as described." >&2
    exit 1
}

#!/usr/bin/env bash
# temporalio can neither describe nor list a workflow that is paused
#
# Temporal 1.30 and Temporal Cloud pause workflows (`temporal workflow pause`): their status is PAUSED, 8. It is in the
# SDK's API, but not in `temporalio.client.WorkflowExecutionStatus`. So `describe` raises ValueError for such a
# workflow; and `list_workflows` does for a whole page with one, so that the other workflows there are not seen either.
# Versions: temporalio 1.35.0. The answers are given by a server of a few lines, with grpcio 1.76.0. What users of this
# project meet of it: nothing; it reads the status from the API's messages, and a paused run is an open one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check temporalio==1.35.0 grpcio==1.76.0
cat > program.py << 'PROGRAM'
import asyncio

import grpc
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    GetSystemInfoResponse,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client


def info(id_, status):
    number = WorkflowExecutionStatus.Value(f"WORKFLOW_EXECUTION_STATUS_{status}")
    return WorkflowExecutionInfo(execution=WorkflowExecution(workflow_id=id_, run_id="1"), status=number)


RUNNING, PAUSED = info("running", "RUNNING"), info("paused", "PAUSED")
ANSWERS = {
    "GetSystemInfo": GetSystemInfoResponse(),
    "DescribeWorkflowExecution": DescribeWorkflowExecutionResponse(workflow_execution_info=PAUSED),
    "ListWorkflowExecutions": ListWorkflowExecutionsResponse(executions=[RUNNING, PAUSED]),
}


def handler(answer):
    async def give(request, context):
        return answer.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(give)


async def main():
    server = grpc.aio.server()
    service = "temporal.api.workflowservice.v1.WorkflowService"
    methods = {name: handler(answer) for name, answer in ANSWERS.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = await Client.connect(f"127.0.0.1:{port}")
    try:
        print("describe:", (await client.get_workflow_handle("paused").describe()).status)
    except ValueError as error:
        print("describe:", repr(error))
    try:
        print("list:", [each.id async for each in client.list_workflows()])
    except ValueError as error:
        print("list:", repr(error))
    await server.stop(None)


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
describe: ValueError('8 is not a valid WorkflowExecutionStatus')
list: ValueError('8 is not a valid WorkflowExecutionStatus')
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: temporalio-describe-of-a-paused-workflow no longer behaves as described." >&2
    exit 1
}

"""A workflow that tells what it sees in its sandbox."""

import sys

from pydantic import BaseModel
from temporalio import workflow

import durable_responses.workflows.agent  # noqa: F401 a run loads it here too
import durable_responses.workflows.contract as contract


class Seen(BaseModel):
    """`input_class`: which object the class `AgentInput` of the agent's workflow is."""

    modules: list[str]
    input_class: int


@workflow.defn
class SandboxProbe:
    """Answers at once."""

    @workflow.run
    async def run(self) -> Seen:
        """The modules loaded here, and the contract that workflows have."""
        return Seen(modules=sorted(sys.modules), input_class=id(contract.AgentInput))

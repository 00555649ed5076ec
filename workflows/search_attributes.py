"""The search attributes of a run, by which lists of runs are filtered: in the Web UI, by `list --where`.

They are shown only where the namespace has them: a workflow that sets one which is not registered cannot go on.
"""

from temporalio.common import SearchAttributeKey

AGENT_STATUS = SearchAttributeKey.for_keyword("AgentStatus")
AGENT_MODEL = SearchAttributeKey.for_keyword("AgentModel")
AGENT_ITERATION = SearchAttributeKey.for_int("AgentIteration")
AGENT_TENANT = SearchAttributeKey.for_keyword("AgentTenant")

KEYS = (AGENT_STATUS, AGENT_MODEL, AGENT_ITERATION, AGENT_TENANT)

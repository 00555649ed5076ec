"""Which tests run in the same process, where several share them (pytest-xdist)."""

from xdist.scheduler import LoadFileScheduling

# Two embedded stacks want the same ports, the usual ones: these start some.
_USUAL_PORTS = (
    "tests/embedded/test_stack.py",
    "tests/embedded/test_supervisor.py",
    "tests/embedded/test_projects.py",
    "tests/embedded/test_foreign_pages.py",
    "tests/mcp_server/test_embedded.py",
    "tests/cli/test_stack.py",
    "tests/test_installed.py",
)


# The files that take more than twenty seconds, the longest first: no process is left alone with one at the end.
# As `make test TESTS="--numprocesses logical --durations 0 tests"` has measured them.
LONGEST = (
    *_USUAL_PORTS,
    "tests/test_operators.py",
    "tests/test_typed.py",
    "tests/mcp_server/test_jobs.py",
    "tests/test_deploys.py",
    "tests/workflows/test_agent.py",
    "tests/mcp_server/test_outages.py",
    "tests/test_mcp_crashes.py",
    "tests/test_crashes.py",
    "tests/python/test_ends.py",
    "tests/workflows/test_kept_compactions.py",
    "tests/test_compaction_crashes.py",
    "tests/workflows/test_mcp_servers.py",
    "tests/test_frozen.py",
    "tests/mcp_server/test_asking.py",
    "tests/test_eager_start.py",
    "tests/test_compaction_at_the_emulator.py",
    "tests/cli/test_tools.py",
    "tests/test_tenant_budget_crashes.py",
    "tests/mcp_server/test_door.py",
    "tests/workflows/test_history.py",
    "tests/telemetry/test_traces.py",
    "tests/cli/test_jobs.py",
    "tests/workflows/test_interruptions.py",
    "tests/workflows/test_compaction.py",
    "tests/mcp_tools/test_sessions.py",
    "tests/cli/test_continuing.py",
    "tests/test_approval_crashes.py",
    "tests/mcp_server/test_hostile.py",
    "tests/test_admission.py",
    "tests/telemetry/test_silence.py",
    "tests/workflows/test_outside_data.py",
    "tests/cli/test_server_tools.py",
    "tests/python/test_runs.py",
    "tests/cli/test_answering.py",
    "tests/test_conversation_crashes.py",
    "tests/workflows/test_tenant_budgets.py",
    "tests/test_owner_crashes.py",
    "tests/workflows/test_saved_files.py",
    "tests/jobs/test_jobs.py",
    "tests/test_hosted_approval_crashes.py",
    "tests/cli/test_runs.py",
    "tests/workflows/test_websocket.py",
    "tests/workflows/test_budgets.py",
    "tests/test_readme.py",
    "tests/test_websocket_crashes.py",
    "tests/workflows/test_conversations.py",
    "tests/test_activity_commands.py",
    "tests/workflows/test_lost_compactions.py",
    "tests/workflows/test_input_requests.py",
    "tests/test_saved_file_crashes.py",
    "tests/test_blocking_tool.py",
    "tests/test_dockerfile.py",
    "tests/responses_api/test_websocket_churn.py",
)
_REST = len(LONGEST)


def place_of(file: str) -> int:
    """Where the tests of a file come among all tests; the files that take little time keep their order."""
    return LONGEST.index(file) if file in LONGEST else _REST


class ByFileAndPorts(LoadFileScheduling):
    """The tests of a file stay together, and so do those of all files that start embedded stacks."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the usual ports" if file in _USUAL_PORTS else file

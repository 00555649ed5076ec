"""Which tests run in the same process, where several share them (pytest-xdist)."""

from xdist.scheduler import LoadFileScheduling

# Two embedded stacks want the same ports, the usual ones: these start some.
_USUAL_PORTS = {
    "tests/embedded/test_stack.py",
    "tests/embedded/test_supervisor.py",
    "tests/mcp_server/test_embedded.py",
    "tests/cli/test_stack.py",
    "tests/test_installed.py",
}


class ByFileAndPorts(LoadFileScheduling):
    """The tests of a file stay together, and so do those of all files that start embedded stacks."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the usual ports" if file in _USUAL_PORTS else file

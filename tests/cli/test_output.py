"""How a command ends, by how its run ended and by what went wrong."""

import pytest

from durable_responses.cli.output import IN_PLAIN_SIGNS, ExitCode, Output, exit_code_of
from durable_responses.workflows.contract import AgentStatus


def test_every_final_status_has_an_exit_code() -> None:
    codes = {status: exit_code_of(status) for status in AgentStatus if status.is_final}
    assert codes == {
        AgentStatus.COMPLETED: ExitCode.COMPLETED,
        AgentStatus.FAILED: ExitCode.FAILED,
        AgentStatus.INCOMPLETE: ExitCode.INCOMPLETE,
        AgentStatus.CANCELLED: ExitCode.CANCELLED,
    }


def test_a_terminal_without_our_signs_gets_others_that_say_the_same() -> None:
    """A question mark is the sign of a call whose outcome is unknown."""
    assert "add ✓, go ✗ · “ü”…".encode("ascii", IN_PLAIN_SIGNS) == b'add ok, go x - "?"...'
    assert "ü ✓".encode("latin-1", IN_PLAIN_SIGNS) == b"\xfc ok"


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_asked_for_is_told_from_what_is_said_beside_it(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output(as_json=as_json)
    output.say("Started.")
    output.report("job")
    assert capsys.readouterr() == ("job\n", "Started.\n")


@pytest.mark.parametrize("text", ["one line", "one line\n"])
def test_an_answer_ends_with_one_line_end(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).answer(text)
    assert capsys.readouterr().out == "one line\n"

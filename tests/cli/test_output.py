"""How a command ends, by how its run ended and by what went wrong."""

import pytest

from durable_responses.cli.output import ExitCode, Output, exit_code_of
from durable_responses.workflows.contract import AgentStatus


def test_every_final_status_has_an_exit_code() -> None:
    codes = {status: exit_code_of(status) for status in AgentStatus if status.is_final}
    assert codes == {
        AgentStatus.COMPLETED: ExitCode.COMPLETED,
        AgentStatus.FAILED: ExitCode.FAILED,
        AgentStatus.INCOMPLETE: ExitCode.INCOMPLETE,
        AgentStatus.CANCELLED: ExitCode.CANCELLED,
    }


def test_with_json_lines_for_people_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).say("Started.")
    assert capsys.readouterr() == ("", "Started.\n")


def test_without_it_they_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).say("Started.")
    assert capsys.readouterr() == ("Started.\n", "")

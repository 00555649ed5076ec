"""Whether there is room and right to write."""

from pathlib import Path

import pytest

from durable_responses.health.checks import Check, Verdict
from durable_responses.health.disk import check_disk, check_workspace
from durable_responses.settings import Settings


def test_a_folder_with_room_is_well_also_before_it_is_there(settings: Settings) -> None:
    assert not settings.state_folder.exists()
    assert {check.verdict for check in check_disk(settings)} <= {Verdict.OK, Verdict.NOTE}


@pytest.mark.parametrize(("free", "verdict"), [(1000, Verdict.PROBLEM), (2**30, Verdict.NOTE), (2**40, Verdict.OK)])
def test_a_full_disk_is_a_problem_before_it_is_full(settings: Settings, free: int, verdict: Verdict) -> None:
    assert {check.verdict for check in check_disk(settings, lambda _: free)} == {verdict}


def test_a_folder_below_a_file_is_a_problem_that_names_the_setting(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state, _ = check_disk(settings.model_copy(update={"state_folder": tmp_path / "file" / "state"}))
    assert state.verdict is Verdict.PROBLEM
    assert "AGENT_STATE_FOLDER" in (state.cure or "")


def test_the_workspace_is_named(settings: Settings) -> None:
    assert check_workspace(settings) == Check(name="workspace", found=str(settings.workspace))


def test_a_missing_workspace_is_a_problem_that_names_the_setting(settings: Settings, tmp_path: Path) -> None:
    check = check_workspace(settings.model_copy(update={"workspace": tmp_path / "gone"}))
    assert check.verdict is Verdict.PROBLEM
    assert str(tmp_path / "gone") in check.found
    assert "AGENT_WORKSPACE" in (check.cure or "")


def test_a_copy_of_the_example_is_well_also_before_it_is_there(settings: Settings) -> None:
    check = check_workspace(settings.model_copy(update={"workspace": settings.state_folder / "workspace"}))
    assert check.verdict is Verdict.OK
    assert "example" in check.found

"""The state folder: whose it is, and how long its logs get."""

import stat
from pathlib import Path

import pytest

from durable_responses.embedded.folder import LOG_LIMIT, StateFolder
from durable_responses.settings import Settings


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    """It may have other uses: with AGENT_STATE_FOLDER=/tmp nobody else could have used /tmp any more."""
    tmp_path.chmod(0o1777)
    StateFolder(Settings(state_folder=tmp_path)).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


def test_a_new_folder_is_the_users_own(tmp_path: Path) -> None:
    StateFolder(Settings(state_folder=tmp_path / "new" / "state")).make()
    assert stat.S_IMODE((tmp_path / "new" / "state").stat().st_mode) == 0o700


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(Settings(state_folder=tmp_path))
    folder.make()
    return folder


def test_a_long_log_leaves_its_end_in_two_older_files_and_is_written_on(folder: StateFolder) -> None:
    with folder.open_log("worker") as log:
        for letter in (b"a", b"b", b"c"):
            log.write(letter * LOG_LIMIT + b"end of " + letter)
            log.flush()
            folder.rotate_logs()
        log.write(b"and on")
    path = folder.log("worker")
    assert path.read_bytes() == b"and on"
    for suffix, letter in ((".log.1", b"c"), (".log.2", b"b")):
        kept = path.with_suffix(suffix).read_bytes()
        assert len(kept) == LOG_LIMIT
        assert kept.endswith(b"end of " + letter)
    assert len(list(path.parent.iterdir())) == 3


def test_a_short_log_is_left_alone(folder: StateFolder) -> None:
    with folder.open_log("worker") as log:
        log.write(b"x" * LOG_LIMIT)
    folder.rotate_logs()
    assert [path.name for path in folder.log("worker").parent.iterdir()] == ["worker.log"]

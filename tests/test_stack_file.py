"""What others read of the embedded stack."""

from pathlib import Path

import pytest

from durable_responses.settings import Settings, SetupError
from durable_responses.stack_file import StackFile
from tests.support.stack_files import write_stack_file


def test_without_a_file_there_is_no_stack(tmp_path: Path) -> None:
    assert StackFile.read(Settings(state_folder=tmp_path)) is None


def test_a_run_has_a_page_where_the_stack_has_a_web_ui(tmp_path: Path) -> None:
    write_stack_file(tmp_path)
    stack = StackFile.read(Settings(state_folder=tmp_path))
    assert stack is not None
    assert stack.run_url("job") == "http://127.0.0.1:8233/namespaces/default/workflows/job"
    assert stack.run_url("a/b c") == "http://127.0.0.1:8233/namespaces/default/workflows/a%2Fb%20c"
    assert stack.model_copy(update={"web_ui": None}).run_url("job") is None


def test_a_stack_file_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(SetupError, match=r"stack\.json was written by another version"):
        StackFile.read(Settings(state_folder=tmp_path))

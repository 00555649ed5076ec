"""The folder of the file tools: the one that is named, the one that is there, or a copy of the example."""

from pathlib import Path

import pytest

from durable_responses.settings import Settings
from durable_responses.workspace import EXAMPLE, WorkspaceMissing, prepare_workspace
from tests.support.processes import CHECKOUT


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a program that is started in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return Settings(state_folder=tmp_path / "state")


def test_the_example_that_ships_is_the_folder_of_the_checkout() -> None:
    assert EXAMPLE.resolve() == CHECKOUT / "workspace"


def test_in_an_empty_folder_it_is_a_copy_of_the_example_in_the_state_folder(settings: Settings) -> None:
    said: list[str] = []
    prepare_workspace(settings, said.append)
    assert settings.workspace == settings.state_folder / "workspace"
    assert files(settings.workspace) == files(CHECKOUT / "workspace")
    assert list(settings.state_folder.iterdir()) == [settings.workspace]
    assert len(said) == 1
    assert str(settings.workspace) in said[0]


def test_a_copy_that_agents_have_written_to_stays_as_it_is(settings: Settings) -> None:
    prepare_workspace(settings, print)
    (settings.workspace / "summary.md").write_text("written")
    said: list[str] = []
    prepare_workspace(settings, said.append)
    assert (settings.workspace / "summary.md").read_text() == "written"
    assert said == []


def test_a_folder_called_workspace_is_used_where_the_program_is_started(settings: Settings) -> None:
    Path("workspace").mkdir()
    assert Settings(state_folder=settings.state_folder).workspace == Path.cwd() / "workspace"


def test_a_folder_that_is_named_and_does_not_exist_is_an_error_that_says_what_to_do(settings: Settings) -> None:
    named = settings.model_copy(update={"workspace": Path("/no/such/folder")})
    with pytest.raises(
        WorkspaceMissing, match=r"/no/such/folder does not exist: create that folder, .* AGENT_WORKSPACE"
    ):
        prepare_workspace(named, print)
    assert not settings.state_folder.exists()


def test_a_copy_that_cannot_be_made_is_an_error_that_names_the_setting(settings: Settings) -> None:
    settings.state_folder.write_text("a file")
    with pytest.raises(WorkspaceMissing, match=r"cannot be created \(Not a directory\): set AGENT_WORKSPACE"):
        prepare_workspace(settings, print)

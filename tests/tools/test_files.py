"""The file tools on a real folder: useful inside of it, and unable to leave it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from durable_responses.tools import files
from durable_responses.tools.files import list_files, read_file, search_files, write_file
from durable_responses.tools.registry import ArgumentsError, Effect, Registry, ToolContext, ToolError

OUTSIDE = ["..", "../secret.txt", "/etc/passwd", "link_out", "link_out/secret.txt", "a/../../secret.txt"]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace beside a secret, with links to it."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "workspace"
    (folder / "docs").mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / "notes.md").write_text("# Notes\nbuy Milk\n")
    (folder / "docs" / "deep.txt").write_text("milk again\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\0")
    (folder / "link_out").symlink_to(tmp_path)
    (folder / "link_secret").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
def context(workspace: Path) -> ToolContext:
    return ToolContext(workspace=workspace)


def test_the_module_offers_four_tools_of_which_one_writes() -> None:
    registry = Registry.from_modules(["durable_responses.tools.files"])

    assert {each.name: each.effect for each in registry.select()} == {
        "list_files": Effect.PURE,
        "read_file": Effect.PURE,
        "search_files": Effect.PURE,
        "write_file": Effect.IDEMPOTENT,
    }


async def test_the_model_can_call_them_with_nulls_for_defaults(context: ToolContext) -> None:
    arguments = read_file.parse(json.dumps({"path": "notes.md", "first_line": None, "lines": None}))
    assert await read_file.run(arguments, context) == "# Notes\nbuy Milk\n"


# --- confinement --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_listed(context: ToolContext, path: str) -> None:
    with pytest.raises(ToolError, match="outside the workspace"):
        list_files(context, path)


@pytest.mark.parametrize("path", [*OUTSIDE, "link_secret"])
def test_nothing_outside_is_read(context: ToolContext, path: str) -> None:
    with pytest.raises(ToolError, match="outside the workspace"):
        read_file(context, path)


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_searched(context: ToolContext, path: str) -> None:
    with pytest.raises(ToolError, match="outside the workspace"):
        search_files(context, "secret", path)


@pytest.mark.parametrize("path", [*OUTSIDE, "link_secret", "link_out/new.txt", "../workspace2/new.txt"])
def test_nothing_outside_is_written(context: ToolContext, workspace: Path, path: str) -> None:
    before = sorted(workspace.parent.rglob("*"))

    with pytest.raises(ToolError, match="outside the workspace"):
        write_file(context, path, "overwritten")

    assert sorted(workspace.parent.rglob("*")) == before
    assert (workspace.parent / "secret.txt").read_text() == "secret"


def test_links_are_neither_listed_nor_searched(context: ToolContext) -> None:
    assert "link" not in list_files(context)
    assert "secret" not in search_files(context, "secret")


def test_an_absolute_path_inside_is_as_good_as_a_relative_one(context: ToolContext, workspace: Path) -> None:
    assert read_file(context, str(workspace / "notes.md")) == read_file(context, "notes.md")


@pytest.mark.parametrize("path", ["nul\0", "x" * 300, "loop"])
def test_an_unusable_path_is_told_to_the_model(context: ToolContext, workspace: Path, path: str) -> None:
    (workspace / "loop").symlink_to("loop")
    with pytest.raises(ToolError, match="not a usable path"):
        read_file(context, path)


def test_a_missing_workspace_is_told_to_the_model(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="workspace folder does not exist"):
        list_files(ToolContext(workspace=tmp_path / "gone"))


# --- listing ------------------------------------------------------------------------------------------------------


def test_files_are_listed_with_their_sizes(context: ToolContext) -> None:
    assert list_files(context) == "notes.md  17\npicture.png  5\ndocs/deep.txt  11"


def test_hidden_folders_are_left_out_unless_named(context: ToolContext, workspace: Path) -> None:
    (workspace / ".git").mkdir()
    (workspace / ".git" / "config").write_text("x")

    assert ".git" not in list_files(context)
    assert list_files(context, ".git") == ".git/config  1"


def test_a_listing_can_be_narrowed(context: ToolContext) -> None:
    assert list_files(context, "docs") == "docs/deep.txt  11"
    assert list_files(context, pattern="*.md") == "notes.md  17"
    assert list_files(context, pattern="docs/*") == "docs/deep.txt  11"
    assert list_files(context, pattern="**/*.txt") == "docs/deep.txt  11"


def test_an_empty_listing_says_so(context: ToolContext) -> None:
    assert list_files(context, "a") == "No files match."


def test_a_long_listing_is_cut_with_a_note(
    context: ToolContext, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LISTED_FILES", 3)
    for number in range(4):
        (workspace / "a" / f"{number}.txt").touch()

    assert list_files(context, "a").splitlines() == [
        "a/0.txt  0",
        "a/1.txt  0",
        "a/2.txt  0",
        "[cut after 3 files; list a folder or give a pattern]",
    ]


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("gone.txt", "There is no file 'gone.txt'"),
        ("docs", "'docs' is a folder"),
        ("", "'' is a folder"),
        ("picture.png", "'picture.png' is a binary file of 5 bytes"),
        ("pipe", "'pipe' is not a regular file"),
        ("latin.txt", "'latin.txt' is a binary file"),
    ],
)
def test_what_cannot_be_read_is_told_to_the_model(context: ToolContext, workspace: Path, path: str, told: str) -> None:
    os.mkfifo(workspace / "pipe")
    (workspace / "latin.txt").write_bytes("Zürich".encode("latin-1"))

    with pytest.raises(ToolError) as caught:
        read_file(context, path)
    assert told in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(
    context: ToolContext, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "READ_BYTES", 16)
    with pytest.raises(ToolError, match="too large: 17 bytes"):
        read_file(context, "notes.md")


def test_a_long_file_is_read_in_parts(context: ToolContext, workspace: Path) -> None:
    (workspace / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 11)))

    first = read_file(context, "long.txt", lines=4)
    assert first.endswith("line 4\n\n[cut: 10 lines in all; continue with first_line=5]")
    assert read_file(context, "long.txt", first_line=9) == "line 9\nline 10\n"
    with pytest.raises(ToolError, match="has only 10 lines"):
        read_file(context, "long.txt", first_line=11)


def test_long_lines_are_cut_to_what_a_model_can_take(
    context: ToolContext, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "READ_CHARACTERS", 10)
    (workspace / "long.txt").write_text("a" * 6 + "\n" + "b" * 20 + "\n" + "c\n")

    assert read_file(context, "long.txt") == "aaaaaa\n\n[cut: 3 lines in all; continue with first_line=2]"
    assert read_file(context, "long.txt", 2) == "b" * 10 + "\n[cut: 3 lines in all; continue with first_line=3]"
    assert read_file(context, "long.txt", 3) == "c\n"


@pytest.mark.parametrize("arguments", [{"first_line": 0}, {"lines": 0}, {"lines": 10**6}])
def test_line_numbers_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsError):
        read_file.parse(json.dumps({"path": "notes.md", **arguments}))


def test_an_empty_file_reads_as_nothing(context: ToolContext, workspace: Path) -> None:
    (workspace / "empty.txt").touch()
    assert read_file(context, "empty.txt") == ""


# --- searching ----------------------------------------------------------------------------------------------------


def test_a_search_finds_lines_in_any_case_and_notes_binary_files(context: ToolContext) -> None:
    assert search_files(context, "MILK").splitlines() == [
        "notes.md:2: buy Milk",
        "docs/deep.txt:1: milk again",
        "[1 files not searched: binary, unreadable or larger than 5,242,880 bytes]",
    ]


def test_a_search_can_be_narrowed(context: ToolContext) -> None:
    assert search_files(context, "milk", "docs") == "docs/deep.txt:1: milk again"
    assert search_files(context, "milk", "notes.md") == "notes.md:2: buy Milk"
    assert search_files(context, "milk", pattern="*.md") == "notes.md:2: buy Milk"


def test_a_search_without_a_match_says_so(context: ToolContext) -> None:
    assert search_files(context, "bread", "docs") == "No line contains this text."


def test_special_characters_are_searched_as_they_are(context: ToolContext, workspace: Path) -> None:
    (workspace / "docs" / "code.py").write_text("print(f(x)*2)\n")
    assert search_files(context, "(x)*", "docs") == "docs/code.py:1: print(f(x)*2)"


def test_many_matches_are_cut_with_a_note(
    context: ToolContext, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SHOWN_MATCHES", 2)
    (workspace / "docs" / "deep.txt").write_text("milk\n" * 5)
    (workspace / "docs" / "more.txt").write_text("milk\n")

    assert search_files(context, "milk", "docs").splitlines() == [
        "docs/deep.txt:1: milk",
        "docs/deep.txt:2: milk",
        "[3 more in docs/deep.txt]",
        "[stopped after 1 files; search a folder, or give a pattern]",
    ]


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_file_is_written_in_new_folders(context: ToolContext, workspace: Path) -> None:
    assert write_file(context, "new/folder/a.txt", "Zürich\n") == "Wrote 8 bytes to new/folder/a.txt."
    assert (workspace / "new" / "folder" / "a.txt").read_text() == "Zürich\n"


def test_writing_twice_leaves_the_same_file_and_nothing_else(context: ToolContext, workspace: Path) -> None:
    write_file(context, "docs/deep.txt", "new")
    write_file(context, "docs/deep.txt", "new")

    assert (workspace / "docs" / "deep.txt").read_text() == "new"
    assert os.listdir(workspace / "docs") == ["deep.txt"]


@pytest.mark.parametrize(
    ("path", "told"), [("docs", "is a folder"), ("notes.md/x.txt", "cannot be written|not a usable path")]
)
def test_what_cannot_be_written_is_told_to_the_model(context: ToolContext, path: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        write_file(context, path, "x")


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/hooks/pre-commit",
        "docs/.vscode/tasks.json",
        "./.env",
        "a/../.env",
        ".GIT/config",
        ".hidden/../.env",
        "...",
        "innocent/config",
    ],
)
def test_nothing_hidden_is_written(context: ToolContext, workspace: Path, path: str) -> None:
    """Hooks, settings of editors and keys are obeyed by other programs."""
    (workspace / ".git").mkdir()
    (workspace / "innocent").symlink_to(workspace / ".git")
    before = sorted(workspace.rglob("*"))
    with pytest.raises(ToolError, match="is hidden"):
        write_file(context, path, "x")
    assert sorted(workspace.rglob("*")) == before


def test_hidden_files_are_written_where_that_is_allowed(workspace: Path) -> None:
    write_file(ToolContext(workspace=workspace, allow_hidden_files=True), ".github/ci.yaml", "on: push")
    assert (workspace / ".github" / "ci.yaml").read_text() == "on: push"


@pytest.mark.parametrize(
    "path", ["a\nb.txt", "a\x1b[2Jb.txt", "\x07", "a\u202etxt.exe", "a\u2028b", "a\x9b.txt", "a\ud83d"]
)
def test_names_with_control_characters_are_refused(context: ToolContext, path: str) -> None:
    """They would be shown in terminals, or in another order than they have."""
    with pytest.raises(ToolError, match="control characters"):
        write_file(context, path, "x")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o644])
def test_a_file_keeps_its_mode(context: ToolContext, workspace: Path, mode: int) -> None:
    (workspace / "notes.md").chmod(mode)
    write_file(context, "notes.md", "new")
    assert (workspace / "notes.md").stat().st_mode & 0o7777 == mode
    assert (workspace / "notes.md").read_text() == "new"


def test_a_new_file_has_the_mode_that_others_have(context: ToolContext, workspace: Path) -> None:
    (workspace / "by_hand.txt").write_text("x")
    write_file(context, "new.txt", "x")
    assert (workspace / "new.txt").stat().st_mode == (workspace / "by_hand.txt").stat().st_mode


def test_a_read_only_file_is_not_replaced(context: ToolContext, workspace: Path) -> None:
    (workspace / "notes.md").chmod(0o444)
    with pytest.raises(ToolError, match="is read-only"):
        write_file(context, "notes.md", "new")


def test_half_a_character_in_a_text_becomes_a_question_mark(context: ToolContext, workspace: Path) -> None:
    write_file(context, "half.txt", "a\ud83d")
    assert (workspace / "half.txt").read_text() == "a?"


def test_a_file_that_is_too_large_is_not_written(context: ToolContext, workspace: Path) -> None:
    with pytest.raises(ToolError, match="too many"):
        write_file(context, "big.txt", "x" * (files.WRITE_BYTES + 1))
    assert not (workspace / "big.txt").exists()

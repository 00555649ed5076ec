"""Answers of tools that are too long: kept whole, shortened for the model, and read on."""

import os
import stat
import time
from pathlib import Path

import pytest

from durable_responses.json_text import well_formed
from durable_responses.tools import outputs
from durable_responses.tools.files import OUTPUTS as FOLDER
from durable_responses.tools.files import list_files, read_file, search_files
from durable_responses.tools.images import Image
from durable_responses.tools.outputs import (
    READ_CHARACTERS,
    is_long,
    keep,
    keep_images,
    make_room,
    read_image,
    read_output,
    shortened,
)
from durable_responses.tools.registry import ToolContext, ToolError

TEXT = "".join(f"{number:07}\n" for number in range(20_000))


def context(workspace: Path, run: str = "agent-1") -> ToolContext:
    return ToolContext(workspace=workspace, run=run)


def test_the_model_is_given_both_ends_the_size_and_the_id_within_the_bytes_that_it_may_have() -> None:
    short = shortened(TEXT, "3-1", 4000)
    head, note, tail = short.partition("[160,000 characters in all")
    assert TEXT.startswith(head.rstrip("\n"))
    assert TEXT.endswith(tail.split("]\n", 1)[1])
    assert 'read_output with id "3-1" and offset 3000 reads on' in note + tail
    assert len(short) < 4000 + 250


@pytest.mark.parametrize(
    ("text", "expected"), [("x" * 100, False), ("x" * 101, True), ("ä" * 50, False), ("ä" * 51, True)]
)
def test_long_is_counted_in_bytes(text: str, expected: bool) -> None:
    assert is_long(text, 100) is expected


def test_an_output_is_read_on_to_its_end(tmp_path: Path) -> None:
    keep(tmp_path, "agent-1", "3-1", TEXT)
    read, offset = "", 0
    while offset < len(TEXT):
        part, _, note = read_output(context(tmp_path), "3-1", offset).partition("\n[cut: ")
        assert len(part) <= READ_CHARACTERS
        read += part
        offset = int(note.split("offset=")[1].rstrip("]")) if note else len(TEXT)
    assert read == TEXT


@pytest.mark.parametrize("unit", ["line\r\n", "line\r", "a\x00\x0b\x0c\x1c\x85\u2028", "\U0001f600 \ud800"])
def test_whatever_ends_its_lines_the_offset_leads_to_where_the_model_was_left(tmp_path: Path, unit: str) -> None:
    text = unit * 10_000
    keep(tmp_path, "agent-1", "3-1", text)
    head, _, note = shortened(text, "3-1", 4000).partition("\n[")
    offset = int(note.split("offset ")[1].split()[0])
    read_on = read_output(context(tmp_path), "3-1", offset).partition("\n[cut: ")[0]
    assert well_formed(text).startswith(head + read_on)
    assert len(read_on) == READ_CHARACTERS


def test_it_is_for_its_owners_eyes_and_no_file_of_a_repository(tmp_path: Path) -> None:
    keep(tmp_path, "agent-1", "3-1", TEXT)
    [path] = tmp_path.glob(f"{FOLDER}/*/*.txt")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (tmp_path / FOLDER / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("run", "id_", "offset", "sentence"),
    [
        ("agent-2", "3-1", 0, "There is no output '3-1' of this run here"),
        ("agent-1", "4-1", 0, "There is no output '4-1' of this run here"),
        ("agent-1", "../agent-1/3-1", 0, "is not the id of an output"),
        ("agent-1", "", 0, "is not the id of an output"),
        ("agent-1", "3-1", 160_000, "has only 160,000 characters"),
    ],
)
def test_what_is_not_there_for_this_run_is_said(tmp_path: Path, run: str, id_: str, offset: int, sentence: str) -> None:
    keep(tmp_path, "agent-1", "3-1", TEXT)
    with pytest.raises(ToolError, match=sentence):
        read_output(context(tmp_path, run), id_, offset)


@pytest.mark.parametrize("run", ["../../etc", "a/b", "x" * 500, "ä run"])
def test_whatever_a_run_is_called_its_outputs_are_in_the_folder(tmp_path: Path, run: str) -> None:
    keep(tmp_path, run, "1-1", "text")
    assert len(list(tmp_path.glob(f"{FOLDER}/*/1-1.txt"))) == 1
    assert read_output(context(tmp_path, run), "1-1") == "text"


def test_outputs_of_runs_that_are_long_over_are_removed(tmp_path: Path) -> None:
    keep(tmp_path, "agent-1", "1-1", "old")
    [old] = tmp_path.glob(f"{FOLDER}/agent*")
    past = time.time() - outputs.KEPT_FOR - 60
    os.utime(old, (past, past))
    keep(tmp_path, "agent-2", "1-1", "new")
    assert [path.read_text() for path in tmp_path.glob(f"{FOLDER}/*/*.txt")] == ["new"]


KIBIBYTE = "x" * 1024
IN_ORDER = ("other/1-1", "ended/1-1", "ended/2-1", "mine/1-1", "mine/2-1", "other/2-1", "mine/3-1")


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (7 * 1024, ["ended/1-1", "ended/2-1", "mine/1-1", "mine/2-1", "mine/3-1", "other/1-1", "other/2-1"]),
        (6 * 1024, ["mine/1-1", "mine/2-1", "mine/3-1", "other/1-1", "other/2-1"]),
        (4 * 1024, ["mine/2-1", "mine/3-1", "other/1-1", "other/2-1"]),
        (2 * 1024, ["mine/3-1", "other/2-1"]),
        (0, ["mine/3-1", "other/2-1"]),
    ],
)
async def test_all_runs_together_keep_no_more_than_there_is_room_for(
    tmp_path: Path, most: int, left: list[str]
) -> None:
    """Runs that have ended give way first, then this run's oldest outputs, then those of others; never the newest."""
    for age, place in enumerate(IN_ORDER):
        run, id_ = place.split("/")
        keep(tmp_path, run, id_, KIBIBYTE)
        [path] = tmp_path.glob(f"{FOLDER}/{run}-*/{id_}.txt")
        os.utime(path, (1_000 + age, 1_000 + age))

    async def has_ended(run: str) -> bool:
        return run == "ended"

    await make_room(tmp_path, "mine", has_ended, most)
    found = sorted(f"{path.parent.name.split('-')[0]}/{path.stem}" for path in tmp_path.glob(f"{FOLDER}/*/*.txt"))
    assert found == left


def test_a_link_leads_no_output_out_of_the_workspace(tmp_path: Path) -> None:
    elsewhere, workspace = tmp_path / "elsewhere", tmp_path / "workspace"
    elsewhere.mkdir()
    workspace.mkdir()
    (workspace / FOLDER).symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a link"):
        keep(workspace, "agent-1", "1-1", "text")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("way", [FOLDER, f"docs/../{FOLDER}", "link"])
def test_file_tools_read_no_outputs_which_may_be_those_of_other_runs(tmp_path: Path, way: str) -> None:
    keep(tmp_path, "agent-1", "1-1", "a word of another run")
    (tmp_path / "docs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / FOLDER)
    [path] = tmp_path.glob(f"{FOLDER}/*/1-1.txt")
    of_another = context(tmp_path, "agent-2")
    file = f"{way}/{path.parent.name}/1-1.txt"
    with pytest.raises(ToolError, match="is kept for read_output"):
        list_files(of_another, way)
    with pytest.raises(ToolError, match="is kept for read_output"):
        read_file(of_another, file)
    with pytest.raises(ToolError, match="is kept for read_output"):
        search_files(of_another, "word", way)
    assert "1-1" not in list_files(of_another) + search_files(of_another, "word")


def test_a_workspace_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        keep(tmp_path / "missing", "agent-1", "1-1", "text")


def test_images_are_kept_beside_the_text_and_count_as_it_does(tmp_path: Path) -> None:
    png = Image("png", b"\x89PNG\r\n\x1a\n")
    assert keep_images(tmp_path, "agent-1", "3-1", [png, png]) == ["3-1-1.png", "3-1-2.png"]
    assert read_image(tmp_path, "agent-1", "3-1-2.png") == png.data
    with pytest.raises(OSError, match="No such file"):
        read_image(tmp_path, "agent-2", "3-1-2.png")


async def test_old_images_make_room(tmp_path: Path) -> None:
    for number in (1, 2):
        keep_images(tmp_path, "agent-1", f"{number}-1", [Image("png", b"\x89PNG\r\n\x1a\n" + bytes(1000))])
        os.utime(next(tmp_path.glob(f"{FOLDER}/*/{number}-1-1.png")), (number, number))

    async def has_ended(run: str) -> bool:
        return run != "agent-1"

    await make_room(tmp_path, "agent-1", has_ended, most_kept=1500)
    assert [path.name for path in tmp_path.glob(f"{FOLDER}/*/*.png")] == ["2-1-1.png"]

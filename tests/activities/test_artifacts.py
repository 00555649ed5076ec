"""Saving results, on a real file system in a temporary folder."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from durable_responses.activities.artifacts import (
    ArtifactActivities,
    ArtifactError,
    OutputFolders,
    document,
    file_name,
    keep_whole_text,
    slug,
)
from durable_responses.activities.messages import (
    ArtifactFormat,
    ResponseRecord,
    SaveArtifact,
    SavedArtifact,
    SaveOptions,
)
from durable_responses.responses_api.models import InputTokensDetails, OutputTokensDetails, Usage

JOB_ID = "agent-0123456789abcdef0123456789abcdef"


def result_of(
    *, task: str = "Count the words.", output_text: str = "There are 3.", options: SaveOptions | None = None
) -> SaveArtifact:
    return SaveArtifact(
        options=options or SaveOptions(),
        task=task,
        reasoning_summary="I counted.",
        output_text=output_text,
        response_id="resp_1",
        model="gpt-5.4",
        iterations=2,
        usage=Usage(
            input_tokens=1200,
            input_tokens_details=InputTokensDetails(cached_tokens=1000),
            output_tokens=30,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=20),
        ),
        finished_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    )


async def saved(save: SaveArtifact, *roots: Path, job_id: str = JOB_ID, attempt: int = 1) -> SavedArtifact:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_id=job_id, attempt=attempt)
    return await environment.run(ArtifactActivities(OutputFolders(roots)).save_artifact, save)


async def refused(save: SaveArtifact, *roots: Path) -> str:
    """The message of the failure; everything else about it is checked here."""
    with pytest.raises(ApplicationError) as caught:
        await saved(save, *roots)
    assert caught.value.type == "artifact_not_saved"
    assert caught.value.non_retryable
    return caught.value.message


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- what --------------------------------------------------------------------------------------------------------


def test_the_standard_form_has_task_summary_output_and_footer() -> None:
    """A22: standard form."""
    assert document(result_of()) == (
        "# Task\n"
        "\n"
        "Count the words.\n"
        "\n"
        "## Summary\n"
        "\n"
        "I counted.\n"
        "\n"
        "## Output\n"
        "\n"
        "There are 3.\n"
        "\n"
        "---\n"
        "\n"
        "- Time: 2026-03-04T05:06:07Z\n"
        "- Response: resp_1\n"
        "- Model: gpt-5.4\n"
        "- Iterations: 2\n"
        "- Tokens: 1,200 input (1,000 cached), 30 output (20 reasoning), 1,230 total\n"
    )


def test_the_clean_form_is_the_text_only() -> None:
    """A22: clean form."""
    assert document(result_of(options=SaveOptions(format=ArtifactFormat.CLEAN))) == "There are 3.\n"


# --- its name ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ArtifactFormat)
def test_no_form_has_control_characters_of_the_model(form: ArtifactFormat) -> None:
    """A file is printed by many a terminal."""
    hostile = result_of(task="\x1b]0;x\x07t", output_text="one\x1b[2J\u202e\ttwo\n", options=SaveOptions(format=form))
    written = document(hostile)
    assert "one\ttwo\n" in written
    assert "\x1b" not in written


def test_the_name_tells_time_task_and_job() -> None:
    """A22: `agent_<UTC time>_<slug>_<job id>.md`."""
    assert file_name(result_of(), JOB_ID) == f"agent_20260304050607_count-the-words_{JOB_ID}.md"


def test_the_time_in_the_name_is_utc() -> None:
    """A22: UTC, wherever the worker is."""
    elsewhere = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert file_name(result_of().model_copy(update={"finished_at": elsewhere}), "j").startswith("agent_20251231223000_")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("Count the words.", "count-the-words"),
        ("  Zähle: Wörter/Sätze ", "zahle-worter-satze"),
        ("x" * 100, "x" * 30),
        ("abcdefghijklmnopqrstuvwxyz abc defg", "abcdefghijklmnopqrstuvwxyz-abc"),
        ("abcdefghijklmnopqrstuvwxyz abcd efg", "abcdefghijklmnopqrstuvwxyz-abc"),
        ("abcdefghijklmnopqrstuvwxyz123 fgh", "abcdefghijklmnopqrstuvwxyz123"),
        ("数える", "task"),
        ("../../etc", "etc"),
        ("", "task"),
    ],
)
def test_the_slug_is_short_and_harmless(task: str, expected: str) -> None:
    """A22: slug ≤ 30."""
    assert slug(task) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("report", "report.md"),
        ("report.md", "report.md"),
        ("Report.MD", "Report.MD"),
        ("report.txt", "report.txt.md"),
        ("a/b\\c", "abc.md"),
        ("../../etc/passwd", "etcpasswd.md"),
        ("./.", f"agent_20260304050607_count-the-words_{JOB_ID}.md"),
        ("  ", f"agent_20260304050607_count-the-words_{JOB_ID}.md"),
        (".hidden", "hidden.md"),
        ("nul\0line\n", "nulline.md"),
        ("...a...", "a.md"),
    ],
)
def test_a_given_name_loses_what_is_harmful_and_gains_its_ending(given: str, expected: str) -> None:
    """A22: a given output_filename."""
    assert file_name(result_of(options=SaveOptions(filename=given)), JOB_ID) == expected


def test_job_ids_of_any_kind_stay_apart_in_names() -> None:
    """A22: a workflow id from the Temporal CLI may be any text."""
    names = {file_name(result_of(), job_id) for job_id in ("a/b", "a-b", "a.b", "../x", "x" * 1000)}

    assert len(names) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,240}\.md", name) for name in names)


# --- where -------------------------------------------------------------------------------------------------------


async def test_the_file_is_in_the_default_folder_and_its_path_absolute(tmp_path: Path) -> None:
    """A22: folder `_gpt5_docs` under the root; `result_path` is absolute."""
    artifact = await saved(result_of(), tmp_path)

    path = tmp_path / "_gpt5_docs" / f"agent_20260304050607_count-the-words_{JOB_ID}.md"
    assert artifact == SavedArtifact(path=str(path), bytes=path.stat().st_size)
    assert path.read_text() == document(result_of())
    assert everything_in(path.parent) == [path.name]


@pytest.mark.parametrize("folder", ["", "  ", None])
async def test_a_blank_folder_means_the_default(tmp_path: Path, folder: str | None) -> None:
    """A22: blank means that default."""
    artifact = await saved(result_of(options=SaveOptions(folder=folder, filename="a")), tmp_path)
    assert artifact.path == str(tmp_path / "_gpt5_docs" / "a.md")


async def test_folders_are_resolved_under_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A22: relative and `~/` are resolved; an absolute one may lie inside."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    wanted = {"reports/new": "reports/new", "~/mine": "home/mine", str(tmp_path / "abs"): "abs", "a/../b": "b"}

    for folder, where in wanted.items():
        artifact = await saved(result_of(options=SaveOptions(folder=folder, filename="a")), tmp_path)
        assert artifact.path == str(tmp_path / where / "a.md")


@pytest.mark.parametrize("folder", ["..", "a/../../b", "/etc", "~", "link", "link/deeper", "~nobody-here/x"])
async def test_a_folder_outside_the_root_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """A22: nothing is written outside the root, symlinks resolved."""
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)

    assert "save.folder" in await refused(result_of(options=SaveOptions(folder=folder)), root)
    assert everything_in(tmp_path) == ["root", "root/link"]


async def test_a_default_folder_that_leads_outside_is_an_error(tmp_path: Path) -> None:
    """A22: symlinks resolved."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "_gpt5_docs").symlink_to(outside)

    await refused(result_of(), root)
    assert everything_in(outside) == []


async def test_the_starters_root_must_lie_in_an_allowed_one(tmp_path: Path) -> None:
    """A22, A24: the worker checks the root against its own."""
    allowed = tmp_path / "allowed"
    inner = allowed / "inner"
    inner.mkdir(parents=True)

    artifact = await saved(result_of(options=SaveOptions(root=str(inner), filename="a")), tmp_path / "x", allowed)
    assert artifact.path == str(inner / "_gpt5_docs" / "a.md")

    assert "save.root is outside" in await refused(result_of(options=SaveOptions(root=str(tmp_path))), allowed)
    assert "save.root is not an absolute" in await refused(result_of(options=SaveOptions(root="inner")), allowed)


async def test_a_worker_without_roots_saves_nothing() -> None:
    """A22: only under the root."""
    assert "AGENT_OUTPUT_ROOT" in await refused(result_of())


# --- how ---------------------------------------------------------------------------------------------------------


async def test_a_file_that_is_there_already_is_kept(tmp_path: Path) -> None:
    """A22: created exclusively."""
    (tmp_path / "_gpt5_docs").mkdir()
    path = tmp_path / "_gpt5_docs" / "a.md"
    path.write_text("mine")

    message = await refused(result_of(options=SaveOptions(filename="a")), tmp_path)

    assert message == f"{path} already exists; give another save.filename."
    assert path.read_text() == "mine"
    assert everything_in(path.parent) == ["a.md"]


async def test_a_symlink_at_the_files_place_is_not_followed(tmp_path: Path) -> None:
    """A22: nothing is written outside the root."""
    root = tmp_path / "root"
    (root / "_gpt5_docs").mkdir(parents=True)
    (root / "_gpt5_docs" / "a.md").symlink_to(tmp_path / "outside.md")

    assert "already exists" in await refused(result_of(options=SaveOptions(filename="a")), root)
    assert not (tmp_path / "outside.md").exists()


async def test_a_repeated_attempt_finds_the_file_of_the_first(tmp_path: Path) -> None:
    """A22: a crash after the file was written makes neither a second file nor an error."""
    first = await saved(result_of(), tmp_path, attempt=1)
    second = await saved(result_of(), tmp_path, attempt=2)

    assert second == first
    assert len(everything_in(tmp_path / "_gpt5_docs")) == 1


async def test_of_two_runs_at_once_one_gets_the_name(tmp_path: Path) -> None:
    """A22: created exclusively, and never half written."""
    options = SaveOptions(filename="same", format=ArtifactFormat.CLEAN)
    outcomes = await asyncio.gather(
        *(saved(result_of(options=options, output_text=str(n) * 100_000), tmp_path) for n in range(8)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, SavedArtifact) for outcome in outcomes) == 1
    assert len((tmp_path / "_gpt5_docs" / "same.md").read_text()) == 100_001


@pytest.mark.parametrize("filename", ["x" * 300, None])
async def test_what_the_system_refuses_is_one_sentence(tmp_path: Path, filename: str | None) -> None:
    """A22: a failed save is reported."""
    if filename is None:
        (tmp_path / "_gpt5_docs").write_text("a file where the folder should be")

    message = await refused(result_of(options=SaveOptions(filename=filename)), tmp_path)

    assert message.startswith("The result could not be written: ")


# --- before anything is paid for ----------------------------------------------------------------------------------


def test_what_can_be_saved_passes_and_nothing_is_written(tmp_path: Path) -> None:
    OutputFolders([tmp_path]).check(SaveOptions(folder="new/deep", filename="report"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"folder": "../out"}, "save.folder is outside"),
        ({"folder": ".git"}, "save.folder is hidden"),
        ({"folder": "a/../.ssh"}, "save.folder is hidden"),
        ({"folder": "lin\u202ek"}, "save.folder contains control characters"),
        ({"folder": "a\nb"}, "save.folder contains control characters"),
        ({"folder": "file/below"}, "save.folder cannot be made: .* is a file"),
        ({"folder": "x" * 300}, "save.folder is not a usable path"),
        ({"filename": "x" * 300}, "save.filename is too long"),
        ({"filename": "ü" * 127}, "save.filename is too long"),
        ({"root": "/elsewhere"}, "save.root is outside"),
        ({"root": "relative"}, "save.root is not an absolute path"),
    ],
)
def test_what_could_not_be_saved_is_refused(tmp_path: Path, options: dict[str, str], told: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=told):
        OutputFolders([tmp_path]).check(SaveOptions.model_validate(options))


def test_hidden_folders_can_be_allowed(tmp_path: Path) -> None:
    OutputFolders([tmp_path], allow_hidden=True).check(SaveOptions(folder=".notes"))


def test_a_root_below_a_hidden_folder_is_the_workers_own_choice(tmp_path: Path) -> None:
    OutputFolders([tmp_path / ".data"]).check(SaveOptions())


# --- a text that history has no room for -------------------------------------------------------------------------

WHOLE = "".join(f"Line {number}.\n" for number in range(100_000))
CUT = f"{WHOLE[:80_000]}\n[cut: the first 80000 of {len(WHOLE)} characters]"


async def kept(root: Path, options: SaveOptions | None, status: str = "incomplete") -> ResponseRecord:
    """A record whose whole text an activity has kept in a file."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_id=JOB_ID)
    record = ResponseRecord(id="resp_1", status=status, uncut=WHOLE)
    return await environment.run(keep_whole_text, record, options, OutputFolders([root]))


def cut_result(record: ResponseRecord, **options: Any) -> SaveArtifact:
    save = result_of(output_text=CUT, options=SaveOptions(folder="notes", **options))
    return save.model_copy(update={"whole_text": record.whole_text})


@pytest.mark.parametrize("options", [{}, {"format": "clean", "filename": "answer"}])
async def test_the_whole_text_is_saved_and_a_further_attempt_finds_it(tmp_path: Path, options: dict[str, str]) -> None:
    save = cut_result(await kept(tmp_path, SaveOptions(folder="notes")), **options)
    first = await saved(save, tmp_path)
    assert WHOLE in Path(first.path).read_text()
    assert await saved(save, tmp_path, attempt=2) == first
    assert everything_in(tmp_path / "notes") == [Path(first.path).name]


async def test_a_further_attempt_of_the_wait_keeps_the_same_file(tmp_path: Path) -> None:
    records = [await kept(tmp_path, SaveOptions()) for _ in range(2)]
    assert records[0] == records[1]
    assert records[0].uncut is None
    assert len(everything_in(tmp_path)) == 2  # the folder and the file


async def test_a_whole_text_on_another_machine_is_named(tmp_path: Path) -> None:
    record = await kept(tmp_path / "there", SaveOptions(folder="notes"))
    here = await saved(cut_result(record), tmp_path / "here")
    assert f"[all of it is in {record.whole_text}, on the machine" in Path(here.path).read_text()


async def test_a_whole_text_whose_result_cannot_be_saved_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "answer.md").write_text("Somebody else's.")
    record = await kept(tmp_path, SaveOptions(folder="notes"))
    assert f"The whole text is in {record.whole_text}." in await refused(
        cut_result(record, filename="answer"), tmp_path
    )
    assert record.whole_text is not None
    assert Path(record.whole_text).read_text() == WHOLE


@pytest.mark.parametrize(
    ("options", "status"),
    [(None, "incomplete"), (SaveOptions(folder="../outside"), "incomplete"), (SaveOptions(), "failed")],
)
async def test_a_whole_text_that_cannot_or_need_not_be_kept_costs_no_record(
    tmp_path: Path, options: SaveOptions | None, status: str
) -> None:
    record = await kept(tmp_path, options, status)
    assert (record.whole_text, record.uncut) == (None, None)
    assert everything_in(tmp_path) == []

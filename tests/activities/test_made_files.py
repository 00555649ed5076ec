"""Saving what the provider's tools have made: names, attempts, bounds and failures, against the emulator."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.artifacts import NAME_BYTES, OutputFolders
from durable_responses.activities.made_files import MadeFilesActivities, files_at, kept_beside, mark_of, saved_name
from durable_responses.activities.messages import FilesAt, SavedFile, SaveFiles, SaveOptions
from durable_responses.activities.records import record_of
from durable_responses.emulator.faults import Answer, Delay, Fault, Operation
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import CodeInterpreterStep, MadeFile, Script, Text
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import CreateRequest, HostedTool, Response
from tests.support.attempts import WORKFLOW_ID, Attempt
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer as HttpAnswer
from tests.support.provider import Provider, Then, answer

MARK = "0123456789ab"
CODE = HostedTool.model_validate({"type": "code_interpreter", "container": {"type": "auto"}})
GONE = Answer(status=404, message="It is gone.")
BUSY = Answer(status=503, message="Later.", headers={"retry-after": "0"})

# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/mnt/data/plot.png", f"plot-{MARK}.png"),
        ("/mnt/data/../../x", f"x-{MARK}"),
        ("..\\..\\evil.exe", f"evil-{MARK}.exe"),
        ("", f"file-{MARK}"),
        ("/mnt/data/", f"file-{MARK}"),
        ("..", f"file-{MARK}"),
        (".bashrc", f"bashrc-{MARK}"),
        (" . . ", f"file-{MARK}"),
        ("a\x00b\nc\u202egnp.txt", f"abcgnp-{MARK}.txt"),
        ("archive.tar.gz", f"archive.tar-{MARK}.gz"),
        ("no ending.", f"no ending-{MARK}"),
        ("x." + "y" * 60, f"x.{'y' * 60}-{MARK}"),
        ("~/notes.md", f"notes-{MARK}.md"),
        ("été 📈.csv", f"été 📈-{MARK}.csv"),
    ],
)
def test_a_name_that_a_file_is_saved_under_leads_nowhere_else(given: str, expected: str) -> None:
    assert saved_name(given, MARK) == expected


@pytest.mark.parametrize("given", ["x" * 5000 + ".csv", "é" * 5000, "📈" * 5000 + ".png"])
def test_a_name_that_is_too_long_is_cut(given: str, tmp_path: Path) -> None:
    name = saved_name(given, MARK)
    (tmp_path / name).write_text("It can be written.")
    assert len(name.encode()) < NAME_BYTES - 40  # of what is not whole yet the name is longer
    assert MARK in name


def test_the_same_name_in_two_containers_is_two_files() -> None:
    assert mark_of("cntr_1", "cfile_1") != mark_of("cntr_2", "cfile_1") != mark_of("cntr_1", "cfile_2")
    assert mark_of("cntr_1", "cfile_1") == mark_of("cntr_1", "cfile_1")


# --- where the files of a response are ---------------------------------------------------------------------------


def code(container_id: Any = "cntr_1") -> dict[str, Any]:
    return {"type": "code_interpreter_call", "id": "ci_1", "container_id": container_id, "code": "x"}


def cites(*files: tuple[Any, Any]) -> dict[str, Any]:
    notes = [
        {"type": "container_file_citation", "container_id": container, "file_id": file, "filename": "a.csv"}
        for container, file in files
    ]
    return {"type": "message", "content": [{"type": "output_text", "text": "Here.", "annotations": notes}]}


def at(*items: dict[str, Any]) -> FilesAt | None:
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": list(items)})
    return files_at(record_of(response).made or [])


def test_containers_are_named_by_calls_and_by_citations_each_once() -> None:
    assert at(
        code(), code("cntr_2"), code(), cites(("cntr_3", "cfile_1"), ("cntr_3", "cfile_1"))
    ) == FilesAt.model_validate(
        {
            "containers": ["cntr_1", "cntr_2", "cntr_3"],
            "cited": [{"container_id": "cntr_3", "file_id": "cfile_1", "name": "a.csv"}],
        }
    )


def test_a_shell_at_the_provider_leaves_files_in_its_container() -> None:
    run = {"type": "shell_call", "id": "sh_1", "call_id": "call_1", "status": "completed"}
    inside = {"environment": {"type": "container_reference", "container_id": "cntr_1"}}
    assert at({**run, **inside}) == FilesAt(containers=["cntr_1"])
    assert at({**run, "environment": {"type": "local"}}) is None


@pytest.mark.parametrize("odd", [None, "", 7, ["cntr_1"], "x" * 5000])
def test_what_is_not_an_id_names_no_container(odd: Any) -> None:
    assert at(code(odd), cites((odd, "cfile_1")), cites(("cntr_1", odd))) is None


# --- images ------------------------------------------------------------------------------------------------------

IMAGE = b"\x89PNG\r\n\x1a\n and the rest"


RESULT = base64.b64encode(IMAGE).decode()


def image(result: Any = RESULT, **fields: Any) -> dict[str, Any]:
    return {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": result, **fields}


async def kept(root: Path, *items: dict[str, Any], options: SaveOptions | None = None) -> list[SavedFile] | None:
    """What becomes of the images of a response, and that nothing of them travels."""
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": list(items)})
    options = options or SaveOptions(files=True)
    record = await Attempt().run(kept_beside, record_of(response), options, OutputFolders([root]))
    assert record.made is None
    assert "result" not in record.model_dump_json()
    return None if record.files is None else list(record.files.values())


async def test_an_image_is_saved_where_the_response_is_read(tmp_path: Path) -> None:
    [saved] = await kept(tmp_path, image(output_format="webp")) or []
    assert saved.path is not None
    path = Path(saved.path)
    assert (saved.name, saved.bytes, path.read_bytes()) == ("image.webp", len(IMAGE), IMAGE)
    assert path.parent == tmp_path / "_gpt5_docs" / f"agent_{WORKFLOW_ID}_files"
    assert await kept(tmp_path, image(output_format="webp")) == [saved]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("form", ["../../x", None, 7, "exe"])
async def test_a_form_that_nobody_knows_is_called_png(tmp_path: Path, form: Any) -> None:
    [saved] = await kept(tmp_path, image(output_format=form)) or []
    assert saved.name == "image.png"


JPEG, SVG = b"\xff\xd8\xff\xe0 and the rest", b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("result", "form", "name", "content"),
    [
        (RESULT, "WEBP", "image.webp", IMAGE),
        (RESULT, "jpg", "image.jpeg", IMAGE),
        (RESULT, "image/gif", "image.gif", IMAGE),
        (base64.b64encode(JPEG).decode(), None, "image.jpg", JPEG),
        (base64.b64encode(SVG).decode(), None, "image.svg", SVG),
        (f"data:image/png;base64,{RESULT}", None, "image.png", IMAGE),
        (f"data:image/svg+xml;charset=utf-8;base64,{base64.b64encode(SVG).decode()}", None, "image.svg", SVG),
        ("\n".join((RESULT[:8], RESULT[8:], "")), "png", "image.png", IMAGE),
        (RESULT.rstrip("="), "png", "image.png", IMAGE),
        (base64.urlsafe_b64encode(b"\xff\xfe\xfb" * 9).decode(), "png", "image.png", b"\xff\xfe\xfb" * 9),
    ],
)
async def test_an_image_is_saved_in_whatever_form_a_server_writes_it(
    tmp_path: Path, result: str, form: Any, name: str, content: bytes
) -> None:
    [saved] = await kept(tmp_path, image(result, output_format=form)) or []
    assert saved.path is not None
    assert (saved.name, Path(saved.path).read_bytes()) == (name, content)


@pytest.mark.parametrize("result", ["\u00e9\u00e9", "a", "=", "https://images.example/1.png", "data:image/png,x"])
async def test_what_is_not_base64_is_listed_with_the_reason(tmp_path: Path, result: str) -> None:
    [saved] = await kept(tmp_path, image(result)) or []
    assert (saved.path, saved.error) == (None, "The image is not valid base64.")


async def test_an_image_that_cannot_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    spoilt, good = await kept(tmp_path, image("<svg>"), image(id="ig_2")) or []
    assert (spoilt.path, spoilt.error) == (None, "The image is not valid base64.")
    assert good.path is not None


async def test_an_image_that_was_not_made_is_not_listed(tmp_path: Path) -> None:
    assert await kept(tmp_path, image(None, status="failed")) is None


async def test_images_are_not_saved_unasked(tmp_path: Path) -> None:
    assert await kept(tmp_path, image(), options=SaveOptions()) is None
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_leads_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "_gpt5_docs").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "_gpt5_docs" / f"agent_{WORKFLOW_ID}_files").symlink_to(elsewhere)
    [saved] = await kept(root, image()) or []
    assert "leads elsewhere" in (saved.error or "")
    assert list(elsewhere.iterdir()) == []


# --- files in containers -----------------------------------------------------------------------------------------


@dataclass
class Container:
    """A container at the emulator in which code has left files, and what saves them under `root`."""

    emulator: RunningEmulator
    client: ResponsesClient
    root: Path
    at: FilesAt = field(default_factory=FilesAt)

    async def filled(self, *files: MadeFile, cited: list[str] | None = None) -> None:
        """Let code leave these files."""
        output: list[Any] = [CodeInterpreterStep(files=list(files)), Text(text="Done.", cites=cited or [])]
        await self.emulator.control.add_scenario(Scenario(name="files", responses=[Script(output=output)]))
        request = CreateRequest(model="scenario:files", input="Go.", tools=[CODE])
        response = await self.client.create(request, within=10)
        found = files_at(record_of(response).made or [])
        assert found is not None
        self.at = found

    async def fails(self, effect: Answer | Delay, *, skip: int = 0, times: int | None = 1) -> None:
        """Let GETs of the container fail, after the first `skip` of them."""
        fault = Fault(operation=Operation.CONTAINER, effect=effect, skip=skip, times=times)
        await self.emulator.control.add_fault(fault)

    async def saved(self, *, number: int = 1, known: list[str] | None = None, **fields: Any) -> dict[str, SavedFile]:
        """What becomes of them, by their marks."""
        limits = {name: fields.pop(name) for name in ("most_files", "most_bytes") if name in fields}
        limits = {"most_files": 200, "most_bytes": 10**9, **limits}
        activity = MadeFilesActivities(self.client, OutputFolders([self.root]), pauses=(0.0, 0.0), **fields)
        asked = SaveFiles(
            options=SaveOptions(files=True), response_id="resp_1", at=self.at, known=known or [], **limits
        )
        return (await Attempt(number).run(activity.save_files, asked)).files

    @property
    def on_disk(self) -> list[Path]:
        """What is there, whole or not."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def container(emulator: RunningEmulator, emulated: ResponsesClient, tmp_path: Path) -> Container:
    """One that is not filled yet."""
    return Container(emulator, emulated, tmp_path)


A, B, C = (MadeFile(name=f"{name}.csv", text=f"{name}\n") for name in "abc")


async def test_another_attempt_finds_what_is_whole_and_clears_away_what_is_not(container: Container) -> None:
    await container.filled(A, B)
    first = await container.saved()
    [a, b] = container.on_disk
    (a.parent / f".{b.name}.0a1b.part").write_bytes(b"half of it")
    b.unlink()
    await container.fails(GONE, skip=2, times=None)  # the list, and one file: no more is asked for
    assert await container.saved(number=2) == first
    assert container.on_disk == [a, b]
    assert (a.read_text(), b.read_text()) == ("a\n", "b\n")


async def test_what_the_run_knows_is_neither_listed_nor_fetched_again(container: Container) -> None:
    await container.filled(A, B)
    known = list(await container.saved())
    await container.fails(GONE, skip=1, times=None)
    assert await container.saved(known=known) == {}


async def test_names_from_the_container_stay_in_the_folder(container: Container) -> None:
    names = ["../../x", "/etc/passwd", "x" * 3000, "..", "a\u202eb", "a/b/../c.csv", "\u00a0", "-rf", "con\n.txt"]
    await container.filled(*(MadeFile(name=name, text=name) for name in names))
    saved = await container.saved()
    assert [file.error for file in saved.values()] == [None] * len(names)
    folder = container.root / "_gpt5_docs" / f"agent_{WORKFLOW_ID}_files"
    assert {path.parent for path in container.on_disk} == {folder}
    assert sorted(path.read_text() for path in container.on_disk) == sorted(names)


async def test_two_files_with_one_name_are_two(container: Container) -> None:
    await container.filled(MadeFile(name="one/a.csv", text="1"), MadeFile(name="two/a.csv", text="2"))
    saved = await container.saved()
    assert [file.name for file in saved.values()] == ["a.csv", "a.csv"]
    assert sorted(path.read_text() for path in container.on_disk) == ["1", "2"]


async def test_more_than_a_page_of_files_is_saved(container: Container) -> None:
    await container.filled(*(MadeFile(name=f"{n}.txt", text=str(n)) for n in range(130)))
    assert len(await container.saved()) == len(container.on_disk) == 130


@pytest.mark.parametrize("cited", [["a.csv"], []])
async def test_an_expired_container_is_said_of_each_file_that_was_cited(
    container: Container, emulator: RunningEmulator, cited: list[str]
) -> None:
    await container.filled(A, B, cited=cited)
    await emulator.control.advance(20 * 60 + 1)
    [file] = (await container.saved()).values()
    assert (file.name, file.path) == (cited[0] if cited else container.at.containers[0], None)
    assert "not found or expired" in (file.error or "")


async def test_a_file_that_is_gone_does_not_stop_the_others(container: Container) -> None:
    await container.filled(A, B, C)
    await container.fails(GONE, skip=2)
    files = list((await container.saved()).values())
    assert [(file.name, file.path is not None) for file in files] == [
        ("a.csv", True),
        ("b.csv", False),
        ("c.csv", True),
    ]
    assert "It is gone." in (files[1].error or "")


async def test_cited_files_are_saved_where_the_list_cannot_be_had(container: Container) -> None:
    await container.filled(A, B, cited=["b.csv"])
    await container.fails(Answer(status=500, message="No list."), times=3)
    failed, b = (await container.saved()).values()
    assert (failed.name, b.name, b.bytes) == (container.at.containers[0], "b.csv", 2)
    assert "No list." in (failed.error or "")


async def test_what_passes_is_tried_again(container: Container) -> None:
    await container.filled(A)
    await container.fails(BUSY, times=2)
    await container.fails(BUSY, skip=1, times=2)
    [file] = (await container.saved()).values()
    assert (file.name, file.error) == ("a.csv", None)


async def test_a_file_that_is_too_large_is_not_fetched(container: Container) -> None:
    await container.filled(MadeFile(name="big.txt", bytes=5000), A)
    big, a = (await container.saved(largest=1000)).values()
    assert (big.path, a.path is not None) == (None, True)
    assert "at most 1,000 are saved" in (big.error or "")


async def test_a_run_saves_no_more_bytes_and_files_than_it_may(container: Container) -> None:
    await container.filled(A, B, C)
    first, second, third = (await container.saved(most_bytes=3)).values()
    assert [first.bytes, second.bytes, third.bytes] == [2, None, None]
    assert "the run may save no more than 1 others" in (second.error or "")
    files = list((await container.saved(most_files=2)).values())
    assert [file.path is not None for file in files] == [True, True, False]
    assert files[2].error == "A run saves no more files; at least 1 are left out."


async def test_what_takes_too_long_is_said(container: Container) -> None:
    await container.filled(A, B)
    await container.fails(Delay(), skip=2, times=None)
    a, b = (await container.saved(within=0.5)).values()
    assert (a.error, b.path) == (None, None)
    assert "0.5 seconds" in (b.error or "")
    assert len(container.on_disk) == 1


async def test_a_folder_that_may_not_be_written_is_said_of_the_container(container: Container) -> None:
    await container.filled(A)
    container.root = Path("/proc")
    [file] = (await container.saved()).values()
    assert (file.name, file.path) == (container.at.containers[0], None)
    assert "could not be written" in (file.error or "")


# --- bytes on their way ------------------------------------------------------------------------------------------

LIST = b'{"object": "list", "data": [{"id": "cfile_1", "path": "/mnt/data/a.gz", "bytes": %d}], "has_more": false}'
PACKED = bytes.fromhex("1f8b0800") + b"a file that is packed itself"


async def test_a_packed_file_is_saved_as_it_is(api: ResponsesClient, provider: Provider, tmp_path: Path) -> None:
    provider.will(answer(LIST % len(PACKED)), answer(PACKED))
    at = FilesAt(containers=["cntr_1"])
    saving = MadeFilesActivities(api, OutputFolders([tmp_path]))
    asked = SaveFiles(options=SaveOptions(files=True), response_id="r", at=at, most_files=9, most_bytes=999)
    [file] = (await Attempt().run(saving.save_files, asked)).files.values()
    assert file.path is not None
    assert Path(file.path).read_bytes() == PACKED


async def test_a_file_that_breaks_off_is_fetched_again_and_never_seen_in_part(
    api: ResponsesClient, provider: Provider, tmp_path: Path
) -> None:
    broken = HttpAnswer(answer(PACKED).data[:-10], Then.CLOSE)
    short = answer(PACKED[:10])  # whole by its own account, but not by that of the list
    provider.will(answer(LIST % len(PACKED)), broken, short, answer(PACKED))
    saving = MadeFilesActivities(api, OutputFolders([tmp_path]), pauses=(0.0, 0.0))
    asked = SaveFiles(
        options=SaveOptions(files=True),
        response_id="r",
        at=FilesAt(containers=["cntr_1"]),
        most_files=9,
        most_bytes=999,
    )
    [file] = (await Attempt().run(saving.save_files, asked)).files.values()
    assert (file.bytes, file.error) == (len(PACKED), None)
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [PACKED]


async def test_a_file_that_comes_whole_twice_is_as_long_as_it_comes_whatever_the_list_says(
    api: ResponsesClient, provider: Provider, tmp_path: Path
) -> None:
    """Code may have written it anew since it was listed."""
    provider.will(answer(LIST % 5_000), answer(PACKED[:10]), answer(PACKED), answer(PACKED))
    saving = MadeFilesActivities(api, OutputFolders([tmp_path]), pauses=(0.0, 0.0))
    at = FilesAt(containers=["cntr_1"])
    asked = SaveFiles(options=SaveOptions(files=True), response_id="r", at=at, most_files=9, most_bytes=99_999)
    [file] = (await Attempt().run(saving.save_files, asked)).files.values()
    assert (file.bytes, file.error) == (len(PACKED), None)

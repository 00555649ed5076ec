"""Questions about text files, answered in whole sentences of theirs."""

import pytest

from durable_responses.emulator.model.file_answers import Kind, Library, passages_of
from tests.support.processes import CHECKOUT

EXAMPLE = CHECKOUT / "workspace"


@pytest.fixture(scope="module")
def library() -> Library:
    """The example workspace, read in full."""
    return Library({str(path.relative_to(EXAMPLE)): path.read_text() for path in sorted(EXAMPLE.rglob("*.md"))})


OPEN_POINTS = [
    "New valve driver works with V1 valves (Tomasz)",
    "Diary export tested with more than 100,000 entries (Aiyana)",
    "German is missing",
    "Picture of the export page in `docs/install.md` (nobody yet)",
]


@pytest.mark.parametrize(
    "question",
    [
        "What is still open before Fernwick 2.0 can ship?",
        "What is still open before Fernwick 2.0 can ship? Name the owner of each point.",
        "Which points of the release checklist are open?",
        "what's left to do for release 2.0",
    ],
)
def test_what_is_open_before_the_release_is_one_sentence_with_every_open_point(library: Library, question: str) -> None:
    answer = library.answer(question) or ""
    assert answer.startswith(
        "According to `release/2.0-checklist.md` (“Fernwick 2.0: before it ships”), four points are"
    )
    assert all(point in answer for point in OPEN_POINTS)
    assert "Weather forecast in the planner" not in answer


@pytest.mark.parametrize(
    ("question", "path", "said"),
    [
        ("Who decides whether 2.0 ships, and when?", "release/2.0-checklist.md", "Imke decides, on the 26th,"),
        ("How deep are the sensors pushed into the soil?", "docs/install.md", "10 cm deep"),
        ("Why was a bed flooded in August?", "notes/2026-08-flooded-bed.md", "Cause: the watchdog restarts the reader"),
        ("How long does the new driver wait for a valve?", "docs/architecture.md", "The new one waits 250 ms"),
        ("What did Aiyana's export take?", "notes/2026-11-09-release-meeting.md", "took 11 minutes and 900 MB"),
        ("When is the next meeting?", "notes/2026-11-09-release-meeting.md", "Next meeting on the 16th."),
        ("What is Fernwick?", "README.md", "Fernwick waters plants."),
        ("How much power does it use while idle?", "release/2.0-checklist.md", "measured 0.31 W"),
        ("How many valves can be connected?", "docs/install.md", "Up to eight; never two on one terminal."),
        ("What happens when a sensor is silent?", "docs/architecture.md", "silent for 30 minutes is marked lost"),
        ("How do I update from 1.x to 2.0?", "docs/install.md", "export the diary first"),
        ("Can the last owner leave a shared garden?", "support/tickets.md", "The last owner of a garden can leave it"),
        ("Does Fernwick need a cloud?", "README.md", "It works without a cloud"),
        ("What blocks the release?", "release/2.0-checklist.md", "New valve driver works with V1 valves"),
        ("Which tickets are open?", "support/tickets.md", "three points are still open: “118,"),
        ("Which tickets are closed?", "support/tickets.md", "one point is done: “124, diary in the wrong time zone"),
        (
            "What does Tomasz still have to do?",
            "release/2.0-checklist.md",
            "one point is still open: “New valve driver",
        ),
        ("What is done for 2.0?", "release/2.0-checklist.md", "three points are done: “Weather forecast"),
        ("What are the ideas for 2.1?", "release/plan-2.1.md", "and “Vacation mode: water less, and send one picture"),
        ("Summarise the release meeting.", "notes/2026-11-09-release-meeting.md", "is about “Release meeting, 9 Nov"),
        ("What does docs/install.md say?", "docs/install.md", "begins: “Screw the controller to a wall"),
        ("Compare the two plans in release/.", "release/plan-2.1.md", "is about “Ideas for 2.1” and begins: “Not deci"),
    ],
)
def test_a_question_about_the_example_is_answered_from_the_right_file(
    library: Library, question: str, path: str, said: str
) -> None:
    answer = library.answer(question) or ""
    assert f"`{path}`" in answer
    assert said in answer
    assert answer.endswith((".", ".”"))


def test_the_files_are_listed_in_one_sentence(library: Library) -> None:
    answer = library.answer("Which files are there?") or ""
    assert answer.startswith("There are eight files: `README.md`, `docs/architecture.md`,")
    assert answer.endswith(", and `support/tickets.md`.")


def test_how_many_valves_may_be_open_is_no_question_for_open_points(library: Library) -> None:
    assert "never opens more than two at once" in (library.answer("How many valves can be open at once?") or "")


@pytest.mark.parametrize(
    "task", ["Say hello.", "Write a haiku about autumn.", "What is the capital of France?", "", "?"]
)
def test_what_the_files_say_nothing_about_has_no_answer(library: Library, task: str) -> None:
    assert library.answer(task) is None


def test_the_words_that_no_file_has_are_named_as_they_were_written(library: Library) -> None:
    assert library.unknown("Write a haiku about the sensors in autumn.") == ["haiku", "autumn"]


def test_a_file_is_taken_apart_into_sentences_items_and_rows() -> None:
    text = (
        "# Title\n\nOne. Two is\nlonger.\n\n- [ ] open\n- [x] done\n\n1. A step.\n\n| a | b |\n|---|---|\n| c | d |\n"
    )
    made = [(passage.kind, passage.text, passage.is_open) for passage in passages_of("a.md", text)]
    assert made == [
        (Kind.SENTENCE, "One.", None),
        (Kind.SENTENCE, "Two is longer.", None),
        (Kind.ITEM, "open", True),
        (Kind.ITEM, "done", False),
        (Kind.SENTENCE, "A step.", None),
        (Kind.ITEM, "a: b", None),
        (Kind.ITEM, "c: d", None),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "#", "- ", "**", "|", "****", "no heading", "\0", "# a\n# b", "``` x\n"])
def test_any_text_is_taken_apart_and_asked(text: str) -> None:
    for question in (
        "What is open?",
        "What is done?",
        "Summarise it.",
        "Which files are there?",
        "Is there a heading?",
    ):
        Library({"odd.md": text}).answer(question)

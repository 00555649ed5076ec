"""The pages: whatever they link to is there, and whatever they tell people to type is a command that takes it."""

import asyncio
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from durable_responses.embedded import find_temporal_cli
from durable_responses.settings import Settings
from tests.support.pages import PAGES, commands
from tests.support.processes import CHECKOUT

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def help_of(*command: str) -> str:
    """What a program says of its options, on one line."""
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60)
    return " ".join(told.stdout.split()) if told.returncode == 0 else ""


def options_of(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("--") and len(word) > 2}


def missing_options(command: list[str], words: list[str]) -> set[str]:
    """What is typed behind a command and is not in its help."""
    said = help_of(*command)
    assert said, f"{command} is no command"
    return {option for option in options_of(words) if not re.search(rf"(?<!\S){option}\b", said)}


@named
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", page.read_text())
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]
    assert [str(target) for target, _ in targets if not target.exists()] == []
    assert [anchor for target, anchor in targets if anchor and anchor not in anchors(target)] == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", (CHECKOUT / "README.md").read_text()))
    assert linked == {f"docs/{page.name}" for page in (CHECKOUT / "docs").glob("*.md")}


@named
def test_every_command_of_ours_exists_and_takes_its_options(page: Path) -> None:
    typed = [words for words in commands(page, "durable-responses") if len(words) > 1 and words[1] != "temporal"]
    for _, name, *words in typed:
        assert missing_options([sys.executable, "-m", "durable_responses.cli", name], words) == set()


@named
def test_every_target_of_make_exists_and_takes_its_variables(page: Path) -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for _, target, *variables in commands(page, "make"):
        assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), f"make {target}"
        for variable in variables:
            name = variable.split("=")[0]
            assert re.search(rf"\$\({name}\)|^override {name} ", makefile, re.MULTILINE), variable


@named
def test_every_module_that_is_run_exists(page: Path) -> None:
    for _, option, module, *_ in (typed for typed in commands(page, "python") if len(typed) > 2):
        assert option == "-c" or importlib.util.find_spec(module), module


@named
def test_every_command_of_temporal_exists_and_takes_its_options(page: Path) -> None:
    through_ours = [words[1:] for words in commands(page, "durable-responses") if words[1:2] == ["temporal"]]
    all_typed = [*commands(page, "temporal"), *through_ours]
    typed = [words for words in all_typed if any(word.startswith("--") for word in words)]
    if not typed:
        return
    cli = str(asyncio.run(find_temporal_cli(Settings(), print)))
    for _, *words in typed:
        first_option = next(place for place, word in enumerate(words) if word.startswith("--"))
        assert missing_options([cli, *words[:first_option]], words) == set()

"""What CONTRIBUTING.md, CHANGELOG.md and the order of the tests say is there is there."""

import re
import tomllib

import pytest

from tests.support.processes import CHECKOUT
from tests.support.scheduling import LONGEST

CONTRIBUTING = (CHECKOUT / "CONTRIBUTING.md").read_text()
CHANGELOG = (CHECKOUT / "CHANGELOG.md").read_text()
PATHS = re.findall(r"(?:[\w-]+/)+[\w*.-]+\.(?:py|md|json)|(?<![\w./-])[a-z-]+\.(?:py|toml|txt)\b", CONTRIBUTING)
TARGETS = re.findall(r"(?:^|`)make ([a-z]+)", CONTRIBUTING, re.MULTILINE)


def found(path: str) -> bool:
    """Whether there is such a file: in the checkout, or in the package, as the page says."""
    return any(list(folder.glob(path)) for folder in (CHECKOUT, CHECKOUT / "durable_responses"))


def test_every_file_that_is_named_exists() -> None:
    assert [path for path in PATHS if "name_of_the_scenario" not in path and not found(path)] == []


def test_the_words_are_few_and_each_is_explained_once() -> None:
    words = re.findall(r"^\| (.+?) \|", CONTRIBUTING.split("## Words")[1].split("\n## ")[0], re.MULTILINE)[1:]
    assert len(words) == len(set(words)) <= 15


@pytest.mark.parametrize("target", sorted(set(TARGETS)))
def test_every_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*##", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)


def test_every_module_of_the_core_is_two_hops_away() -> None:
    """Behaviour lives there; the rest is found from these by their imports."""
    folders = ("workflows", "activities", "tools", "responses_api", "jobs", "worker")
    modules = {
        f"{folder}/{path.name}"
        for folder in folders
        for path in (CHECKOUT / "durable_responses" / folder).glob("*.py")
        if not path.name.startswith("__")
    }
    found_from_others = {"tools/addresses.py", "tools/html_text.py", "tools/strict_schema.py"}
    assert len(modules) > 40
    assert modules - found_from_others - set(PATHS) == set(), "add a line to the table of CONTRIBUTING.md"


def test_the_readme_leads_to_the_index() -> None:
    assert "(CONTRIBUTING.md#where-things-are)" in (CHECKOUT / "README.md").read_text()


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)[0] == version


def test_the_files_whose_tests_come_first_are_there() -> None:
    assert [file for file in LONGEST if not (CHECKOUT / file).is_file()] == []

"""What a fresh clone is set up from: pinned dependencies, a pinned Temporal CLI, targets that say what they do."""

import re
import subprocess
import tomllib
from itertools import chain

import pytest

from embedded import temporal_cli
from tests.processes import CHECKOUT

REQUIREMENTS = (CHECKOUT / "requirements.txt").read_text()


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-") for requirement in requirements}


def test_every_dependency_is_pinned_with_hashes() -> None:
    pinned = re.findall(r"^\S+==\S+.*?(?=^\S|\Z)", REQUIREMENTS, re.MULTILINE | re.DOTALL)
    assert pinned
    assert all("--hash=sha256:" in block for block in pinned)


def test_every_dependency_of_the_project_is_among_the_pinned_ones() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = names([*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())])
    assert wanted <= names(re.findall(r"^(\S+)==", REQUIREMENTS, re.MULTILINE))


def test_the_pinned_dependencies_name_no_host() -> None:
    assert not re.search(r"https?://|--index-url|--find-links|--extra-index-url", REQUIREMENTS)


def test_the_go_module_builds_the_version_that_the_search_looks_for() -> None:
    module = (temporal_cli.GO_MODULE / "go.mod").read_text()
    assert f"require github.com/temporalio/cli v{temporal_cli.VERSION}\n" in module


@pytest.mark.parametrize("task", ["plain", 'it\'s "quoted"', "costs $5 $(date) `date`", "50 % {of} it; & more"])
def test_make_hands_a_task_over_as_it_was_typed(task: str) -> None:
    show = 'include Makefile\nshow:\n\t@printf "%s" "$$TASK"\n'
    shown = subprocess.run(
        ["make", "--silent", "-f", "-", "show", f"TASK={task}"],
        input=show,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == task

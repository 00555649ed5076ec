"""What a fresh clone is set up from: pinned dependencies, a pinned Temporal CLI, targets that say what they do."""

import re
import subprocess
import tomllib
from itertools import chain

import pytest

from durable_responses.embedded.go_programs import GoProgram
from durable_responses.embedded.temporal_cli import TEMPORAL_CLI
from durable_responses.embedded.temporal_server import SERVER, SQL_TOOL
from durable_responses.embedded.web_ui import WEB_UI
from tests.support.processes import CHECKOUT

FILES = ["requirements.txt", "requirements-runtime.txt", "requirements-build.txt"]
PINS = re.compile(r"^(\S+?)==(\S+)", re.MULTILINE)


def read(file: str) -> str:
    return (CHECKOUT / file).read_text()


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-") for requirement in requirements}


@pytest.mark.parametrize("file", FILES)
def test_every_dependency_is_pinned_with_hashes(file: str) -> None:
    pinned = re.findall(r"^\S+==\S+.*?(?=^\S|\Z)", read(file), re.MULTILINE | re.DOTALL)
    assert pinned
    assert all("--hash=sha256:" in block for block in pinned)


def test_every_dependency_of_the_project_is_among_the_pinned_ones() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = names([*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())])
    assert wanted - {project["name"]} <= set(dict(PINS.findall(read("requirements.txt"))))


def test_every_dependency_that_runs_is_pinned_as_it_is_tested() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    tested, image = (dict(PINS.findall(read(file))) for file in FILES[:2])
    assert names([*project["dependencies"], *project["optional-dependencies"]["otel"]]) <= set(image)
    assert image.items() <= tested.items()


def test_what_builds_the_wheel_is_pinned_for_the_set_up_and_for_the_image() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    pinned = set(dict(PINS.findall(read("requirements-build.txt"))))
    assert names([*project["build-system"]["requires"], *project["dependency-groups"]["build"]]) <= pinned


@pytest.mark.parametrize("file", FILES)
def test_the_pinned_dependencies_name_no_host(file: str) -> None:
    assert not re.search(r"https?://|--index-url|--find-links|--extra-index-url", read(file))


@pytest.mark.parametrize("program", [TEMPORAL_CLI, SERVER, SQL_TOOL, WEB_UI], ids=lambda program: program.binary)
def test_a_go_module_builds_the_version_that_is_looked_for(program: GoProgram) -> None:
    module = (program.module / "go.mod").read_text()
    assert f"require {program.requires} v{program.version}\n" in module


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


@pytest.mark.parametrize(("target", "installs"), [("run", False), ("up", False), ("check", True), ("test", True)])
def test_only_tests_and_checks_install_what_they_alone_need(target: str, installs: bool) -> None:
    """A run in a fresh clone waits for the packages that it needs, and for no others."""
    command = ["make", "--dry-run", "--what-if", "requirements.txt", "--what-if", "requirements-runtime.txt", target]
    planned = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert "-r requirements-runtime.txt" in planned
    assert ("-r requirements.txt" in planned) is installs

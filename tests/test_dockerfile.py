"""The Dockerfile: small, not root, hash-pinned; its steps, run as a script in a clean folder, make working programs.

No container engine is needed: each stage is a folder, and the absolute paths of the steps lead into it.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pytest

from tests.support.processes import CHECKOUT

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
# What the base image brings, and calls `python`.
PYTHON = Path(sys.executable).resolve()
PROGRAMS = ["worker", "mcp", "emulator", "run"]


@dataclass(frozen=True)
class Step:
    """One instruction of the Dockerfile."""

    instruction: str
    argument: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.argument)


def steps() -> list[Step]:
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    return [Step(*line.split(maxsplit=1)) for line in lines if line.strip()]


def last(instruction: str) -> str:
    return next(step.argument for step in reversed(steps()) if step.instruction == instruction)


@dataclass
class Stage:
    """The file system of a stage, as a folder."""

    root: Path
    folder: Path = Path("/")
    environment: dict[str, str] = field(default_factory=dict)

    def path(self, written: str) -> Path:
        return self.root / (self.folder / written).relative_to("/")

    def inside(self, text: str) -> str:
        """A text with its absolute paths led into the stage; those of the system stay."""
        ours = r"(?<![\w./])/(venv|build|source|wheel|state|workspace|requirements[\w.-]*)"
        return re.sub(ours, rf"{self.root}/\1", text)

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath, **{name: self.inside(value) for name, value in self.environment.items()}}
        environment["PATH"] = environment["PATH"].replace("$PATH", os.defpath)
        place = self.path(".")
        place.mkdir(parents=True, exist_ok=True)
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


class Build:
    """The Dockerfile, carried out in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: dict[str, Stage] = {}
        self.stage = Stage(folder)

    def carry_out(self, step: Step) -> None:
        match step.instruction:
            case "FROM":
                name = step.words[2] if len(step.words) > 2 else "image"
                self.stage = self._stages[name] = Stage(self._folder / name)
                self.stage.root.mkdir()
            case "WORKDIR":
                self.stage.folder = self.stage.folder / step.argument
            case "ENV":
                self.stage.environment |= dict(word.split("=", 1) for word in step.words)
            case "COPY":
                self._copy(step.words)
            case "RUN":
                # An interpreter called `python` is what the base image brings.
                done = self.stage.run(
                    ["/bin/sh", "-ec", f'python() {{ "{PYTHON}" "$@"; }}; {self.stage.inside(step.argument)}']
                )
                assert done.returncode == 0, done.stdout + done.stderr
            case other:
                assert other in ("USER", "ENTRYPOINT", "CMD")

    def _copy(self, words: list[str]) -> None:
        source = self._stages[words.pop(0).split("=")[1]] if words[0].startswith("--from=") else None
        *originals, written = words
        for original in originals:
            found = source.path(original) if source else CHECKOUT / original
            target = self.stage.path(written)
            if found.is_dir():
                shutil.copytree(found, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target = target / found.name if written.endswith("/") else target
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, target)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    build = Build(tmp_path_factory.mktemp("image"))
    for step in steps():
        build.carry_out(step)
    return build.stage


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_of_the_image_starts(image: Stage, program: str) -> None:
    (entry,) = json.loads(last("ENTRYPOINT"))
    started = image.run([str(image.path("/venv/bin/python")), str(image.path("/venv/bin") / entry), program, "--help"])
    assert started.returncode == 0, started.stderr
    assert "usage" in started.stdout.lower()


def test_the_image_has_no_installer_and_no_test(image: Stage) -> None:
    assert not {"pip", "pip3", "uv"} & set(os.listdir(image.path("/venv/bin")))
    assert {path.name for path in image.root.iterdir()} == {"venv", "state", "workspace"}
    (packages,) = image.path("/venv/lib").glob("python*/site-packages")
    assert {"durable_responses", "pytest", "hatchling"} & set(os.listdir(packages)) == {"durable_responses"}


def test_the_image_is_small(image: Stage) -> None:
    size = sum(path.stat().st_size for path in image.root.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"\nwhat the image adds to its base: {size / 1e6:.0f} MB")
    assert size < 250e6


def test_the_programs_do_not_run_as_root() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last("USER"))


def test_every_base_image_is_pinned_to_a_whole_version() -> None:
    bases = [step.words[0] for step in steps() if step.instruction == "FROM"]
    assert bases
    assert all(re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", base) for base in bases)


def test_every_dependency_is_checked_by_its_hash() -> None:
    commands = chain.from_iterable(step.argument.split("&&") for step in steps() if step.instruction == "RUN")
    *fetched, ours = (command for command in commands if " pip install " in command)
    assert [install.split("--require-hashes -r /")[1].strip() for install in fetched] == [
        "requirements-build.txt",
        "requirements-runtime.txt",
    ]
    assert "--no-index --no-deps /wheel/" in " ".join(ours.split())


def test_all_that_the_wheel_is_built_from_is_copied_and_let_through_to_the_engine() -> None:
    links = {path.resolve().name for path in (CHECKOUT / "durable_responses").iterdir() if path.is_symlink()}
    copied = {word for step in steps() if step.instruction == "COPY" for word in step.words[:-1]}
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert links == {"workflows", "activities", "workspace"}
    assert {"durable_responses", "pyproject.toml"} | links <= copied
    assert allowed == {word for word in copied if not word.startswith(("--", "/"))}

"""An installed wheel, without a checkout: what is in it, and that it does the whole job from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from durable_responses.embedded import find_temporal_cli
from durable_responses.settings import Settings, child_environment
from tests.support.processes import CHECKOUT, Process

PACKAGE = CHECKOUT / "durable_responses"
LINKS = {"workflows", "activities", "example_workspace"}
PIP = [sys.executable, "-m", "pip"]
METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def build(kind: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def files_of(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def files_below(folder: Path) -> set[str]:
    return {
        str((Path(place) / name).relative_to(folder.parent))
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if "__pycache__" not in place
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", CHECKOUT, tmp_path_factory.mktemp("wheel"))


def test_a_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_symlink()} == LINKS
    described = {f"durable_responses-0.1.0.dist-info/{name}" for name in METADATA}
    assert files_of(wheel) == files_below(PACKAGE) | described


def test_what_the_stack_is_built_from_is_in_it(wheel: Path) -> None:
    stack = "durable_responses/embedded"
    modules = [f"{stack}/go/{name}" for name in ("temporal-cli", "temporal-server", "temporal-ui")]
    needed = {f"{module}/{file}" for module in modules for file in ("go.mod", "go.sum", "tools.go")}
    assert needed | {f"{stack}/schema/set-up-schema.sh", f"{stack}/temporal-dynamic-config.yaml"} <= files_of(wheel)
    assert {f"durable_responses/example_{path}" for path in files_below(CHECKOUT / "workspace")} <= files_of(wheel)


def test_a_source_archive_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", CHECKOUT, tmp_path / "archive")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    again = build("wheel", tmp_path / "durable_responses-0.1.0", tmp_path / "wheel")
    assert files_of(again) == files_of(wheel)


@dataclass
class Installed:
    """An environment with the wheel in it, and an empty folder to use it from."""

    packages: Path
    command: Path
    home: Path
    here: Path
    env: dict[str, str]

    async def run(self, *words: str, timeout: float) -> tuple[int, str]:
        """Exit code and output of `durable-responses`, started in the empty folder."""
        log = self.home / f"{words[0]}.log"
        async with Process([str(self.command), *words], log=log, env=self.env, cwd=self.here) as process:
            return await process.wait(timeout=timeout), process.output


def installer(python: Path) -> list[str]:
    """What installs packages for that interpreter: uv where it is there, else the tested environment's pip."""
    path = [str(Path(sys.executable).parent), child_environment()["PATH"]]
    uv = shutil.which("uv", path=os.pathsep.join(path))
    return [uv, "pip", "install", "--python", str(python)] if uv else [*PIP, "--python", str(python), "install"]


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in an environment of its own. What it depends on comes from the tested one, without the checkout."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    install = [*installer(environment / "bin" / "python"), "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    # A .pth file that lies in this folder, such as the editable install's, is not read from there.
    (packages_of(environment) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment


def packages_of(environment: Path) -> Path:
    (packages,) = environment.glob("lib/python*/site-packages")
    return packages


@pytest.fixture
async def installed(environment: Path, tmp_path: Path) -> AsyncIterator[Installed]:
    """The installed wheel, for somebody with an empty home in an empty folder."""
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    mine = [
        name for name in child_environment() if name.startswith(("AGENT_", "OPENAI_", "TEMPORAL_", "XDG_", "PYTHON"))
    ]
    env = child_environment(**dict.fromkeys(mine)) | {
        "HOME": str(home),
        "TEMPORAL_CLI": str(await find_temporal_cli(Settings(), print)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program = Installed(packages_of(environment), environment / "bin" / "durable-responses", home, here, env)
    yield program
    await program.run("down", timeout=60)


async def test_an_installed_command_does_the_whole_job_from_an_empty_folder(installed: Installed) -> None:
    """The stack is started, the emulator's agent reads the example files with our tools, and answers from them."""
    before = files_below(installed.packages)
    code, printed = await installed.run("run", "Which points of the release checklist are open?", timeout=120)
    assert code == 0, printed
    copy = installed.home / ".local" / "state" / "durable-responses" / "workspace"
    assert f"copy of the example files in {copy}" in printed
    assert re.search(r"read_file \S+ ✓ \d", printed)
    assert "New valve driver works with V1 valves" in printed
    assert list(installed.here.iterdir()) == []
    assert files_below(installed.packages) == before


async def test_a_named_workspace_that_is_missing_is_said_before_anything_is_started(installed: Installed) -> None:
    installed.env["AGENT_WORKSPACE"] = gone = str(installed.home / "gone")
    code, printed = await installed.run("run", "Read it.", timeout=60)
    assert code == 5
    assert f"The workspace {gone} does not exist: create that folder, or set AGENT_WORKSPACE to another" in printed
    assert "in the background" not in printed

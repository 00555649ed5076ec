"""Programs of others, each in an environment of its own, pinned: for the slow lanes.

They are kept in `lanes` below the cache folder. Nothing of them gets into `.venv`, and nothing of ours into them.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from durable_responses.settings import Settings, child_environment

_READY = ".ready"
_PATIENCE = 1800.0


class CannotBeInstalled(Exception):
    """Some program is not to be had on this machine; the message says which, and why."""


async def python_environment(name: str, *requirements: str, at_least: tuple[int, int] = (3, 11)) -> Path:
    """The folder of a virtual environment with these packages. Raises `CannotBeInstalled`."""
    folder = environment_folder(name, *requirements)
    if (folder / _READY).exists():
        return folder
    python = await _python(name, at_least)
    shutil.rmtree(folder, ignore_errors=True)
    await _run(name, str(python), "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{child_environment()['PATH']}")
    install = (uv, "pip", "install", "--python", pip[0]) if uv else (*pip, "install")
    await _run(name, *install, "--quiet", *requirements)
    (folder / _READY).touch()
    return folder


async def node_environment(name: str, *packages: str) -> Path:
    """The folder whose `node_modules` has these packages. Raises `CannotBeInstalled`."""
    folder = environment_folder(name, *packages)
    if (folder / _READY).exists():
        return folder
    if shutil.which("npm", path=child_environment()["PATH"]) is None:
        raise CannotBeInstalled(f"{name} cannot be installed: there is no npm.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"private": True}))
    await _run(name, "npm", "install", "--silent", "--no-audit", "--no-fund", *packages, at=folder)
    (folder / _READY).touch()
    return folder


async def go_program(name: str, source: Path) -> Path:
    """The folder with the program that a folder of Go source becomes, under that name. Raises `CannotBeInstalled`."""
    folder = environment_folder(name, *(each.read_text() for each in sorted(source.iterdir())))
    if (folder / _READY).exists():
        return folder
    if shutil.which("go", path=child_environment()["PATH"]) is None:
        raise CannotBeInstalled(f"{name} cannot be installed: there is no Go.")
    await _run(name, "go", "build", "-o", str(folder / name), ".", at=source)
    (folder / _READY).touch()
    return folder


def environment_folder(name: str, *packages: str) -> Path:
    """Where the environment with these packages is, or would be."""
    pinned = hashlib.sha256(json.dumps(packages).encode()).hexdigest()[:8]
    return Settings().cache_folder / "lanes" / f"{name}-{pinned}"


async def _python(name: str, at_least: tuple[int, int]) -> Path:
    """A Python that is new enough: ours, or the oldest that is."""
    if sys.version_info >= at_least:
        return Path(sys.executable)
    path = child_environment()["PATH"]
    for minor in range(at_least[1], 20):
        found = shutil.which(f"python3.{minor}", path=path)
        # A stand-in of pyenv is there for each version that it has, and works for the one that was chosen.
        beside = Path(found).parent.parent.glob(f"versions/3.{minor}.*/bin/python3") if found else ()
        for python in filter(None, [found, *map(str, sorted(beside))]):
            tried = await asyncio.create_subprocess_exec(
                python, "-c", "import venv", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            if await tried.wait() == 0:
                return Path(python)
    raise CannotBeInstalled(f"{name} cannot be installed: it needs Python 3.{at_least[1]}.")


async def _run(name: str, *command: str, at: Path | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=at, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
    if process.returncode != 0:
        said = output.decode(errors="replace").strip() or "no reason was given"
        raise CannotBeInstalled(f"{name} cannot be installed: {said[-600:]}")

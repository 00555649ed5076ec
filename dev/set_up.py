"""Install packages into .venv and say how far it has come: `.venv/bin/python dev/set_up.py ARGUMENTS OF PIP INSTALL`.

uv takes a twentieth of pip's time: the one on the PATH, else pip fetches it. It does not read pip's configuration:
where it cannot reach the packages, pip installs them. And that is the pip of the Python that .venv was made from: to
make one in .venv takes longer than all the rest. Everything goes to standard error.

It runs before anything is installed, so it imports the standard library only.
"""

import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_VENV = Path(sys.prefix)
_ENVIRONMENT = os.environ.copy()  # noqa: TID251 there are no settings to ask yet
_TOOLS = "requirements-build.txt"  # has uv, and what builds this project
_FIRST_WORD, _NEXT_WORDS = 5.0, 10.0  # seconds: nobody waits longer without a word
_LAST_LINES = 20
_ONE_DOWNLOAD = re.compile(r"\s*Downloading (?P<name>\S+) \((?P<size>[^)]+)\)")
_DOWNLOADED = re.compile(r"\s*Downloaded (?P<name>\S+)")
_INSTALLED = re.compile(r"Installed (?P<count>\d+) packages?|Successfully installed (?P<names>.*)")


class Failed(Exception):
    """A program did not do its work; the message is what it said last."""


class Progress:
    """What is said of an installation: how long it has taken, what is being downloaded, and how large that is."""

    def __init__(self) -> None:
        self.packages = 0
        self._began = time.monotonic()
        self._next_word = _FIRST_WORD
        self._is_screen = sys.stderr.isatty() and _ENVIRONMENT.get("TERM") not in (None, "dumb")
        self._downloads: dict[str, str] = {}

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    def read(self, line: str) -> None:
        """Learn from a line of uv or pip. uv downloads side by side, pip one after the other."""
        if found := _ONE_DOWNLOAD.match(line):
            name = found["name"]
            if name.endswith((".whl", ".gz")):
                self._downloads.clear()
                name = " ".join(name.split("-")[:2])
            self._downloads[name] = found["size"]
        elif found := _DOWNLOADED.match(line):
            self._downloads.pop(found["name"], None)
        elif found := _INSTALLED.match(line):
            self.packages += int(found["count"] or len(found["names"].split()))
            self._downloads.clear()

    def word(self) -> None:
        """Say where it is, if it is time for it: on a terminal in place, else a line every now and then."""
        if self._is_screen:
            self._write(f"\r\x1b[K{self._line()[: shutil.get_terminal_size().columns - 1]}")
        elif self.seconds >= self._next_word:
            self._next_word += _NEXT_WORDS
            self._write(f"{self._line()}\n")

    def say(self, line: str) -> None:
        """A line that stays."""
        self._write(("\r\x1b[K" if self._is_screen else "") + f"{line}\n")

    def _line(self) -> str:
        downloads = ", ".join(f"{name} ({size})" for name, size in self._downloads.items())
        return f"  … installing packages, {self.seconds:.0f} s" + (f": downloading {downloads}" if downloads else "")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def install(arguments: Sequence[str], progress: Progress, **variables: str) -> None:
    """Install by uv, else by pip; `variables` are for uv. Raises `Failed`."""
    uv = shutil.which("uv") or str(_VENV / "bin" / "uv")
    if os.access(uv, os.X_OK):
        try:
            # Like pip it shall use the certificates of the system.
            command = [uv, "pip", "install", "--python", sys.executable, *arguments]
            run(command, progress, UV_SYSTEM_CERTS="1", **variables)
        except Failed as error:
            progress.say(f"{error}\nuv cannot install it; trying pip.")
        else:
            return
    pip = ["pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    try:
        base = os.path.realpath(sys.executable)
        run([base, "-m", pip[0], "--python", sys.executable, *pip[1:]], progress)
    except Failed:  # it has no pip, or an old one that cannot install elsewhere
        run([sys.executable, "-m", "ensurepip"], progress)
        run([sys.executable, "-m", *pip], progress)


def run(command: Sequence[str], progress: Progress, **variables: str) -> None:
    """Run a program to its end; only the progress is shown. Raises `Failed`."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**_ENVIRONMENT, **variables},
    )
    assert process.stdout is not None
    said, rest = [], b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while True:
            if waiting.select(0.5):
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    said.append(line.decode(errors="replace"))
                    progress.read(said[-1])
            progress.word()
    if process.wait():
        raise Failed("\n".join([*said, rest.decode(errors="replace")][-_LAST_LINES:]).rstrip())


def main(arguments: Sequence[str]) -> int:
    """Install the tools, the packages, and this project; one line says what it was."""
    progress = Progress()
    try:
        if not shutil.which("uv") and not (_VENV / "bin" / "uv").exists():
            install(["--require-hashes", "-r", _TOOLS], progress)
        install(["--require-hashes", "-r", _TOOLS, *arguments], progress, UV_COMPILE_BYTECODE="1")
        install(["--no-deps", "--no-build-isolation", "--editable", "."], progress)
    except Failed as error:
        progress.say(f"{error}\nThe packages cannot be installed.")
        return 1
    progress.say(f"Installed {progress.packages} packages in {progress.seconds:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

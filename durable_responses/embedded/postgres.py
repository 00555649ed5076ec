"""A PostgreSQL cluster of our own: the system's programs on a private data folder, on loopback, with a password.

PostgreSQL refuses to run as root, and nobody else can reach root's state folder. Started by root, the cluster belongs
to the user `postgres`, whom the system's package creates, and lies in that user's home; a link in the state folder
leads there.
"""

import os
import pwd
import re
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import ProgramMissing, Say, last_words, output_of
from durable_responses.settings import SetupError, child_environment

VERSION = "15"
"""The major version that is tested, and that docker-compose.yml pins."""
USER = "temporal"
SETTINGS = {"max_connections": "200"}
"""Each of Temporal's four services may open 30 connections; PostgreSQL's own limit is 100."""
_SYSTEM_USER = "postgres"
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgresCluster:
    """A data folder, the programs that serve it, its port and its password."""

    data: Path
    programs: Path
    port: int
    password: str = field(repr=False)

    @classmethod
    def of(cls, folder: StateFolder, port: int) -> Self:
        """The cluster of a state folder, made or not. Raises `ProgramMissing` without PostgreSQL."""
        data = _data_folder(folder)
        return cls(data, _programs(data), port, _password(folder.path / "postgres.password"))

    async def make(self, say: Say) -> None:
        """Create the data folder, if it is not there. Raises `SetupError`."""
        if (self.data / "PG_VERSION").is_file():
            return
        say(f"Creating a PostgreSQL cluster in {self.data}.")
        unfinished, password = self.data.with_suffix(".unfinished"), self.data.with_suffix(".password")
        shutil.rmtree(unfinished, ignore_errors=True)
        _write_secret(password, self.password)
        if owner := _owner():
            os.chown(password, owner.pw_uid, owner.pw_gid)
        try:
            code, text = await output_of(
                _as_owner(
                    [
                        str(self.programs / "initdb"),
                        *("--pgdata", str(unfinished)),
                        *("--username", USER),
                        *("--pwfile", str(password)),
                        *("--auth", "scram-sha-256"),
                        *("--encoding", "UTF8", "--locale", "C"),
                    ]
                ),
                cwd=Path("/"),
            )
        finally:
            password.unlink()
        if code:
            raise SetupError(f"PostgreSQL's cluster could not be created in {self.data} ({last_words(text)}).")
        unfinished.rename(self.data)

    def command(self) -> list[str]:
        """The command that serves it on 127.0.0.1."""
        settings = {"listen_addresses": readiness.HOST, "unix_socket_directories": "", **SETTINGS}
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return _as_owner([str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *given])

    async def accepts(self) -> bool:
        """Whether it accepts connections; it does not yet while it recovers from a kill."""
        where = ["--host", readiness.HOST, "--port", str(self.port)]
        code, _ = await output_of([str(self.programs / "pg_isready"), *where], timeout=5)
        return code == 0


def _data_folder(folder: StateFolder) -> Path:
    place = folder.path / "postgres"
    owner = _owner()
    if owner is None or place.is_dir():
        return place.resolve()
    place.unlink(missing_ok=True)
    data = Path(owner.pw_dir) / f"durable-responses-{secrets.token_hex(4)}"
    place.symlink_to(data)
    return data


def _programs(data: Path) -> Path:
    version = data / "PG_VERSION"
    if version.is_file():
        made_by = version.read_text().strip()
        if (_DEBIAN / made_by / "bin" / "postgres").exists():
            return _DEBIAN / made_by / "bin"
    on_path = shutil.which("initdb", path=child_environment().get("PATH"))
    found = [*([Path(on_path).resolve().parent] if on_path else []), *sorted(_DEBIAN.glob("*/bin"), key=_major)[::-1]]
    programs = next((folder for folder in found if (folder / "postgres").exists()), None)
    if programs is None:
        raise ProgramMissing(
            "PostgreSQL is not installed: `apt-get install postgresql`, or put its programs on the PATH."
        )
    return programs


def _major(programs: Path) -> int:
    number = re.match(r"\d+", programs.parent.name)
    return int(number[0]) if number else 0


def _password(path: Path) -> str:
    if not path.exists():
        _write_secret(path, secrets.token_hex(16))
    return path.read_text()


def _write_secret(path: Path, secret: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secret)


def _owner() -> pwd.struct_passwd | None:
    """Who the cluster belongs to instead of root; None when we are somebody else, and it is ours."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        raise ProgramMissing(
            f"PostgreSQL does not run as root, and there is no user {_SYSTEM_USER!r}: `apt-get install postgresql`"
            " creates it, or start the stack as another user."
        ) from None


def _as_owner(command: list[str]) -> list[str]:
    owner = _owner()
    # It becomes the program itself: the part's process must be PostgreSQL's.
    become = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--init-groups", "--"] if owner else []
    return [*become, *command]

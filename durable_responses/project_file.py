"""The project file `durable-responses.toml`: where it is, what it says, and in which line.

It is flat: a setting a line, by the name that it has in the environment. What the names mean, and which of them a file
may set, is for `settings.py` to judge. The MCP server's door reads it before anything is loaded, so this module imports
nothing but the standard library, and `tomllib` only where there is a file.
"""

import os
import re
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

NAME = "durable-responses.toml"
FILE, FOLDER = "AGENT_PROJECT_FILE", "AGENT_PROJECT_FOLDER"
NONE = "none"
"""The value of `AGENT_PROJECT_FILE` that stands for no file."""

FOLDERS = frozenset(
    {
        "AGENT_APPROVALS",
        "AGENT_CACHE_FOLDER",
        "AGENT_FILES_ROOT",
        "AGENT_MCP_SERVERS",
        "AGENT_OUTPUT_ROOT",
        "AGENT_STATE_FOLDER",
        "AGENT_WORKSPACE",
        "TEMPORAL_CLI",
    }
)
"""The settings that are, or may be, paths: relative ones are relative to the folder of the file."""

CALLED_OTHERWISE = {"mcpServers": "AGENT_MCP_SERVERS"}
"""Settings that may also stand under the name that other programs have for them."""

_MOST_BYTES = 1024 * 1024


class ProjectFileError(Exception):
    """The file cannot be read. One sentence that names it, and the line where that is known."""


class ProjectFile(NamedTuple):
    """A project file that was read: `values` by name, as TOML has them, paths already absolute.

    `is_named`: whether the environment names it, instead of the folder that a program was started in.
    """

    path: str
    text: str
    values: Mapping[str, Any]
    owner: int
    is_named: bool

    @property
    def folder(self) -> str:
        """The folder of the file: the project's."""
        return os.path.dirname(self.path)

    def place(self, name: str) -> str:
        """Where a name is set: `/path/durable-responses.toml, line 3`."""
        line = _line_of(name, self.text)
        if line is None:
            other = next((theirs for theirs, ours in CALLED_OTHERWISE.items() if ours == name), None)
            line = _line_of(other, self.text) if other else None
        return f"{self.path}, line {line}" if line else self.path

    def variables(self) -> dict[str, str]:
        """The values as an environment has them."""
        return {name: _as_variable(value) for name, value in self.values.items()}


def find(environment: Mapping[str, str]) -> ProjectFile | None:
    """The file that the environment names, else the nearest one from the current folder upwards; None if there is none.

    Raises `ProjectFileError`.
    """
    named = environment.get(FILE, "")
    if named.lower() == NONE:
        return None
    path = os.path.abspath(os.path.expanduser(named)) if named else _upwards(os.getcwd())
    return _read(path, is_named=bool(named)) if path else None


def beneath(environment: Mapping[str, str], project: ProjectFile | None) -> dict[str, str]:
    """The environment with the project's values where it has none: what a child needs, and what is in force.

    The child is told not to look for the file, which may have changed by then.
    """
    if project is None:
        return dict(environment)
    given = names_given(environment)
    said = {name: value for name, value in project.variables().items() if name not in given and value}
    place = {} if FOLDER in given else {FOLDER: project.folder}
    return {**environment, **said, **place, FILE: NONE}


def names_given(environment: Mapping[str, str]) -> set[str]:
    """The variables that are set, as the settings are read: names in any case, and what is empty is not set."""
    return {name.upper() for name, value in environment.items() if value}


def _upwards(folder: str) -> str | None:
    while True:
        path = os.path.join(folder, NAME)
        if os.path.lexists(path):
            return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _read(path: str, *, is_named: bool) -> ProjectFile:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ProjectFileError(f"{path} cannot be read: it is not a file.")
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ProjectFileError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:  # a null in the name that the environment gives: only another program can have put it there
        raise ProjectFileError(f"{FILE} is not the name of a file.") from None
    if len(content) > _MOST_BYTES:
        raise ProjectFileError(f"{path} cannot be read: it has more than {_MOST_BYTES} bytes.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ProjectFileError(f"{path}, line {line}: this is not UTF-8 text.") from None
    values = _parsed(path, text)
    for theirs, ours in CALLED_OTHERWISE.items():
        if theirs in values and ours not in values:
            values[ours] = values.pop(theirs)
    folder = os.path.dirname(path)
    for name in FOLDERS & values.keys():
        if isinstance(values[name], str) and values[name] and not _is_no_path(name, values[name]):
            values[name] = os.path.join(folder, os.path.expanduser(values[name]))
    return ProjectFile(path, text, values, status.st_uid, is_named)


def _is_no_path(name: str, value: str) -> bool:
    if name == "AGENT_MCP_SERVERS":
        return value.startswith("{")
    return name == "AGENT_APPROVALS" and (value.lower() in ("allow", "ask", "deny") or value.startswith(("[", "{")))


def _parsed(path: str, text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = str(error)
        place = re.search(r" \((?:at line (\d+), column \d+|at end of document)\)$", told)
        line = (place and place[1]) or text.rstrip("\n").count("\n") + 1
        why = told[: place.start()] if place else told.rstrip(".")
    except RecursionError:
        raise ProjectFileError(f"{path} is not valid TOML: it is nested too deep.") from None
    why = _CLEARER.get(why, f"{why[0].lower()}{why[1:]}")
    raise ProjectFileError(f"{path}, line {line} is not valid TOML: {why}.")


_CLEARER = {
    "Invalid value": 'this is no value; texts are written in quotes, as in AGENT_MODEL = "gpt-5.4"',
    "Illegal character '\\n'": "a text begins with a quote, and the quote at its end is missing",
    "Cannot overwrite a value": "this setting has a value already",
}


def _line_of(name: str, text: str) -> int | None:
    """The line in which a name is set, or begins; None if it is written in some way that is not looked for."""
    import tomllib

    lines = text.split("\n")
    pattern = re.compile(rf"""[ \t]*(?:\[\[?[ \t]*)?(["']?){re.escape(name)}\1[ \t]*[=.\]]""")
    for index, line in enumerate(lines):
        if pattern.match(line):
            try:  # not a line of a text that has several
                tomllib.loads("\n".join(lines[:index]).replace("\r", ""))
            except tomllib.TOMLDecodeError:
                continue
            return index + 1
    return None


def _as_variable(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value)):
        import json

        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(_as_variable, value))
    return str(value)

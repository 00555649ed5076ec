"""What a project file may set: the rules, without the file and without the environment.

A file may have come with a folder that somebody downloaded, and then it must not carry the user's key away, run
programs, or show a model what lies outside of the folder. SECURITY.md and docs/settings.md tell users the same.
"""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from durable_responses.nearest_name import did_you_mean
from durable_responses.project_file import FOLDERS, ProjectFile

OF_TEMPORAL = ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE")
"""What a file may set of Temporal's own variables."""

_KEYS = ("OPENAI_API_KEY", "TEMPORAL_API_KEY")
_SAYS_WHAT_IS_TRUSTED = ("AGENT_PROJECT_FILE", "AGENT_PROJECT_FOLDER", "AGENT_SECRETS", "AGENT_TRUSTED_PROJECTS")
_LEADS_ELSEWHERE = ("OPENAI_BASE_URL", "OPENAI_WEBSOCKET_BASE_URL", "TEMPORAL_ADDRESS")
_RUNS_PROGRAMS = ("AGENT_CACHE_FOLDER", "AGENT_MCP_SERVERS", "TEMPORAL_CLI")
_RUNS_CODE = ("AGENT_TOOL_MODULES", "AGENT_STATE_FOLDER")
_OPENS_THE_NETWORK = "AGENT_ALLOW_PRIVATE_ADDRESSES"
_DECIDES_RUNS = "AGENT_RUN_FIELDS"
_LONGEST_NAME = 80


class Names(NamedTuple):
    """The settings that there are, and which of them are secrets."""

    settings: Collection[str]
    secrets: Collection[str]


def unusable_name(project: ProjectFile, names: Names) -> str | None:
    """Why a name in the file cannot be used, in one sentence with its place; None if all can."""
    return next(
        (f"{project.place(name)}: {why}" for name in project.values if (why := _why(name, project, names))), None
    )


def nearest_setting(name: str, settings: Collection[str]) -> str:
    """` Did you mean 'AGENT_MODEL'?`, whatever the prefix is; empty if no setting is called nearly so."""
    return did_you_mean(_bare(re.sub(r"\W+", "_", name)), settings, by=_bare)


def unvouched(
    project: ProjectFile, given: Collection[str], *, trusted: Collection[str], user: int, usual_server: str
) -> str | None:
    """Why the file is refused as long as nobody vouches for it, in one sentence; None if there is no reason.

    `given` are the variables that something else decides, the keys among them; `trusted` the folders that the
    environment vouches for; `user` the id of ours; `usual_server` the base URL that a file may always name.
    """
    if project.is_named or any(is_inside(project.folder, folder) for folder in trusted):
        return None
    trust = f"if you trust this folder, set AGENT_TRUSTED_PROJECTS={project.folder} in the environment."
    if project.owner not in (user, 0):
        return f"{project.path} belongs to another user, so it is not read: {trust}"
    decided = {name: value for name, value in project.values.items() if name not in given and value not in ("", [])}
    key = next((name for name in _KEYS if name in given), None)
    servers = [name for name in _LEADS_ELSEWHERE if str(decided.get(name, usual_server)).rstrip("/") != usual_server]
    found = (
        _to_a_server(servers, decided, given, key)
        or _to_code(decided, key)
        or (_to_the_model(decided, project.folder) if key or servers else None)
    )
    return f"{project.place(found[0])}: {found[0]} {found[1]}; {trust}" if found else None


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it, links followed."""
    real, outer = (os.path.realpath(os.path.expanduser(each)) for each in (path, folder))
    return os.path.commonpath([real, outer]) == outer


def _why(name: str, project: ProjectFile, names: Names) -> str | None:
    value = project.values[name]
    allowed = [*(set(names.settings) - set(names.secrets) - set(_SAYS_WHAT_IS_TRUSTED)), *OF_TEMPORAL]
    if name in names.secrets or name == "TEMPORAL_API_KEY":
        return f"{name} is a secret, so it is read from the environment only."
    if name in _SAYS_WHAT_IS_TRUSTED or (name not in allowed and re.fullmatch("OTEL_[A-Z0-9_]+", name)):
        return f"{name} is read from the environment only."
    if name not in allowed and re.fullmatch("TEMPORAL_[A-Z0-9_]+", name):
        return f"{name} is read from the environment, or from Temporal's own file (TEMPORAL_CONFIG_FILE)."
    if name not in allowed:
        heading = " Settings stand one a line, without a heading in brackets."
        near = heading if isinstance(value, dict) else nearest_setting(name, allowed)
        return f"there is no setting {name[:_LONGEST_NAME]!r}.{near}"
    if name in OF_TEMPORAL and not isinstance(value, str):
        return f"{name} cannot be used: must be text."
    return None


def _bare(name: str) -> str:
    return re.sub("^(agent|openai|temporal)_", "", name.lower())


# --- a name, and what it would do ----------------------------------------------------------------------------------


def _to_a_server(
    servers: Collection[str], decided: Mapping[str, Any], given: Collection[str], key: str | None
) -> tuple[str, str] | None:
    for name in servers:
        where = urlsplit(str(decided[name])).hostname or str(decided[name])
        own = "TEMPORAL_API_KEY" if name == "TEMPORAL_ADDRESS" else "OPENAI_API_KEY"
        if own in given:
            return name, f"would send {own} to {where}"
        if name == "TEMPORAL_ADDRESS" and key is not None:
            return name, f"would let {where} start runs that {key} pays for"
    return None


def _to_code(decided: Mapping[str, Any], key: str | None) -> tuple[str, str] | None:
    if name := next((each for each in _RUNS_PROGRAMS if each in decided), None):
        return name, "would let programs of this folder run"
    if key is not None and (name := next((each for each in _RUNS_CODE if each in decided), None)):
        return name, f"would let files of this folder run with {key} in the environment"
    return None


def _to_the_model(decided: Mapping[str, Any], folder: str) -> tuple[str, str] | None:
    for name in sorted(FOLDERS & decided.keys()):
        if isinstance(decided[name], str) and os.path.isabs(decided[name]) and not is_inside(decided[name], folder):
            return name, "is outside of the project"
    if decided.get(_DECIDES_RUNS):
        return _DECIDES_RUNS, "would decide what runs send to whom"
    if decided.get(_OPENS_THE_NETWORK, False) is not False:
        return _OPENS_THE_NETWORK, "would open your network to the model"
    return None

"""Names of tools from MCP servers, as the API takes them, and the patterns by which a run chooses them. No I/O.

MCP allows dots and 128 characters, the API `^[a-zA-Z0-9_-]{1,64}$`. A name depends on nothing but the server's and the
tool's: whatever else is offered, it stays the same.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

LONGEST = 64
_LONGEST_SERVER = 32
_HASH = 8
_SERVER = re.compile(rf"(?!.*__)[A-Za-z0-9_-]{{1,{_LONGEST_SERVER}}}(?<!_)")
_USABLE = re.compile(r"[A-Za-z0-9_-]+")


def problem_of_server(name: str) -> str | None:
    """Why a server cannot be called so; None if it can. Without these limits two tools could have the same name."""
    if _SERVER.fullmatch(name):
        return None
    return (
        f"a server's name has 1 to {_LONGEST_SERVER} of the characters A-Z, a-z, 0-9, _ and -, no two _ in a row, and "
        "no _ at its end"
    )


def api_name(server: str, tool: str) -> str:
    """The name of a server's tool as the model calls it: `github__create_issue`.

    What the API does not take is replaced and cut, and then a hash of the original tells it from others.
    """
    name = f"{server}__{tool}"
    if len(name) <= LONGEST and _USABLE.fullmatch(tool):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH]
    return f"{re.sub('[^A-Za-z0-9_-]', '_', name)[: LONGEST - _HASH - 1]}_{digest}"


def dotted(server: str, tool: str) -> str:
    """The name of a server's tool as people write it: `github.create_issue`."""
    return f"{server}.{tool}"


def own_tools(names: Sequence[str] | None) -> list[str] | None:
    """Those of the names that a run gives which are a worker's own tools; None for all of them."""
    return None if names is None else [name for name in names if "." not in name]


def patterns(names: Sequence[str] | None) -> list[str]:
    """Those of the names that a run gives which stand for tools of MCP servers, such as `github.*`."""
    return [name for name in names or () if "." in name]


def servers_of(servers: Sequence[str] | None, names: Sequence[str] | None) -> list[str]:
    """The servers that a run uses: those it names, and those that its patterns name; sorted."""
    return sorted({*(servers or ()), *(pattern.split(".", 1)[0] for pattern in patterns(names))})


def is_chosen(server: str, tool: str, names: Sequence[str] | None) -> bool:
    """Whether a run is offered a tool of one of its servers. Where no pattern is about the server, all of them."""
    about = _about(server, patterns(names))
    return not about or any(fnmatchcase(tool, pattern) for pattern in about)


def matching_nothing(server: str, tools: Iterable[str], names: Sequence[str] | None) -> list[str]:
    """The patterns about a server that none of its tools fits."""
    there = list(tools)
    about = _about(server, patterns(names))
    return [dotted(server, each) for each in about if not any(fnmatchcase(tool, each) for tool in there)]


def named_exactly(server: str, names: Sequence[str] | None) -> list[str]:
    """The tools of a server that a run names, where the provider chooses by name; empty for all of them.

    Raises `ValueError` for a pattern that is not a name.
    """
    about = _about(server, patterns(names))
    if "*" in about:
        return []
    if unusable := next((each for each in about if set(each) & set("*?[")), None):
        raise ValueError(f"{dotted(server, unusable)!r}: the provider knows no patterns of tools; name them, or take *")
    return about


def _about(server: str, given: Sequence[str]) -> list[str]:
    return [pattern.removeprefix(f"{server}.") for pattern in given if pattern.startswith(f"{server}.")]

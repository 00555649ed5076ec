"""The fields of a create that a caller may give as they are: what of them is ours, and where secrets stand in them.

Plain Python, no I/O.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

OURS = ("input", "background", "store", "stream", "previous_response_id", "conversation")
"""The fields of a create that a durable run decides: with other values it could not be found again after a crash."""

_COUNTED_BY_BUDGETS = ("max_output_tokens", "model", "service_tier")

ENCRYPTED_REASONING = "reasoning.encrypted_content"
"""The value of `include` with which reasoning can be given back to a model that has stored nothing."""

SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""Where a secret of the worker stands in a text: `${NAME}`."""

_OF_CALLERS = {"function": "give it in caller_tools, or register it with the worker", "custom": "make it a function"}
_NO_SECRET = re.compile(r"\$\{[^}]{0,100}\}?|(?:^|\s)\$[A-Z][A-Z0-9_]+$")
_UNANSWERED = re.compile(r"computer|local_shell|shell$|apply_patch")


def problem_of_hosted_tool(tool: Mapping[str, Any]) -> str | None:
    """Why a hosted tool cannot be passed to the provider, as the end of a sentence; None if it can."""
    kind = tool.get("type")
    if not isinstance(kind, str) or not kind:
        return "has no type, such as file_search, mcp or image_generation"
    if kind in _OF_CALLERS:
        return f"is a {kind} tool, which the provider does not run: {_OF_CALLERS[kind]}"
    if _UNANSWERED.match(kind) and not _runs_in_a_container(tool):
        return f"is {kind}, whose calls nobody would answer: a run answers calls of functions"
    if kind == "namespace":
        return "is a namespace of functions, which the provider does not run: give them in caller_tools"
    if kind == "tool_search" and tool.get("execution") == "client":
        return "is tool_search with execution client, whose calls nobody would answer: leave the execution out"
    if kind == "mcp" and _names_no_secret(tool):
        return "has a ${…} or a $… in a header or its address that names no secret: write ${NAME}"
    return None


def _names_no_secret(tool: Mapping[str, Any]) -> bool:
    """Whether what a remote MCP server is sent has what looks as if it stood for a secret, and does not."""
    headers = tool.get("headers")
    values = [
        tool.get("authorization"),
        tool.get("server_url"),
        *(headers.values() if isinstance(headers, Mapping) else ()),
    ]
    return any(_NO_SECRET.search(SECRET.sub("", value)) for value in values if isinstance(value, str))


def _runs_in_a_container(tool: Mapping[str, Any]) -> bool:
    """Whether it is a shell whose commands the provider runs, and answers itself."""
    environment = tool.get("environment")
    kind = environment.get("type") if isinstance(environment, Mapping) else None
    return tool.get("type") == "shell" and kind in ("container_auto", "container_reference")


def problem_of_extra_body(extra: Mapping[str, Any]) -> str | None:
    """Why further fields of a create cannot be taken, as the end of a sentence; None if they can."""
    if "tools" in extra:
        return "has tools: give those of the provider in hosted_tools, and your own in caller_tools"
    if not isinstance(extra.get("metadata", {}), Mapping):
        return "has a metadata that is not an object: by the run's own keys in it a response is found again"
    owned = sorted(set(OURS) & extra.keys())
    if not owned:
        return None
    verb = "is" if len(owned) == 1 else "are"
    return f"has {' and '.join(owned)}, which {verb} decided by the run"


def hidden_from_budgets(extra: Mapping[str, Any] | None) -> str | None:
    """The first of the further fields by which a budget counts: it knows those of the run alone."""
    return next((name for name in _COUNTED_BY_BUDGETS if name in (extra or {})), None)


def with_extra(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a create with further fields.

    They come before what is there; objects are merged, lists added to, but for `context_management`, of which two
    would contradict each other. Of `metadata` what is there comes first: by it a response is found again.
    """
    merged = dict(body)
    for name, value in extra.items():
        there = None if name == "context_management" else body.get(name)
        if isinstance(there, dict) and isinstance(value, Mapping):
            merged[name] = {**value, **there} if name == "metadata" else {**there, **value}
        elif isinstance(there, list) and isinstance(value, list):
            merged[name] = [*there, *(item for item in value if item not in there)]
        else:
            merged[name] = value
    return merged


def names_of_secrets(value: Any) -> Iterator[str]:
    """The names of the secrets that stand in the texts of a JSON value, and in the names of its fields."""
    if isinstance(value, str):
        yield from SECRET.findall(value)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from SECRET.findall(name)
            yield from names_of_secrets(part)
    elif isinstance(value, list):
        for part in value:
            yield from names_of_secrets(part)


def with_secrets(value: Any, secret: Callable[[str], str]) -> Any:
    """The JSON value with `secret(name)` in place of each name."""
    if isinstance(value, str):
        return SECRET.sub(lambda found: secret(found[1]), value)
    if isinstance(value, Mapping):
        return {with_secrets(name, secret): with_secrets(part, secret) for name, part in value.items()}
    if isinstance(value, list):
        return [with_secrets(part, secret) for part in value]
    return value

"""Which MCP servers there are, in the form that people have already: `mcpServers`, as MCP clients read it. No I/O.

`${NAME}` stands for a variable of the worker's environment: it is resolved there, and what it stands for is in no run.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from durable_responses.mcp_tools.names import problem_of_server
from durable_responses.responses_api.redaction import SHORTEST_SECRET, names_a_secret
from durable_responses.tools.approvals import Action
from durable_responses.tools.registry import DEFAULT_TIMEOUT, Effect

_REFERENCE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_FOREIGN = re.compile(r"\$\{(?!env:)[A-Za-z_]+:(?!-)[^}]*\}")
_STRING = r'("(?:[^"\\]|\\.)*")'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])")
_MOST_SERVERS = 100
_LONGEST_TIMEOUT = 86400  # seconds
_HEADINGS = ("mcpServers", "mcp_servers", "servers", "context_servers", "mcp.servers", "amp.mcpServers")
_SPOKEN = {"stdio", "local", "http", "remote", "url", "streamablehttp", "custom"}
_A_VARIABLE = re.compile(r"(?:\w+ )?\$[A-Z][A-Z0-9_]*")
_CALLED_OTHERWISE = {
    "httpUrl": "url",
    "serverUrl": "url",
    "environment": "env",
    "http_headers": "headers",
    "startup_timeout_sec": "start_timeout",
    "tool_timeout_sec": "timeout",
}
_ADDRESSES = ("url", "httpUrl", "serverUrl")
_OFFERED = ("includeTools", "enabledTools", "enabled_tools")
_NOT_OFFERED = ("excludeTools", "disabledTools", "disabled_tools")
_OF_OTHERS = {"transport", "envFile", "disabledTools", "enabledTools", "toolTimeout", "description", "scope"}
_A_SLIP = 0.8


class UnresolvedError(Exception):
    """A server cannot be used because a variable that it names is not set; one sentence."""


class Trust(StrEnum):
    """What the annotations of a server's tools count for: nothing, or as effects of calls."""

    NONE = "none"
    ANNOTATIONS = "annotations"


class SessionScope(StrEnum):
    """Whose a session with a server is: shared by all runs of a worker, or of one run."""

    SHARED = "shared"
    RUN = "run"


class ToolOverride(BaseModel):
    """What is known here of a server's tool, whatever the server says of it. `timeout`: seconds of one call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect | None = None
    approval: Action | None = None
    timeout: float | None = Field(None, gt=0, le=_LONGEST_TIMEOUT)

    @model_validator(mode="before")
    @classmethod
    def _an_object(cls, given: Any) -> Any:
        if not isinstance(given, dict | cls):
            raise ValueError('must be an object such as {"effect": "pure", "approval": "allow"}')
        return given


class ClientCredentials(BaseModel):
    """How a worker logs in by itself, without a browser. `issuer`: the authorization server that they are for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    client_secret: str = Field(repr=False)
    scope: str | None = None
    issuer: str


class McpServer(BaseModel):
    """One server: a program that is started (`command`), or an address (`url`).

    `tools` and `approval` say what is known of its tools, by name or glob pattern. Seconds: `timeout` of one call,
    `start_timeout` until its tools are listed. `hosted`: the provider speaks to it, not the worker. `session`: whether
    each run has its own, for servers that remember what was done. Fields that other clients
    have are ignored; what they call otherwise is taken, and what looks like a slip is not.
    """

    model_config = ConfigDict(frozen=True)

    type: str | None = None
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = Field({}, repr=False)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field({}, repr=False)
    oauth: ClientCredentials | None = None
    disabled: bool = False
    hosted: bool = False
    session: SessionScope = SessionScope.SHARED
    trust: Trust = Trust.NONE
    approval: Action | None = None
    tools: dict[str, ToolOverride] = {}
    timeout: float = Field(DEFAULT_TIMEOUT, gt=0, le=_LONGEST_TIMEOUT)
    start_timeout: float = Field(30, gt=0, le=600)

    @model_validator(mode="before")
    @classmethod
    def _as_others_write_it(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError('must be an object such as {"command": "npx", "args": […]} or {"url": "https://host/mcp"}')
        given = {name: value for name, value in given.items() if value is not None}
        for name, ours in _CALLED_OTHERWISE.items():
            if name in given:
                given.setdefault(ours, given.pop(name))
        if given.pop("enabled", True) is False:
            given["disabled"] = True
        if given.get("type") == "local" and isinstance(words := given.get("command"), list) and words:
            given |= {"command": words[0], "args": [*words[1:], *given.get("args", [])]}
        given |= _headers_from_variables(given) | _tools_by_list(given)
        for name in given.keys() - cls.model_fields.keys() - _OF_OTHERS:
            from difflib import get_close_matches  # takes a moment, and most say what is right

            if near := get_close_matches(str(name).casefold(), cls.model_fields, 1, _A_SLIP):
                raise ValueError(f"{name}: there is no such field; {near[0]} may be meant")
        return given

    @field_validator("command", mode="before")
    @classmethod
    def _one_program(cls, given: Any) -> Any:
        if isinstance(given, list):
            raise ValueError("must be the program alone; what follows it belongs into args")
        if isinstance(given, str) and not given.strip():
            raise ValueError("must be a program, such as npx")
        return given

    @field_validator("url", mode="before")
    @classmethod
    def _without_spaces(cls, given: Any) -> Any:
        return given.strip() if isinstance(given, str) else given

    @field_validator("args", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        if not isinstance(given, list):
            raise ValueError('must be a list of texts, such as ["-y", "some-server"]')
        return [_as_text(each) for each in given]

    @field_validator("env", "headers", mode="before")
    @classmethod
    def _texts_by_name(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError('must be an object such as {"NAME": "value"}')
        return {name: _as_text(each) for name, each in given.items()}

    @field_validator("oauth", mode="before")
    @classmethod
    def _ours(cls, given: Any) -> Any:
        """Some clients say there how a person logs in."""
        if not isinstance(given, dict):
            raise ValueError("must be an object with client_id, client_secret and issuer")
        return given if given.keys() & ClientCredentials.model_fields.keys() else None

    @field_validator("trust", mode="before")
    @classmethod
    def _what_is_trusted(cls, given: Any) -> Any:
        if given is True:
            raise ValueError('true does not say what is trusted; "annotations" are what its server says of its tools')
        return Trust.NONE if given is False else given

    @field_validator("timeout", mode="before")
    @classmethod
    def _seconds(cls, given: Any) -> Any:
        if isinstance(given, int | float) and given > _LONGEST_TIMEOUT:
            raise ValueError(f"must be at most {_LONGEST_TIMEOUT:,} seconds; some clients have milliseconds there")
        return given

    @model_validator(mode="after")
    def _one_way_in(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError(f"give a command or a url{', not both' if self.url is not None else ''}")
        if self.hosted and self.url is None:
            raise ValueError("hosted: the provider needs a url")
        if self.url is not None and not _REFERENCE.search(self.url) and not _is_address(self.url):
            raise ValueError("url: must be an address such as https://host/mcp")
        return self

    def override_of(self, tool: str) -> ToolOverride:
        """What is known of a tool: under its own name, else under the first pattern that fits."""
        exact = self.tools.get(tool)
        return exact or next((known for name, known in self.tools.items() if fnmatchcase(tool, name)), ToolOverride())

    @property
    def references(self) -> set[str]:
        """The names of the variables that it refers to."""
        return {match[1] for text in _texts(self) for match in _REFERENCE.finditer(text)}

    def resolved(self, environment: Mapping[str, str]) -> "McpServer":
        """The same with the values of the variables. Raises `UnresolvedError`, also for what nobody could use."""
        if self.type == "sse" and not self.hosted:
            raise UnresolvedError(
                "it is of type sse, which is not spoken here; many have Streamable HTTP as well (http)"
            )
        kind = (self.type or "stdio").lower().replace("-", "").replace("_", "")
        if kind not in _SPOKEN and not self.hosted:
            raise UnresolvedError(f"it is of type {self.type}, which is not spoken here; stdio and http are")
        values = (*self.env.values(), *self.headers.values())
        if bare := next((text for text in values if _A_VARIABLE.fullmatch(text)), None):
            name = bare.rpartition("$")[2]
            raise UnresolvedError(f"${name} stands for nothing here; write ${{{name}}} for a variable of the worker")
        if foreign := next((found for text in _texts(self) if (found := _FOREIGN.search(text))), None):
            raise UnresolvedError(f"{foreign[0]} stands for nothing here; name a variable of the worker, as ${{NAME}}")
        missing: list[str] = []

        def value(match: re.Match[str]) -> str:
            found = environment.get(match[1]) or match[2]
            if found is None:
                missing.append(match[1])
            return found or ""

        def text(given: str) -> str:
            return _REFERENCE.sub(value, given)

        changed = {
            "command": text(self.command) if self.command is not None else None,
            "args": [text(each) for each in self.args],
            "env": {name: text(each) for name, each in self.env.items()},
            "cwd": text(self.cwd) if self.cwd is not None else None,
            "url": text(self.url) if self.url is not None else None,
            "headers": {name: text(each) for name, each in self.headers.items()},
            "oauth": self.oauth
            and self.oauth.model_copy(
                update={"client_id": text(self.oauth.client_id), "client_secret": text(self.oauth.client_secret)}
            ),
        }
        if missing:
            raise UnresolvedError(f"${{{missing[0]}}} is not set where the worker runs")
        resolved = self.model_copy(update=changed)
        if resolved.url is not None and not _is_address(resolved.url):
            raise UnresolvedError("its url is not an address such as https://host/mcp")
        if wrong := next((name for name, value in resolved.headers.items() if not _is_header(value)), None):
            raise UnresolvedError(f"headers: {wrong} holds characters that an HTTP header cannot have")
        return resolved


class McpServers(BaseModel):
    """All servers, by name. Also taken: `{"mcpServers": …}`, as other clients have it."""

    model_config = ConfigDict(frozen=True)

    servers: dict[str, McpServer] = Field({}, max_length=_MOST_SERVERS)

    @model_validator(mode="before")
    @classmethod
    def _as_others_have_it(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError('must be an object such as {"mcpServers": {…}}')
        if isinstance(inner := given.get("mcp"), dict) and not inner.keys() & {"command", *_ADDRESSES}:
            given = inner
        named = next((name for name in _HEADINGS if name in given), None)
        servers = given[named] if named else given
        if not isinstance(servers, dict):
            raise ValueError(f'{named}: must be an object, such as {{"github": {{"url": "https://host/mcp"}}}}')
        return {"servers": servers}

    @field_validator("servers")
    @classmethod
    def _usable_names(cls, servers: dict[str, McpServer]) -> dict[str, McpServer]:
        for name in servers:
            if problem := problem_of_server(name):
                raise ValueError(f"{name!r}: {problem}")
        return servers

    @property
    def enabled(self) -> dict[str, McpServer]:
        """Those that are not disabled."""
        return {name: server for name, server in self.servers.items() if not server.disabled}

    @property
    def references(self) -> set[str]:
        """The names of the variables that they refer to."""
        return {name for server in self.enabled.values() for name in server.references}

    def secrets(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """What of them nobody may read: headers, variables that are called like secrets, and what these stand for."""
        return tuple(value for server in self.enabled.values() for value in _secrets(server, environment))


def without_comments(text: str) -> str:
    """JSON as editors write it, as JSON: without comments, and without commas before the end of an object or a list."""
    plain = _COMMENT.sub(lambda found: found[1] or " ", text)
    return _LAST_COMMA.sub(lambda found: found[1] or "", plain)


def _headers_from_variables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Headers whose values some clients take from variables that are named apart."""
    named = given.get("env_http_headers")
    headers = {name: f"${{{variable}}}" for name, variable in named.items()} if isinstance(named, dict) else {}
    if isinstance(token := given.get("bearer_token_env_var"), str):
        headers["Authorization"] = f"Bearer ${{{token}}}"
    written = given.get("headers", {})
    return {"headers": headers | written} if headers and isinstance(written, dict) else {}


def _tools_by_list(given: Mapping[str, Any]) -> dict[str, Any]:
    """Some clients have lists of what is offered, and of what is not."""
    tools = given.get("tools", {})
    lists = [tools] if isinstance(tools, list) else [given[name] for name in _OFFERED if name in given]
    known: dict[str, Any] = dict(tools) if isinstance(tools, dict) else {}
    for denied in (given[name] for name in _NOT_OFFERED if isinstance(given.get(name), list)):
        known = {str(name): {"approval": Action.DENY} for name in denied} | known
    for offered in (each for each in lists if isinstance(each, list) and each and "*" not in each):
        known = known | {str(name): {} for name in offered if name not in known} | {"*": {"approval": Action.DENY}}
    return {"tools": known} if known != tools else {}


def _as_text(value: Any) -> Any:
    """Numbers and truths as programs read them."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _secrets(server: McpServer, environment: Mapping[str, str]) -> Iterator[str]:
    for name, text in (*server.headers.items(), *((n, t) for n, t in server.env.items() if names_a_secret(n))):
        whole = _REFERENCE.sub(lambda match: environment.get(match[1]) or match[2] or "", text)
        _, _, token = whole.partition(" ")  # after `Bearer`
        secret = token if name.lower() == "authorization" and token else whole
        if len(secret) >= SHORTEST_SECRET:
            yield secret
    if server.oauth is not None:
        yield _REFERENCE.sub(lambda match: environment.get(match[1]) or match[2] or "", server.oauth.client_secret)
    for said in _secrets_said(server):
        whole = _REFERENCE.sub(lambda match: environment.get(match[1]) or match[2] or "", said)
        if len(whole) >= SHORTEST_SECRET:
            yield whole
    for name in server.references:
        if names_a_secret(name) and (value := environment.get(name)):
            yield value


def _secrets_said(server: McpServer) -> Iterator[str]:
    """Secrets that are written into arguments and addresses: after `--api-key`, in `?token=`, before the host's @."""
    for flag, value in pairwise([*server.args, ""]):
        name, equals, said = flag.partition("=")
        if flag.startswith("-") and names_a_secret(name):
            yield said if equals else value
    if server.url is not None:
        parts = urlsplit(server.url)
        yield from (value for name, value in parse_qsl(parts.query) if names_a_secret(name))
        yield unquote(parts.password or "")


def _texts(server: McpServer) -> Iterator[str]:
    yield from (text for text in (server.command, server.cwd, server.url) if text is not None)
    yield from server.args
    yield from server.env.values()
    yield from server.headers.values()
    if server.oauth is not None:
        yield from (server.oauth.client_id, server.oauth.client_secret)

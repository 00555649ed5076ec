"""Which MCP servers there are, in the form that people have already: `mcpServers`, as MCP clients read it. No I/O.

`${NAME}` stands for a variable of the worker's environment: it is resolved there, and what it stands for is in no run.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from durable_responses.mcp_tools.names import problem_of_server
from durable_responses.responses_api.redaction import SHORTEST_SECRET, names_a_secret
from durable_responses.tools.approvals import Action
from durable_responses.tools.registry import DEFAULT_TIMEOUT, Effect

_REFERENCE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MOST_SERVERS = 100


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
    timeout: float | None = Field(None, gt=0, le=86400)


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
    each run has its own, for servers that remember what was done. Fields that other clients have are ignored.
    """

    model_config = ConfigDict(frozen=True)

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
    timeout: float = Field(DEFAULT_TIMEOUT, gt=0, le=86400)
    start_timeout: float = Field(30, gt=0, le=600)

    @field_validator("tools", mode="before")
    @classmethod
    def _names_alone(cls, given: Any) -> Any:
        """Some clients have a list there, of what is offered."""
        return {} if isinstance(given, list) else given

    @model_validator(mode="after")
    def _one_way_in(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError("give a command or a url")
        if self.hosted and self.url is None:
            raise ValueError("hosted: the provider needs a url")
        if self.url is not None and not _REFERENCE.search(self.url):
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
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
        """The same with the values of the variables. Raises `UnresolvedError`."""
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
        return self.model_copy(update=changed)


class McpServers(BaseModel):
    """All servers, by name. Also taken: `{"mcpServers": …}`, as other clients have it."""

    model_config = ConfigDict(frozen=True)

    servers: dict[str, McpServer] = Field({}, max_length=_MOST_SERVERS)

    @model_validator(mode="before")
    @classmethod
    def _as_others_have_it(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError('must be an object such as {"mcpServers": {…}}')
        for name in ("mcpServers", "mcp_servers", "servers"):
            if name in given:
                return {"servers": given[name]}
        return {"servers": given}

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


def _secrets(server: McpServer, environment: Mapping[str, str]) -> Iterator[str]:
    for name, text in (*server.headers.items(), *((n, t) for n, t in server.env.items() if names_a_secret(n))):
        whole = _REFERENCE.sub(lambda match: environment.get(match[1]) or match[2] or "", text)
        _, _, token = whole.partition(" ")  # after `Bearer`
        secret = token if name.lower() == "authorization" and token else whole
        if len(secret) >= SHORTEST_SECRET:
            yield secret
    if server.oauth is not None:
        yield _REFERENCE.sub(lambda match: environment.get(match[1]) or match[2] or "", server.oauth.client_secret)
    for name in server.references:
        if names_a_secret(name) and (value := environment.get(name)):
            yield value


def _texts(server: McpServer) -> Iterator[str]:
    yield from (text for text in (server.command, server.cwd, server.url) if text is not None)
    yield from server.args
    yield from server.env.values()
    yield from server.headers.values()
    if server.oauth is not None:
        yield from (server.oauth.client_id, server.oauth.client_secret)

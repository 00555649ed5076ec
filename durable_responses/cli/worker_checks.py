"""What a worker would refuse: tools, MCP servers, files, folders. Checked before the run starts, if that is known."""

import re
from typing import TYPE_CHECKING

from durable_responses.cli.output import UsageError
from durable_responses.nearest_name import did_you_mean

if TYPE_CHECKING:
    from durable_responses.settings import Settings
    from durable_responses.workflows.contract import AgentInput


def check_as_the_worker_will(request: "AgentInput", settings: "Settings") -> None:
    """Raises `UsageError` for a tool or an MCP server that the worker of the run does not have, or an unusable path.

    Known is what the embedded stack's worker has that was, or will be, started with these settings. On a Temporal
    server that is configured, and of a worker with others, nothing is known: then the run itself says what is wrong.
    """
    from durable_responses.mcp_tools.names import servers_of

    servers = servers_of(request.mcp_servers, request.tools)
    tools = _function_tools(request)
    if not (tools or servers or request.files or request.save) or not _is_known(settings):
        return
    _check_paths(request, settings)
    for server in servers:
        _check("MCP server", server, list(settings.mcp_servers.enabled))
    if tools and (known := _tools_of(settings)) is not None:
        for name in tools:
            _check("tool", name, known)


def _check_paths(request: "AgentInput", settings: "Settings") -> None:
    from durable_responses.activities.artifacts import ArtifactError, OutputFolders
    from durable_responses.activities.inputs import InputError, opening_input
    from durable_responses.activities.messages import Opening

    opening = Opening(task="", files=request.files, files_root=request.files_root)
    try:
        opening_input(opening, [settings.files_root])
        if request.save is not None:
            OutputFolders([settings.output_root], settings.allow_hidden_files).check(request.save)
    except InputError as error:
        place = re.fullmatch(r"files\[(\d+)\]\.path", error.field)
        named = f"--file {request.files[int(place[1])].path!r}" if place else error.field
        told = error.message.replace("the allowed root; give", f"{settings.files_root}; give")
        raise UsageError(f"{named} {told}") from None
    except ArtifactError as error:
        told = str(error).replace("save.folder", "--save-folder").replace("save.filename", "--save-name")
        told = told.replace("the output root; give", f"{settings.output_root}; give")
        raise UsageError(told) from None


def _function_tools(request: "AgentInput") -> list[str]:
    of_the_caller = {tool.name for tool in request.caller_tools or []}
    # With a dot it is a tool of an MCP server, whose list only the server knows.
    return [name for name in request.tools or [] if "." not in name and name not in of_the_caller]


def _is_known(settings: "Settings") -> bool:
    from durable_responses.embedded import running_project
    from durable_responses.settings import configured_address

    if configured_address():
        return False
    running = running_project(settings)
    return running is None or running.settings == settings.fingerprints()


def _tools_of(settings: "Settings") -> list[str] | None:
    """The names of the tools; None if the worker could not load them, which it says itself."""
    from durable_responses.cli.tools import registry_of
    from durable_responses.tools.registry import RegistryError

    try:
        return registry_of(settings).names
    except RegistryError:
        return None


def _check(kind: str, name: str, known: list[str]) -> None:
    if name not in known:
        there_are = ", ".join(sorted(known)) or "none"
        raise UsageError(f"There is no {kind} {name!r}; there are: {there_are}.{did_you_mean(name, known)}")

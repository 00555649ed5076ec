"""What the server adds to every run, from its settings: the model, the roots, and the worker's function tools."""

from durable_responses.mcp_server.inputs import Surroundings
from durable_responses.settings import Settings
from durable_responses.tools.registry import Registry

_FILE_TOOLS = "durable_responses.tools.files"


def look_around(settings: Settings) -> Surroundings:
    """Import the tools that a worker with these settings offers, to know their names. Blocking.

    Raises `RegistryError`.
    """
    # Imported here, in a thread: the fetching tools bring an HTTP stack with them.
    from durable_responses.worker.offered_tools import offered_tools

    return Surroundings(
        model=settings.model,
        files_root=settings.files_root,
        output_root=settings.output_root,
        tools=frozenset(offered_tools(settings).names),
        file_tools=frozenset(Registry.from_modules([_FILE_TOOLS]).names),
        allow_websocket=settings.allow_websocket,
        allow_hidden_files=settings.allow_hidden_files,
        run_fields=settings.run_fields,
    )

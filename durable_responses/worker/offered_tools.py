"""The function tools that a worker offers: the built-in ones, then a user's own."""

from durable_responses.settings import Settings
from durable_responses.tools.registry import Registry

TOOL_MODULES = ["durable_responses.tools.files", "durable_responses.tools.web"]


def offered_tools(settings: Settings) -> Registry:
    """Import the modules and collect their tools. Blocking. Raises `RegistryError`."""
    return Registry.from_modules([*TOOL_MODULES, *settings.tool_modules])

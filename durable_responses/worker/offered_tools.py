"""The function tools that a worker offers: the built-in ones, then a user's own."""

import pkgutil
import sys

from durable_responses.nearest_name import did_you_mean
from durable_responses.settings import Settings
from durable_responses.tools.registry import Registry, RegistryError

TOOL_MODULES = ["durable_responses.tools.files", "durable_responses.tools.web"]


def offered_tools(settings: Settings) -> Registry:
    """Import the modules and collect their tools. Blocking. Raises `RegistryError`."""
    look_in_the_project(settings)
    try:
        return Registry.from_modules([*TOOL_MODULES, *settings.tool_modules])
    except RegistryError as error:
        missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if missing not in settings.tool_modules:
            raise
        there = [module.name for module in pkgutil.iter_modules([str(settings.project_folder)])]
        raise RegistryError(f"{error}.{did_you_mean(missing, there)}") from error.__cause__


def look_in_the_project(settings: Settings) -> None:
    """Let Python find modules in the project's folder; last, so that no file of theirs hides one of ours."""
    if (folder := str(settings.project_folder)) not in sys.path:
        sys.path.append(folder)

"""The worker and the settings that runs are tested with."""

from tests.workflows.conftest import agents, provider, settings  # noqa: F401 fixtures

"""Who serves the Responses API: OpenAI, a compatible server, or the emulator of the embedded stack."""

import re
from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from durable_responses.settings import OPENAI_BASE_URL, Settings, SetupError
from durable_responses.stack_file import StackFile

# A WebSocket is not opened without a key; a server that takes requests without one does not look at it.
NO_KEY = SecretStr("none")
NO_MODEL = "No model has read this: the emulator wrote it. Set OPENAI_API_KEY (or OPENAI_BASE_URL) to ask a real one."
"""What is said of an answer of the emulator that does not say so itself: JSON has no room for it."""


class ProviderMissing(SetupError):
    """Nothing serves the Responses API: no key, no base URL, and no emulator is running."""


class ProviderKind(StrEnum):
    """Who serves the Responses API."""

    OPENAI = "openai"
    COMPATIBLE = "compatible"
    EMULATOR = "emulator"


class Provider(BaseModel):
    """The server of the Responses API: base addresses without a slash at the end, and its key if there is one."""

    model_config = ConfigDict(frozen=True)

    kind: ProviderKind
    base_url: str
    websocket_base_url: str
    api_key: SecretStr | None = None
    organization: str | None = None
    project: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request beside the key: who pays, where a key belongs to several."""
        named = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        return {name: value for name, value in named.items() if value}

    @property
    def sentence(self) -> str:
        """One sentence that says who answers."""
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        return {
            ProviderKind.OPENAI: "Responses come from OpenAI, because OPENAI_API_KEY is set.",
            ProviderKind.COMPATIBLE: f"Responses come from {host}, because OPENAI_BASE_URL is set.",
            ProviderKind.EMULATOR: "Responses come from the emulator (a script), because OPENAI_API_KEY is not set.",
        }[self.kind]


def configured_provider(settings: Settings) -> ProviderKind:
    """Who serves the Responses API with these settings: the emulator if neither key nor base URL is given."""
    if settings.openai_base_url and settings.openai_base_url != OPENAI_BASE_URL:
        return ProviderKind.COMPATIBLE
    return ProviderKind.OPENAI if settings.openai_api_key else ProviderKind.EMULATOR


def find_provider(settings: Settings) -> Provider:
    """The provider, with its addresses. Raises `ProviderMissing` if it should be the emulator and none is running."""
    kind = configured_provider(settings)
    base_url = settings.openai_base_url or OPENAI_BASE_URL
    if kind is ProviderKind.EMULATOR:
        stack = StackFile.read(settings)
        if stack is None or stack.emulator_url is None:
            raise ProviderMissing(
                "No provider: set OPENAI_API_KEY or OPENAI_BASE_URL, or start the emulator with `durable-responses up`."
            )
        base_url = stack.emulator_url
    websocket = settings.openai_websocket_base_url or re.sub("^http", "ws", base_url)
    return Provider(
        kind=kind,
        base_url=base_url,
        websocket_base_url=websocket,
        api_key=settings.openai_api_key,
        organization=settings.openai_org_id,
        project=settings.openai_project_id,
    )

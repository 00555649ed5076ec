"""Whether the provider answers, and accepts our key."""

import asyncio

import httpx

from durable_responses.capabilities import Capabilities, Capability
from durable_responses.health.checks import Check, note, ok, problem
from durable_responses.provider import Provider, ProviderMissing, find_provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    Busy,
    Misconfigured,
    NoSuchEndpoint,
    NotFound,
    QuotaExhausted,
    ResponsesError,
    ServerFailed,
    Unreachable,
)
from durable_responses.settings import Settings

# No response has this id. A GET of it costs nothing and needs the same permission as the GETs of an agent run.
_NOBODYS_RESPONSE = "resp_00000000000000000000000000000000"
_PATIENCE = 4.0


async def check_provider(settings: Settings) -> list[Check]:
    """Two checks: the provider, and the key."""
    try:
        provider = find_provider(settings)
    except ProviderMissing as missing:
        return [problem("provider", "no provider", str(missing).partition(": ")[2].rstrip("."))]
    try:
        async with ResponsesClient(provider.base_url, provider.api_key, headers=provider.headers) as client:
            return await ask(client, provider, Capabilities(provider.base_url, settings.state_folder))
    except Misconfigured as error:
        return [problem("provider", str(error), "fix OPENAI_BASE_URL or OPENAI_API_KEY")]


async def ask(client: ResponsesClient, provider: Provider, capabilities: Capabilities | None = None) -> list[Check]:
    """GET a response that does not exist, and judge the answer; with what is known of the provider, if it is given."""
    address = httpx.URL(provider.base_url).netloc.decode()
    answers, accepted = ok("provider", f"{address} answers ({provider.kind})"), ok("key", _key_of(provider))
    try:
        async with asyncio.timeout(_PATIENCE):
            await client.retrieve(_NOBODYS_RESPONSE)
    except TimeoutError:
        found = f"{address} did not answer within {_PATIENCE:g} s"
        return [problem("provider", found, "check the provider's status page, the network and the proxy")]
    except NotFound:
        return [answers, accepted]
    except AuthenticationFailed as error:
        return [answers, problem("key", f"refused: {error}", "check OPENAI_API_KEY and its permissions")]
    except QuotaExhausted as error:
        return [answers, problem("key", str(error), "add credit, or raise the spend limit, at the provider")]
    except NoSuchEndpoint as error:
        cure = "check OPENAI_BASE_URL: responses cannot be retrieved there, so only streams work"
        return [note("provider", str(error), cure)]
    except Busy as error:
        return [
            note(
                "provider", f"{address} is turning requests away: {error}", "nothing to do: agents retry by themselves"
            )
        ]
    except Unreachable as error:
        return [
            problem(
                "provider", f"{address} does not answer: {error}", "check the network, the proxy and OPENAI_BASE_URL"
            )
        ]
    except ServerFailed as error:
        if capabilities is not None and capabilities.can(Capability.RETRIEVE) is False:
            return [note("provider", f"{address} answers, but not a GET: {error}", "nothing to do: agents stream")]
        return [problem("provider", str(error), "check the provider's status page, or OPENAI_BASE_URL")]
    except ResponsesError as error:
        return [problem("provider", str(error), "check the provider's status page, or OPENAI_BASE_URL")]
    return [answers, accepted]


def _key_of(provider: Provider) -> str:
    return "accepted" if provider.api_key else "not set, and not required"

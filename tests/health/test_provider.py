"""What `doctor` and readiness say of a provider, by what it really answers."""

import asyncio

import pytest
from pydantic import SecretStr

from durable_responses.emulator.server import EmulatorOptions
from durable_responses.health.checks import Verdict
from durable_responses.health.provider import check_provider
from durable_responses.settings import Settings
from tests.support.emulator_control import RunningEmulator, running_emulator
from tests.support.processes import free_port
from tests.support.provider import Answer, Provider, Then, answer

OK, NOTE, PROBLEM = Verdict


async def verdicts(base_url: str, settings: Settings, key: str | None = None) -> dict[str, Verdict]:
    given = {"openai_base_url": base_url, "openai_api_key": SecretStr(key) if key else None}
    return {check.name: check.verdict for check in await check_provider(settings.model_copy(update=given))}


async def test_a_provider_that_answers_is_well(emulator: RunningEmulator, settings: Settings) -> None:
    assert await verdicts(emulator.base_url, settings) == {"provider": OK, "key": OK}


async def test_an_accepted_key_is_well_and_a_refused_one_is_a_problem_of_the_key(settings: Settings) -> None:
    async with running_emulator(EmulatorOptions(api_key="right")) as emulator:
        assert await verdicts(emulator.base_url, settings, "right") == {"provider": OK, "key": OK}
        assert await verdicts(emulator.base_url, settings, "wrong") == {"provider": OK, "key": PROBLEM}


async def test_a_provider_that_nobody_serves_is_a_problem(settings: Settings) -> None:
    assert await verdicts(f"http://127.0.0.1:{free_port()}/v1", settings) == {"provider": PROBLEM}


async def test_a_provider_that_falls_silent_is_a_problem_within_seconds(scripted: Provider, settings: Settings) -> None:
    scripted.will(Answer(then=Then.HOLD))
    async with asyncio.timeout(8):
        assert await verdicts(scripted.url, settings, "key") == {"provider": PROBLEM}


async def test_without_key_address_and_emulator_it_says_what_to_set(settings: Settings) -> None:
    [check] = await check_provider(settings)
    assert check.verdict is PROBLEM
    assert check.cure is not None
    assert "OPENAI_API_KEY" in check.cure


ANSWERS = [
    (404, {"error": {"message": "Response not found", "type": "invalid_request_error"}}, {"provider": OK, "key": OK}),
    (403, {"error": {"message": "Missing scopes"}}, {"provider": OK, "key": PROBLEM}),
    (429, {"error": {"message": "No credit", "type": "insufficient_quota"}}, {"provider": OK, "key": PROBLEM}),
    (429, {"error": {"message": "Slow down", "type": "rate_limit_exceeded"}}, {"provider": NOTE}),
    (405, {"error": {"message": "Method not allowed"}}, {"provider": NOTE}),
    (500, {"error": {"message": "Broken"}}, {"provider": PROBLEM}),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
async def test_an_answer_is_judged_by_what_agents_would_make_of_it(
    scripted: Provider, settings: Settings, status: int, body: object, expected: dict[str, Verdict]
) -> None:
    scripted.will(answer(body, status, then=Then.CLOSE))
    assert await verdicts(scripted.url, settings, "key") == expected


async def test_the_key_is_in_no_sentence(settings: Settings) -> None:
    """A25."""
    secret = "sk-recognisable-0123456789abcdef"
    async with running_emulator(EmulatorOptions(api_key="right")) as emulator:
        given = {"openai_base_url": emulator.base_url, "openai_api_key": SecretStr(secret)}
        checks = await check_provider(settings.model_copy(update=given))
    assert not any(secret in check.model_dump_json() for check in checks)

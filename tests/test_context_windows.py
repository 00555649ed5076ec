"""Which model has which window, by its name and by what stands around it."""

import pytest

from durable_responses.context_windows import window_of


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-5.4", 1_050_000),
        ("GPT-5.4", 1_050_000),
        ("gpt-5.4-2026-03-05", 1_050_000),
        ("gpt-5.2-2025-12-11", 400_000),
        ("gpt-5.1-codex-max", 400_000),
        ("gpt-5.6", 1_050_000),
        ("gpt-5.1-chat-latest", 128_000),
        ("o1-2024-12-17", 200_000),
        ("gpt-4o-2024-05-13", 128_000),
        ("openai/gpt-5-mini", 400_000),
        ("openai/gpt-5-mini:nitro", 400_000),
        ("ft:gpt-4.1-mini-2025-04-14:acme::x1", 1_000_000),
        ("gpt-oss-120b", 131_072),
        ("gpt-5.4@2026-03-05", 1_050_000),
        ("gpt-5.4-20260305", 1_050_000),
        ("us.openai.gpt-5.4", 1_050_000),
        ("openai.gpt-5.4-2026-03-05", 1_050_000),
        ("acme.gpt-5.4", None),
        ("gpt-5.4-turbo", None),
        ("gpt-4o-realtime-preview", None),
        ("a-model-that-nobody-knows", None),
        ("", None),
    ],
)
def test_a_model_is_known_by_its_own_name_whatever_stands_around_it(model: str, tokens: int | None) -> None:
    """A dated snapshot that was not known would end its run at the window."""
    assert window_of(model) == tokens

"""How much of a conversation is before the model: its window, and what a compaction leaves of it.

A compaction item stands for everything before it. The model is given the item and what came after; the scripts of the
emulator go on knowing the rest (`Store.remembered`), as a model knows it from what it has written into the item.
"""

import base64
import hashlib
from collections.abc import Sequence
from enum import StrEnum

from durable_responses.emulator.model.script import (
    CompactionStep,
    CustomToolCallStep,
    FunctionCallStep,
    Script,
    tokens_of,
    written,
)
from durable_responses.emulator.objects.request_bodies import Item

REPLACED_TOKENS_PER_TOKEN = 20
FEWEST_TOKENS, MOST_TOKENS = 50, 1500


class CompactionTime(StrEnum):
    """When a conversation that has crossed its threshold is compacted. OpenAI does not on turns of calls alone."""

    MESSAGES = "messages"
    ALWAYS = "always"
    NEVER = "never"


def is_compaction(item: Item) -> bool:
    """Whether an item stands for all before it."""
    return item.get("type") == "compaction"


def since_compaction(items: Sequence[Item]) -> Sequence[Item]:
    """What the model is given of some items: the latest compaction and what comes after it."""
    at = next((at for at in range(len(items) - 1, -1, -1) if is_compaction(items[at])), 0)
    return items[at:] if at else items


def compaction_of(replaced_tokens: int) -> CompactionStep:
    """The compaction of so many tokens."""
    tokens = replaced_tokens // REPLACED_TOKENS_PER_TOKEN
    return CompactionStep(tokens=min(max(tokens, FEWEST_TOKENS), MOST_TOKENS))


def sealed(key: str, tokens: int) -> str:
    """The opaque content of a compaction item; the same for the same key."""
    content = base64.urlsafe_b64encode(hashlib.shake_256(key.encode()).digest(tokens * 3)).decode()
    return f"gAAAAA{content}"


def with_compaction(script: Script, threshold: int | None, input_tokens: int, when: CompactionTime) -> Script:
    """The script with the compaction that happens in it: where the threshold is crossed, but before open calls."""
    calls = (FunctionCallStep, CustomToolCallStep)
    only_calls = all(isinstance(step, calls) for step in script.output)
    if threshold is None or when is CompactionTime.NEVER or (only_calls and when is CompactionTime.MESSAGES):
        return script
    tokens = input_tokens + script.thought_tokens
    at = 0
    while tokens <= threshold:
        if at == len(script.output) or isinstance(script.output[at], calls):
            return script
        step = script.output[at]
        tokens += tokens_of(written(step) or step.model_dump_json())
        at += 1
    output = [*script.output[:at], compaction_of(tokens), *script.output[at:]]
    return script.model_copy(update={"output": output})

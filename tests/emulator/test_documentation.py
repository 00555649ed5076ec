"""What docs/emulator.md says is so."""

import json
import re

import pytest
from pydantic import TypeAdapter

from durable_responses.emulator.faults import Effect, Fault
from durable_responses.emulator.model.library import BUILT_IN
from durable_responses.emulator.model.scenarios import Scenario
from tests.support.processes import CHECKOUT

PAGE = (CHECKOUT / "docs" / "emulator.md").read_text()
EFFECT: TypeAdapter[Effect] = TypeAdapter(Effect)


def test_every_built_in_scenario_is_in_the_table() -> None:
    table = PAGE.split("## Scenarios")[1].split("Answers follow")[0]
    named = {name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)", cell)}
    assert named == {scenario.name for scenario in BUILT_IN}


def test_the_scenario_can_be_registered() -> None:
    [block] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    Scenario.model_validate_json(block)


@pytest.mark.parametrize("effect", re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE))
def test_the_effect_can_be_ordered(effect: str) -> None:
    ending, headers = '{"status": "failed"}', '{"openai-poll-after-ms": "700"}'
    EFFECT.validate_json(effect.replace('"ending": {…}', f'"ending": {ending}').replace("{…}", headers))


@pytest.mark.parametrize("fault", re.findall(r": `(\{\"operation.*?)`", PAGE))
def test_the_fault_can_be_ordered(fault: str) -> None:
    Fault.model_validate(json.loads(fault))

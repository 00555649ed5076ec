"""What docs/emulator.md says is so."""

import re
from typing import get_args

from pydantic import TypeAdapter

from durable_responses.emulator.faults import Effect, Fault, Operation
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


def test_every_effect_is_in_the_table_and_can_be_injected() -> None:
    ending, headers = '{"status": "failed"}', '{"openai-poll-after-ms": "700"}'
    effects = [
        EFFECT.validate_json(effect.replace('"ending": {…}', f'"ending": {ending}').replace("{…}", headers))
        for effect in re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE)
    ]
    assert {type(effect) for effect in effects} == set(get_args(get_args(Effect)[0]))


def test_the_faults_that_are_shown_can_be_injected() -> None:
    faults = [Fault.model_validate_json(fault) for fault in re.findall(r": `(\{\"operation.*?)`", PAGE)]
    assert [fault.operation for fault in faults] == [Operation.RETRIEVE, Operation.UPGRADE]

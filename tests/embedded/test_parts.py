"""One part by itself: when it counts as serving, and when it is given up."""

import sys
from pathlib import Path

import pytest

from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.parts import Launch, Part, PartCannotStart, PartPlan
from durable_responses.settings import Settings, child_environment
from durable_responses.stack_file import PartName


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(Settings(state_folder=tmp_path))
    folder.make()
    return folder


async def somebody_answers(_: Launch) -> bool:
    return True


async def test_a_part_that_ends_at_once_is_given_up_although_somebody_answers_at_its_port(folder: StateFolder) -> None:
    command = [sys.executable, "-c", "raise SystemExit('the port is taken')"]
    plan = PartPlan(PartName.EMULATOR, command, child_environment(), somebody_answers)
    part = Part(plan, folder, say=print, changed=lambda *_: None)
    with pytest.raises(PartCannotStart, match="The emulator did not start: the port is taken"):
        await part.keep_alive()


@pytest.mark.parametrize(("number", "name"), [(1, "worker"), (2, "worker-2")])
def test_the_parts_of_a_kind_are_told_apart_by_a_number(number: int, name: str) -> None:
    plan = PartPlan(PartName.WORKER, [], {}, somebody_answers, number=number)
    assert plan.name == name

"""A recorded terminal: what it showed, when, and nothing of the machine that it was recorded on."""

import re
import shutil
import socket
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from dev.screenshots.recording import DARK, LIGHT, Picture, moving, terminal
from tests.support.processes import CHECKOUT

RECORDED = sorted((CHECKOUT / "docs" / "images").glob("*.svg"))
TMUX = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


def words(svg: str) -> str:
    return " ".join("".join(ET.fromstring(svg).itertext()).replace("\xa0", " ").split())


@TMUX
async def test_what_a_command_prints_is_recorded_until_it_has_ended(tmp_path: Path) -> None:
    async with terminal(40, 5, tmp_path, {"PATH": "/usr/bin:/bin", "WORD": "red"}) as shell:
        pictures = await shell.type(r"printf '\033[31m%s\033[0m\n' $WORD")
    assert pictures[0].screen.startswith("$ printf")
    assert "\x1b[31mred" in pictures[-1].screen
    assert pictures[-1].screen.rstrip().endswith("$")


def test_pictures_follow_each_other_and_the_last_one_stays() -> None:
    svg = moving([Picture(0, "one"), Picture(2, "two")], 20, LIGHT)
    assert re.search(r"@keyframes p0\{0.000%\{visibility:visible\}25.000%\{visibility:hidden\}\}", svg)
    assert re.search(r"@keyframes p1\{0%\{visibility:hidden\}25.000%\{visibility:visible\}\}", svg)
    assert ".p0{visibility:hidden;animation:p0 8.0s" in svg
    assert ".p1{visibility:visible;" in svg
    assert "one" in words(svg)
    assert "two" in words(svg)


def test_a_colour_lasts_beyond_the_end_of_a_line_as_it_does_on_a_terminal() -> None:
    red = DARK.ansi_colors[1]
    svg = moving([Picture(0, "\x1b[31mone\ntwo\x1b[0m")], 20, DARK)
    assert svg.count('class="p0-r1"') == 2
    assert "#{:02x}{:02x}{:02x}".format(*red) in svg


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_no_picture_has_anything_of_the_machine_or_fetches_anything(path: Path) -> None:
    svg = path.read_text()
    assert "durable-responses run" in words(svg)
    assert not re.search(r"/(tmp|root|home|work|Users|var|private)/", svg)
    assert socket.gethostname() not in svg
    assert not re.search(r"url\((?!#)|href|<image|@font-face|@import", svg)


def test_there_is_one_for_light_pages_and_one_for_dark_ones() -> None:
    names = ["panel-dark.svg", "panel-light.svg", "question-dark.svg", "question-light.svg"]
    assert [path.name for path in RECORDED] == names

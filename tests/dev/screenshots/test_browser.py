"""The pictures of the README: what is missing is named, and nothing but the embedded stack is ever shown."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from dev.screenshots.browser import ChromiumMissing, chromium, find_chromium
from durable_responses.settings import child_environment
from tests.support.processes import CHECKOUT


async def take(folder: Path, **variables: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dev.screenshots", str(folder)),
        cwd=CHECKOUT,
        env=child_environment(**variables),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, said.decode()


async def test_without_a_terminal_it_says_what_to_install(tmp_path: Path) -> None:
    code, said = await take(tmp_path, PATH=str(tmp_path))
    assert (code, said) == (1, "No tmux was found: install it (Debian: `apt-get install tmux`).\n")


def test_without_a_chromium_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChromiumMissing, match=r"No Chromium was found: install it \(Debian: `apt-get"):
        find_chromium()


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "TEMPORAL_ADDRESS"])
async def test_no_provider_is_paid_and_no_other_server_shown(tmp_path: Path, variable: str) -> None:
    code, said = await take(tmp_path, **{variable: "127.0.0.1:1"})
    assert code == 1
    assert said.startswith("The pictures show the embedded stack: unset ")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
async def test_a_page_is_shown_clicked_and_taken() -> None:
    async with chromium() as page:
        button = "<button onclick=\"this.innerText = 'pressed'\">press</button>"
        await page.show(f"data:text/html,{button}<svg><text>drawn</text></svg>", "drawn")
        await page.click("press")
        await page.wait_for("pressed")
        await page.replace("drawn", "hidden")
        await page.wait_for("hidden")
        assert (await page.take(200)).startswith(b"\x89PNG")

"""What the pages tell people to type."""

import re
import shlex
from pathlib import Path

from tests.support.processes import CHECKOUT

PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# What may stand before a command: a prompt, variables, `uvx --from DIR`, the `--` of `claude mcp add`, a folder.
_BEFORE = r"(?:\$ )?(?:\w+=\S+ )*(?:.* -- |uvx --from \S+ )?(?:\S*/)?"


def commands(page: Path, program: str) -> list[list[str]]:
    """Every command of a program that is in a page, as words."""
    text = page.read_text()
    lines = [
        line for _, language, block in _FENCED.findall(text) if language in ("", "sh") for line in block.splitlines()
    ]
    inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", _FENCED.sub("", text))]
    pattern = re.compile(rf"{_BEFORE}({re.escape(program)}(?: .*)?)$")
    return [
        shlex.split(found[1], comments=True) for line in [*lines, *inline] if (found := pattern.match(line.strip()))
    ]

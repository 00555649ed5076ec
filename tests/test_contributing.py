"""What CONTRIBUTING.md and CHANGELOG.md say is there is there."""

import re
import tomllib

import pytest

from tests.support.processes import CHECKOUT

CONTRIBUTING = (CHECKOUT / "CONTRIBUTING.md").read_text()
CHANGELOG = (CHECKOUT / "CHANGELOG.md").read_text()
PATHS = re.findall(r"(?:[\w-]+/)+[\w*.-]+\.(?:py|md|json)|\b[a-z]+\.(?:py|toml|txt)\b", CONTRIBUTING)
TARGETS = re.findall(r"(?:^|`)make ([a-z]+)", CONTRIBUTING, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({path for path in PATHS if "name_of_the_scenario" not in path}))
def test_every_file_that_is_named_exists(path: str) -> None:
    assert list(CHECKOUT.glob(path))


@pytest.mark.parametrize("target", sorted(set(TARGETS)))
def test_every_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*##", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)


def test_every_module_of_the_core_is_two_hops_away() -> None:
    """Behaviour lives there; the rest is found from these by their imports."""
    modules = {
        f"{folder}/{path.name}" for folder in ("workflows", "tools") for path in (CHECKOUT / folder).glob("*.py")
    }
    found_from_others = {
        *("workflows/__init__.py", "workflows/web_ui.py"),
        *("tools/__init__.py", "tools/addresses.py", "tools/html_text.py", "tools/strict_schema.py"),
    }
    assert not modules - found_from_others - set(PATHS), "add a line to the table of CONTRIBUTING.md"


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)[0] == version

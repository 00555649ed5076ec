"""The architecture: the import contracts of pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

from tests.support.processes import CHECKOUT


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    linter = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert linter.returncode == 0, linter.stdout

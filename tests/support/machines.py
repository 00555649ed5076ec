"""Machines with hardly anything on their PATH, and a `go` that only claims to build."""

import shutil
from pathlib import Path

import pytest

from durable_responses.embedded import find_temporal_cli
from durable_responses.settings import Settings
from tests.support.processes import free_port

TEMPORAL = "#!/bin/sh\necho 'temporal version 1.2.3 (Server 1.29.1, UI 2.42.1)'\n"
# Writes what stands behind -o, and counts how often it was called.
GO = """#!/bin/sh
echo called >> "$(dirname "$0")/calls"
while [ "$1" != -o ]; do shift; done
printf '%s' "$FAKE_TEMPORAL" > "$2" && chmod +x "$2"
"""


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


class Machine:
    """A machine with nothing on its PATH but what our scripts need and what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "path"
        self.cache = folder / "cache"
        self.said: list[str] = []
        self.path.mkdir()
        for needed in ("chmod", "dirname", "sleep"):
            (self.path / needed).symlink_to(str(shutil.which(needed)))

    async def find(self) -> Path:
        return await find_temporal_cli(Settings(cache_folder=self.cache), self.said.append)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(machine.path))
    monkeypatch.setenv("FAKE_TEMPORAL", TEMPORAL)
    for name in ("TEMPORAL_CLI", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    # The SDK's download goes through this proxy, which does not exist.
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    return machine

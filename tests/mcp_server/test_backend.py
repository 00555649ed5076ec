"""Finding Temporal, or starting the embedded stack: once for all who ask, and again when it has gone."""

import asyncio
from pathlib import Path

import pytest

from durable_responses.connection import TemporalUnreachable
from durable_responses.embedded import stop
from durable_responses.mcp_server.backend import Backend, Renewed, StillStarting
from durable_responses.settings import Settings, SetupError
from tests.support.processes import free_port


class Work:
    """Counts how often it is done, and waits for leave."""

    def __init__(self) -> None:
        self.begun = 0
        self.leave = asyncio.Event()
        self.fails = False

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.leave.wait()
        if self.fails:
            raise SetupError("It does not work.")
        return number


async def test_whoever_asks_meanwhile_waits_for_the_same_work() -> None:
    work = Work()
    renewed = Renewed(work, fresh=60)
    tasks = [renewed.begin() for _ in range(3)]
    work.leave.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1]


async def test_what_is_fresh_is_not_done_again() -> None:
    work = Work()
    work.leave.set()
    renewed = Renewed(work, fresh=60)
    assert [await renewed.begin(), await renewed.begin()] == [1, 1]


async def test_what_is_stale_is_done_again() -> None:
    work = Work()
    work.leave.set()
    renewed = Renewed(work, fresh=0)
    assert [await renewed.begin(), await renewed.begin()] == [1, 2]


async def test_what_has_failed_is_done_again() -> None:
    work = Work()
    work.leave.set()
    work.fails = True
    renewed = Renewed(work, fresh=60)
    with pytest.raises(SetupError):
        await renewed.begin()
    work.fails = False
    assert await renewed.begin() == 2


async def test_one_who_loses_patience_does_not_stop_the_work_for_others() -> None:
    work = Work()
    renewed = Renewed(work, fresh=60)
    await asyncio.wait({renewed.begin()}, timeout=0.01)
    assert renewed.known is None
    work.leave.set()
    assert await renewed.begin() == 1
    assert renewed.known == 1


# --- Temporal ----------------------------------------------------------------------------------------------------


async def test_a_configured_temporal_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A20: one clear error; the jobs are not lost."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    async with Backend(Settings(state_folder=tmp_path)) as backend:
        with pytest.raises(TemporalUnreachable, match=f"{address}.*Runs are safe"):
            await backend.to_read()


async def test_a_start_that_takes_long_is_told_and_goes_on(tmp_path: Path) -> None:
    """The first `temporal` binary may have to be built: nobody waits for that in silence."""
    slow = tmp_path / "temporal"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    settings = Settings(state_folder=tmp_path / "state", temporal_cli=slow)
    try:
        async with Backend(settings, patience=0.5) as backend:
            for ask in (backend.to_read, backend.to_start):
                with pytest.raises(StillStarting, match=r"still being started.*are safe"):
                    await ask()
            assert backend.ready is None
    finally:
        await stop(settings, print)

import asyncio
import os
import sys
from pathlib import Path

from durable_responses.embedded.locks import LockFile


async def test_only_one_holds_a_lock(tmp_path: Path) -> None:
    held = await LockFile(tmp_path / "lock").take()
    assert held is not None
    with held:
        assert await LockFile(tmp_path / "lock").take() is None


async def test_a_released_lock_can_be_taken(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock")
    held = await lock.take()
    assert held is not None
    held.release()
    assert await lock.take() is not None


async def test_a_lock_that_was_just_taken_does_not_name_its_last_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    lock = LockFile(tmp_path / "lock")
    held = await lock.take()
    assert held is not None
    with held:
        assert lock.is_held
        assert lock.holder is None


async def test_the_holder_is_the_process_that_wrote_its_pid(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock")
    held = await lock.take()
    assert held is not None
    with held:
        held.write_pid()
        assert lock.holder == os.getpid()


def test_a_pid_file_that_nobody_holds_has_no_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    assert LockFile(tmp_path / "lock").holder is None


async def test_a_lock_lives_as_long_as_the_child_that_inherited_it(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock")
    held = await lock.take()
    assert held is not None
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "input()"), stdin=asyncio.subprocess.PIPE, pass_fds=[held.fd]
    )
    held.release()
    assert lock.is_held
    child.kill()
    await child.wait()
    assert not lock.is_held


async def test_looking_at_a_lock_does_not_keep_others_from_taking_it(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock")
    _, held = await asyncio.gather(asyncio.to_thread(lambda: [lock.is_held for _ in range(500)]), lock.take())
    assert held is not None
    held.release()

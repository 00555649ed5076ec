"""The worker dies while it fetches a file from a container: another one fetches it, once, and whole."""

from pathlib import Path

import pytest

from durable_responses.activities.messages import ActivityName, SaveOptions
from durable_responses.emulator.faults import Delay, Fault, Operation
from durable_responses.emulator.model.script import CodeInterpreterStep, MadeFile, Script, Text
from durable_responses.workflows.contract import AgentStatus
from tests.support.deployment import Deployment, Run, until

SIZE = 20_000_000


@pytest.mark.parametrize("transport", ["background", "stream"])
async def test_a_file_whose_worker_is_killed_is_saved_once_and_whole(deployment: Deployment, transport: str) -> None:
    """SIGKILL when the first of two files is there and the second is awaited."""
    made = [MadeFile(name="small.txt", text="small"), MadeFile(name="large.txt", text="x", bytes=SIZE)]
    script = Script(output=[CodeInterpreterStep(files=made), Text(text="Done.")])
    # The list, the first file; then nothing is heard of the second.
    await deployment.emulator.control.add_fault(Fault(operation=Operation.CONTAINER, effect=Delay(), skip=2, times=1))
    root = deployment.folder / "output"
    root.mkdir()
    async with deployment.worker(AGENT_OUTPUT_ROOT=str(root)) as first:
        run = await deployment.start(
            "files", [script], transport=transport, tools=[], enable_code_interpreter=True, save=SaveOptions(files=True)
        )
        await until(lambda: is_on_disk(root, "small-*.txt"))
        first.kill()
    [small] = root.rglob("small-*.txt")
    written = small.stat().st_mtime_ns
    (small.parent / ".large-0.txt.0a1b.part").write_bytes(b"what the dead worker has left")
    async with deployment.worker(AGENT_OUTPUT_ROOT=str(root)):
        result = await run.result(seconds=60)
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    assert [(file.name, file.bytes, file.error) for file in result.files] == [
        ("small.txt", 5, None),
        ("large.txt", SIZE, None),
    ]
    assert {path.name for path in small.parent.iterdir()} == {Path(file.path or "").name for file in result.files}
    assert small.stat().st_mtime_ns == written
    assert await times_scheduled(run) == 1


async def is_on_disk(root: Path, pattern: str) -> bool:
    return any(root.rglob(pattern))


async def times_scheduled(run: Run) -> int:
    events = (await run.handle.fetch_history()).events
    names = [event.activity_task_scheduled_event_attributes.activity_type.name for event in events]
    return names.count(ActivityName.SAVE_FILES)

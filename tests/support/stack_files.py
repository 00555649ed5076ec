"""The file of an embedded stack that nobody runs."""

from datetime import UTC, datetime
from pathlib import Path

from durable_responses.stack_file import Ports, StackFile, StackMode

EMULATOR = "http://127.0.0.1:8484/v1"


def write_stack_file(folder: Path, *, address: str = "127.0.0.1:7239", emulator: str | None = EMULATOR) -> None:
    stack = StackFile(
        pid=1,
        mode=StackMode.BACKGROUND,
        started_at=datetime.now(UTC),
        temporal_address=address,
        namespace="default",
        ports=Ports(),
        emulator_url=emulator,
        web_ui="http://127.0.0.1:8233",
    )
    (folder / "stack.json").write_text(stack.model_dump_json())

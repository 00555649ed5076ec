"""Containers of the code interpreter, and the files that code has left in them.

A container ends twenty minutes after its last use, for good. Reading it, or a file in it, is a use.
"""

from dataclasses import dataclass, field

from durable_responses.emulator.model.timeline import ContainerFile
from durable_responses.emulator.objects.api_errors import ApiError, ErrorBody
from durable_responses.emulator.objects.request_bodies import Item

EXPIRES_AFTER_MINUTES = 20


@dataclass(frozen=True)
class StoredFile:
    """A file, and when it was made."""

    file: ContainerFile
    created_at: float

    @property
    def content(self) -> bytes:
        """What is in it."""
        return self.file.made.content

    @property
    def body(self) -> Item:
        """The object of the API."""
        return {
            "id": self.file.id,
            "object": "container.file",
            "created_at": int(self.created_at),
            "bytes": len(self.content),
            "container_id": self.file.container_id,
            "path": f"/mnt/data/{self.file.made.name}",
            "source": "assistant",
        }


@dataclass
class Container:
    """One container."""

    id: str
    created_at: float
    last_active_at: float
    files: dict[str, StoredFile] = field(default_factory=dict)

    def is_alive(self, now: float) -> bool:
        """Whether it can still be used."""
        return now < self.last_active_at + EXPIRES_AFTER_MINUTES * 60

    def body(self, now: float) -> Item:
        """The object of the API."""
        return {
            "id": self.id,
            "object": "container",
            "created_at": int(self.created_at),
            "last_active_at": int(self.last_active_at),
            "name": "auto",
            "status": "running" if self.is_alive(now) else "expired",
            "expires_after": {"anchor": "last_active_at", "minutes": EXPIRES_AFTER_MINUTES},
            "memory_limit": "1g",
        }


class Containers:
    """All containers by id."""

    def __init__(self) -> None:
        self.all: dict[str, Container] = {}

    def use(self, container_id: str, at: float, until: float) -> Container:
        """Code runs, or a client reads, in a container, which is made where it is new."""
        container = self.all.setdefault(container_id, Container(container_id, at, at))
        container.last_active_at = max(container.last_active_at, until)
        return container

    def is_alive(self, container_id: str, now: float) -> bool:
        """Whether there is such a container."""
        return container_id in self.all and self.all[container_id].is_alive(now)

    def get(self, container_id: str, now: float) -> Container:
        """A container that can be used. Raises: ApiError 404."""
        if not self.is_alive(container_id, now):
            raise ApiError(404, ErrorBody(message=f"Container with id '{container_id}' not found or expired."))
        return self.all[container_id]

    def files(self, container_id: str, now: float) -> list[StoredFile]:
        """The files that there are, oldest first. Raises: ApiError 404."""
        return [file for file in self.get(container_id, now).files.values() if file.created_at <= now]

    def file(self, container_id: str, file_id: str, now: float) -> StoredFile:
        """One file. Raises: ApiError 404."""
        for file in self.files(container_id, now):
            if file.file.id == file_id:
                return file
        raise ApiError(404, ErrorBody(message=f"File with id '{file_id}' not found in container '{container_id}'."))

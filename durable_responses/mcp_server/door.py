"""The door of the MCP server: answers a client's first requests over stdio while the server is still being loaded.

Loading takes seconds, most of them for the models of the protocol, and clients give up sooner: some offer a server's
tools in their first request only if these come within a third of a second. So this module imports little of the
standard library and nothing else (a test looks). It answers what it can from a snapshot (`first_answers.py`), keeps
the rest in order, and hands the conversation over:

- The server is loaded after `tools/list`, after any request that is not answered here, or after a short silence; not
  before, since a request that arrives meanwhile is answered late.
- The first request settles the revision of the protocol, so the server gets it too, before anything else. Its answer
  is swallowed: the client has had that answer.
- If the server cannot be loaded, the requests that wait for it are answered with the reason.
"""

import io
import os
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from durable_responses.loading import loading
from durable_responses.mcp_server.first_answers import (
    LIST_TOOLS,
    FirstAnswers,
    Message,
    is_request,
    known_results,
    line_of,
    read,
)
from durable_responses.project_file import ProjectFileError, beneath, find

SNAPSHOT = os.path.join(os.path.dirname(__file__), "snapshot.json")
SILENCE = 0.25
"""Seconds without a message after which the server is loaded."""

_INTERNAL_ERROR = -32603
_INTERRUPTED = 130
_CHUNK = 64 * 1024
# A client that sends more while the server is being loaded waits until it is.
_MOST_KEPT = 16 * 1024 * 1024


class Opening(NamedTuple):
    """The request that was answered first, and its answer. `end` counts the kept lines up to it, itself included."""

    request: Message
    answer: bytes
    end: int


class Door:
    """One conversation, from its first byte until the server takes it over."""

    def __init__(self, answers: FirstAnswers, *, stdin: int = 0, stdout: int = 1, silence: float = SILENCE) -> None:
        self._answers = answers
        # Copies, because the server diverts the standard descriptors as soon as it begins to serve.
        self._stdin, self._stdout = os.dup(stdin), os.dup(stdout)
        self._woken, self._waking = os.pipe()
        self._silence = silence
        self._opening: Opening | None = None
        self._kept: list[bytes] = []  # lines for the server, the opening among them
        self._size = 0
        self._unfinished: list[bytes] = []  # a line whose end has not come yet
        self._waiting: list[Any] = []  # ids of requests for the server
        self._has_ended = False
        self._is_handed_over = False
        self._server_is_needed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="door", daemon=True)

    def open(self) -> None:
        """Begin to answer, in a thread: the server is loaded in the main one."""
        self._thread.start()

    def wait(self) -> None:
        """Return when the server should be loaded, or the client has gone."""
        self._server_is_needed.wait()

    @property
    def is_over(self) -> bool:
        """Whether the client has gone and has had all its answers."""
        return self._has_ended and self._opening is not None and not self._waiting and not any(self._unfinished)

    def refuse(self, reason: str) -> None:
        """Answer the requests that wait for the server with an error, one sentence; none does after `hand_over`."""
        if self._is_handed_over:
            return
        self._close()
        error = {"code": _INTERNAL_ERROR, "message": reason}
        try:
            for waiting in self._waiting:
                self._write(line_of({"jsonrpc": "2.0", "id": waiting, "error": error}))
        except OSError:  # the client has gone
            return

    def hand_over(self) -> "Remainder":
        """What is left of the conversation. Nothing is answered here any more."""
        self._close()
        self._is_handed_over = True
        # What the server starts does not read what is said to the server.
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        return Remainder(self._opening, [*self._kept, *self._unfinished], self._stdin)

    def _close(self) -> None:
        os.write(self._waking, b".")
        self._thread.join()

    def _listen(self) -> None:
        try:
            while self._is_to_listen():
                chunk = os.read(self._stdin, _CHUNK)
                self._has_ended = not chunk
                for line in self._lines(chunk):
                    self._take(line)
        except OSError:  # nobody reads our answers any more
            self._has_ended = True
        finally:
            self._server_is_needed.set()

    def _is_to_listen(self) -> bool:
        """Wait for the client; False when it has gone, or when the server takes over."""
        while not self._has_ended:
            sources = [self._woken] if self._size > _MOST_KEPT else [self._woken, self._stdin]
            patience = None if self._server_is_needed.is_set() else self._silence
            ready, _, _ = select.select(sources, [], [], patience)
            if ready:
                return self._woken not in ready
            self._server_is_needed.set()
        return False

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        self._size += len(chunk)
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join([*self._unfinished, end, b"\n"])
            self._unfinished.clear()
        if rest:
            self._unfinished.append(rest)

    def _take(self, line: bytes) -> None:
        message = read(line)
        answer = self._answers.answer(message)
        if answer is None or message is None:
            self._kept.append(line)
            if message is None or is_request(message):
                self._waiting += [message["id"]] if message else []
                self._server_is_needed.set()
            return
        if self._opening is None:
            self._kept.append(line)
            self._opening = Opening(message, answer, len(self._kept))
        self._write(answer)
        if message["method"] == LIST_TOOLS:
            self._server_is_needed.set()

    def _write(self, data: bytes) -> None:
        while data:
            select.select([], [self._stdout], [])
            data = data[os.write(self._stdout, data) :]


class Remainder(io.RawIOBase):
    """The server's standard input: what the door has kept, then what the client sends.

    Nothing after the opening is read before `resume`: the server might answer in between, or not answer the opening at
    all because the client takes it back.
    """

    def __init__(self, opening: Opening | None, kept: Sequence[bytes], stdin: int) -> None:
        self.opening = opening
        self._stdin = stdin
        self._chunks = self._read(kept)
        self._chunk = b""
        self._is_answered = threading.Event()

    def resume(self) -> None:
        """The server has answered the opening."""
        self._is_answered.set()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase`: how many bytes were read, 0 at the end. Blocking."""
        self._chunk = self._chunk or next(self._chunks, b"")
        size = min(len(buffer), len(self._chunk))
        buffer[:size] = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return size

    def _read(self, kept: Sequence[bytes]) -> Iterator[bytes]:
        end = self.opening.end if self.opening else 0
        yield from kept[:end]
        if self.opening:
            self._is_answered.wait()
        yield from kept[end:]
        while True:
            select.select([self._stdin], [], [])
            yield os.read(self._stdin, _CHUNK)


def main(given: Sequence[str] | None = None) -> NoReturn:
    """The program. `given` are its arguments, else the process's; with none it serves stdio, and the door is used."""
    if sys.argv[1:] if given is None else given:
        http = _wants_http(given)
        with loading():
            from durable_responses.mcp_server import program

        program.run(http=http)
    try:
        with open(SNAPSHOT, encoding="utf-8") as file:
            # Nothing that reads the settings is loaded yet.
            door = Door(FirstAnswers(known_results(file.read(), _environment())))
        door.open()
        door.wait()
        if door.is_over:
            os._exit(0)
        _load(door)
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)


def _wants_http(given: Sequence[str] | None) -> bool:
    from durable_responses.program_arguments import ProgramArguments

    parser = ProgramArguments(
        "durable-responses mcp",
        "Serve agent runs as MCP tools, over standard input and output or over streamable HTTP.",
    )
    parser.add_argument("--http", action="store_true", help="serve HTTP at AGENT_MCP_HOST:AGENT_MCP_PORT")
    return bool(parser.parse_args(given).http)


def _environment() -> Mapping[str, str]:
    try:
        return beneath(os.environ, find(os.environ))
    except (OSError, ProjectFileError):  # the server will say what is wrong
        return os.environ


def _load(door: Door) -> NoReturn:
    try:
        with loading():
            from durable_responses.mcp_server import program
    except Exception:
        door.refuse("The MCP server could not be loaded; see its log.")
        raise
    program.run(door=door)

"""What a server can do is learned from its answers, kept for an hour, and shared through the state folder."""

from pathlib import Path

from durable_responses.capabilities import FILE_NAME, KEPT_FOR, LOOKED_AGAIN_AFTER, Capabilities, Capability, server_of

SERVER = "http://127.0.0.1:8080/v1"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_of_a_server_that_has_not_answered() -> None:
    known = Capabilities(SERVER)
    assert [known.can(each) for each in Capability] == [None] * len(Capability)


def test_what_was_learned_last_holds() -> None:
    clock = Clock()
    known = Capabilities(SERVER, now=clock)
    known.learned(Capability.CHAIN, False)
    assert known.can(Capability.CHAIN) is False
    clock.now += 1
    known.learned(Capability.CHAIN, True)
    assert known.can(Capability.CHAIN) is True


def test_it_is_forgotten_after_an_hour_unless_it_is_confirmed() -> None:
    """A server may be updated, or given a store."""
    clock = Clock()
    known = Capabilities(SERVER, now=clock)
    known.learned(Capability.RETRIEVE, False)
    known.learned(Capability.CANCEL, False)
    clock.now += KEPT_FOR - 1
    known.learned(Capability.CANCEL, False)
    clock.now += 2
    assert (known.can(Capability.RETRIEVE), known.can(Capability.CANCEL)) == (None, False)


def test_a_clock_that_was_set_back_does_not_keep_it_for_ever() -> None:
    clock = Clock()
    known = Capabilities(SERVER, now=clock)
    known.learned(Capability.CHAIN, False)
    clock.now -= 10 * KEPT_FOR
    assert known.can(Capability.CHAIN) is None


def test_another_process_of_the_state_folder_knows_it_too(tmp_path: Path) -> None:
    clock = Clock()
    one, other = Capabilities(SERVER, tmp_path, clock), Capabilities(SERVER + "/", tmp_path, clock)
    assert other.can(Capability.CHAIN) is None
    one.learned(Capability.CHAIN, False, "it echoes no previous_response_id")
    clock.now += LOOKED_AGAIN_AFTER
    assert other.can(Capability.CHAIN) is False
    assert other.table()[Capability.CHAIN].why == "it echoes no previous_response_id"
    other.learned(Capability.STREAM, True)
    clock.now += LOOKED_AGAIN_AFTER
    assert (one.can(Capability.CHAIN), one.can(Capability.STREAM)) == (False, True)


def test_servers_are_kept_apart(tmp_path: Path) -> None:
    Capabilities(SERVER, tmp_path).learned(Capability.CHAIN, False)
    assert Capabilities("https://api.openai.com/v1", tmp_path).can(Capability.CHAIN) is None


def test_a_file_that_cannot_be_read_counts_as_empty_and_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"http://one": []')
    known = Capabilities(SERVER, tmp_path)
    assert known.can(Capability.CHAIN) is None
    known.learned(Capability.CHAIN, True)
    assert Capabilities(SERVER, tmp_path).can(Capability.CHAIN) is True


def test_a_folder_that_cannot_be_written_leaves_it_to_each_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    known = Capabilities(SERVER, tmp_path / "file" / "folder")
    known.learned(Capability.CHAIN, False)
    assert known.can(Capability.CHAIN) is False


def test_the_file_holds_no_password_of_a_base_url() -> None:
    assert server_of("https://name:secret@host:8000/v1/?key=secret") == "https://host:8000/v1"

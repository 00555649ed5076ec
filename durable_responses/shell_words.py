"""Words of a command line as a shell reads them: what is printed to be pasted means what it says."""

import shlex


def typed(*words: str) -> str:
    """Arguments, behind the name of a command. One that begins with a hyphen is not taken for an option."""
    first = ["--"] if any(word.startswith("-") for word in words) else []
    return shlex.join([*first, *words])

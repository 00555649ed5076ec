"""What somebody may have meant who wrote a name that there is not."""

from collections.abc import Callable, Iterable


def did_you_mean(said: str, right: Iterable[str], *, by: Callable[[str], str] = str) -> str:
    """` Did you mean 'status'?`, with a space before it; empty if nothing is near to what was said.

    `by` makes of a right name what is compared.
    """
    from difflib import get_close_matches  # takes a moment, and most say what is right

    compared = {by(name): name for name in right}
    nearest = get_close_matches(said.lower(), list(compared), n=1, cutoff=0.6)
    return f" Did you mean {compared[nearest[0]]!r}?" if nearest else ""

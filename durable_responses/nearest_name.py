"""What somebody may have meant who wrote a name that there is not."""

from collections.abc import Callable, Iterable


def did_you_mean(said: str, right: Iterable[str], *, by: Callable[[str], str] = str) -> str:
    """` Did you mean 'status'?`, with a space before it; empty if nothing is near to what was said.

    `by` makes of a right name what is compared.
    """
    compared = {by(name): name for name in right}
    nearest = nearest_name(said, compared)
    return "" if nearest is None else f" Did you mean {compared[nearest]!r}?"


def nearest_name(said: str, right: Iterable[str]) -> str | None:
    """The right name that is most like what was said, in whatever case; None if nothing is near to it."""
    from difflib import get_close_matches  # takes a moment, and most say what is right

    compared = {name.lower(): name for name in right}
    return next((compared[near] for near in get_close_matches(said.lower(), compared, n=1)), None)

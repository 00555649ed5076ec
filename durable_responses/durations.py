"""Times as they are written in settings, and as they are said."""

from datetime import timedelta

_UNITS = {"d": (86400, "day"), "h": (3600, "hour"), "m": (60, "minute"), "s": (1, "second")}


def in_one_unit(time: timedelta) -> str:
    """`30d`, `15m`, `90s`: as a setting is written, in the largest unit that has no rest."""
    number, unit = _counted(time)
    return f"{number:g}{unit}"


def in_words(time: timedelta) -> str:
    """`30 days`, `1 hour`."""
    number, unit = _counted(time)
    return f"{number:g} {_UNITS[unit][1]}{'' if number == 1 else 's'}"


def _counted(time: timedelta) -> tuple[float, str]:
    seconds = time.total_seconds()
    for unit, (size, _) in _UNITS.items():
        if seconds >= size and seconds % size == 0:
            return seconds // size, unit
    return seconds, "s"

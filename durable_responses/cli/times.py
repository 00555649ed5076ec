"""Times and numbers in words."""

from datetime import datetime, timedelta


def duration(time: timedelta) -> str:
    """`0:41`, `12:05`, `3:07:00`, `2d 3:07:00`."""
    seconds = int(time.total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    clock = f"{hours}:{minutes:02}" if hours or days else f"{minutes}"
    return (f"{days}d " if days else "") + f"{clock}:{seconds % 60:02}"


def counted(number: int, noun: str) -> str:
    """`1 iteration`, `2 iterations`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago something was, in words: `just now`, `12 minutes ago`, `3 days ago`; a date after a month."""
    if moment is None:
        return ""
    seconds = int((now - moment).total_seconds())
    if seconds < 10:
        return "just now"
    for unit, size, end in _AGES:
        if seconds < end:
            return f"{counted(seconds // size, unit)} ago"
    return f"{moment.astimezone():%Y-%m-%d}"


_AGES = (("second", 1, 60), ("minute", 60, 3600), ("hour", 3600, 86400), ("day", 86400, 30 * 86400))

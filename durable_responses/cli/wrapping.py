"""Lines on a terminal of some width: broken between words, never inside a command that somebody may paste."""

import re

_COMMAND = re.compile(r"`[^`\n]+`|(?<!\S)durable-responses .*$")
_INDENT = re.compile(r"\s*(?:→ |[-•] )?")
_LAST_COLUMN = re.compile(r"\S {2,}(?=\S)")
_SPACE = "\x00"  # stands for a space at which a line is not broken; nothing that is shown has one


def wrapped(line: str, width: int) -> list[str]:
    """The lines that a line becomes. The second and later ones stand below the first one's text, or its last column."""
    if len(line) <= width:
        return [line]
    # Only here: hardly any line is so long.
    from textwrap import wrap

    indent = _indent_of(line, width)
    glued = _COMMAND.sub(lambda command: command[0].replace(" ", _SPACE), line[indent:])
    room = max(width - indent, 1)
    first, *rest = wrap(glued, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [each.replace(_SPACE, " ") for each in (line[:indent] + first, *(" " * indent + more for more in rest))]


def wrapped_prompt(question: str, width: int) -> str:
    """A question with lines as `wrapped` makes them; the answer is typed behind its last one."""
    lines = [part for line in question.rstrip(" ").split("\n") for part in wrapped(line, width)]
    return "\n".join(lines) + " " * (len(question) - len(question.rstrip(" ")))


def _indent_of(line: str, width: int) -> int:
    columns = [found.end() for found in _LAST_COLUMN.finditer(line) if found.end() <= width // 2]
    leading = _INDENT.match(line)
    return columns[-1] if columns else leading.end() if leading else 0

"""Text that somebody else wrote, made fit to be shown: it can neither move a cursor nor turn a line around.

Terminals obey control characters, wherever a text with them is printed: an escape sequence clears the screen, changes
the title or writes to the clipboard. Bidirectional overrides show a text in another order than it has
(https://trojansource.codes). Neither has a meaning in a task, an answer or the name of a file.
Marks that only give a direction, as Hebrew and Arabic texts have them, stay.
"""

import re

# The sequences of ECMA-48 whole, or their rest would stay behind as text: with parameters, a string, or a letter.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOT_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_END = re.compile("\r\n?|[\u2028\u2029\x85]")


def shown(text: str) -> str:
    """The text without control characters, escape sequences and bidirectional overrides. Lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _SEQUENCE.sub("", _LINE_END.sub("\n", text)))


def shown_on_one_line(text: str) -> str:
    """The same on one line, with single spaces."""
    return " ".join(shown(text).split())


def is_name(text: str) -> bool:
    """Whether a path or a name can be shown as it is: without line ends, control characters and half characters."""
    return _NOT_IN_NAMES.search(text) is None


def without_unnamable(text: str) -> str:
    """What `is_name` refuses is left out."""
    return _NOT_IN_NAMES.sub("", text)

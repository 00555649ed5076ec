"""The readable text of an HTML page. Pure rules, no I/O.

Not `html.parser`: its time grows with the square of a malicious page (24 s for 300 kB of `<!--`). This scanner
looks at every character a bounded number of times, and accepts anything.
"""

import html
import re

UNREADABLE = ("script", "style", "noscript", "template", "svg", "iframe")
# Any other tag begins a new line.
INLINE = re.compile(
    "a|abbr|b|bdi|bdo|button|cite|code|del|em|font|i|img|ins|kbd|label|mark|q|s|small|span|strong|su[bp]|u"
)
TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
ENDS = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in UNREADABLE}


def html_text(markup: str) -> str:
    """The text between the tags: one line per block, without scripts, styles, comments and blank lines."""
    pieces: list[str] = []
    position = 0
    while (start := markup.find("<", position)) >= 0:
        pieces.append(markup[position:start])
        position, replacement = _skip(markup, start)
        pieces.append(replacement)
    pieces.append(markup[position:])
    lines = (" ".join(line.split()) for line in _unescape("".join(pieces)).splitlines())
    return "\n".join(line for line in lines if line)


def _skip(markup: str, start: int) -> tuple[int, str]:
    """Where the construct that begins with `<` ends, and what stands for it in the text."""
    if markup.startswith("<!--", start):
        return _after(markup, "-->", start + 4), ""
    if markup.startswith(("<!", "<?"), start):
        return _after(markup, ">", start), ""
    tag = TAG.match(markup, start)
    if tag is None:
        return start + 1, "<"
    name = tag[1].lower()
    if name in ENDS and markup[start + 1] != "/":
        end = ENDS[name].search(markup, tag.end())
        return (_after(markup, ">", end.end()) if end else len(markup)), " "
    return _after(markup, ">", tag.end()), "" if INLINE.fullmatch(name) else "\n"


def _after(markup: str, text: str, position: int) -> int:
    found = markup.find(text, position)
    return len(markup) if found < 0 else found + len(text)


def _unescape(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:
        return text  # a character number of thousands of digits

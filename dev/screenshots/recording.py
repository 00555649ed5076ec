"""A terminal in which a command is typed, recorded as a moving SVG: tmux is the terminal, rich draws it.

The picture moves by CSS alone, so that it does in a page that only links it. It has no font of its own: a page that
shows it fetches nothing from anybody.
"""

import asyncio
import io
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from durable_responses.settings import SetupError, child_environment

_PROMPT = "$ "
_BETWEEN_LOOKS = 0.2
_LAST_PICTURE = 6.0  # seconds
_TO_READ = 3.0  # seconds before a reply is typed
_PATIENCE = 120.0
_PIECES = re.compile(
    "(?P<styles>.*)\x1f(?P<backgrounds>.*)\x1f(?P<matrix>.*)\x1f(?P<lines>.*)\x1f(?P<size>.*)", re.DOTALL
)
_FORMAT = "{styles}\x1f{backgrounds}\x1f{matrix}\x1f{lines}\x1f{terminal_width} {terminal_height} {line_height}"
_MARGIN = 14

# The colours of GitHub's own pages, whose background the pictures stand on.
LIGHT = TerminalTheme(
    (246, 248, 250),
    (31, 35, 40),
    [
        (36, 41, 47),
        (207, 34, 46),
        (17, 99, 41),
        (127, 78, 0),
        (9, 105, 218),
        (130, 80, 223),
        (27, 124, 131),
        (87, 96, 106),
    ],
)
DARK = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)


class TmuxMissing(SetupError):
    """There is no tmux."""


@dataclass(frozen=True)
class Picture:
    """What the terminal showed, from so many seconds after the first picture."""

    seconds: float
    screen: str


class Terminal:
    """A terminal of some columns and rows, with a shell in it."""

    def __init__(self, socket: Path, columns: int) -> None:
        self._socket = socket
        self.columns = columns

    async def type(self, command: str, replies: Mapping[str, str] = MappingProxyType({})) -> list[Picture]:
        """Type a command and look until it has ended; at a prompt a reply is typed. Raises `TimeoutError`."""
        await self._tmux("send-keys", "-l", command)
        async with asyncio.timeout(_PATIENCE):
            while command not in Text.from_ansi(await self.screen()).plain.replace("\n", ""):
                await asyncio.sleep(_BETWEEN_LOOKS)
        began, pictures, left = time.monotonic(), [Picture(0, await self.screen())], dict(replies)
        await self._tmux("send-keys", "Enter")
        async with asyncio.timeout(_PATIENCE):
            while not self._has_ended(pictures):
                await asyncio.sleep(_BETWEEN_LOOKS)
                screen = await self.screen()
                if screen != pictures[-1].screen:
                    pictures.append(Picture(time.monotonic() - began, screen))
                if prompt := next((prompt for prompt in left if prompt in Text.from_ansi(screen).plain), None):
                    await asyncio.sleep(_TO_READ)
                    await self._tmux("send-keys", "-l", left.pop(prompt))
                    await asyncio.sleep(_BETWEEN_LOOKS)
                    pictures.append(Picture(time.monotonic() - began, await self.screen()))
                    await self._tmux("send-keys", "Enter")
        return pictures

    async def screen(self) -> str:
        """What it shows now, with the escape sequences of its colours."""
        return (await self._tmux("capture-pane", "-e", "-p")).rstrip("\n")

    def _has_ended(self, pictures: Sequence[Picture]) -> bool:
        last = Text.from_ansi(pictures[-1].screen).plain.splitlines()
        return len(pictures) > 1 and last[-1:] == [_PROMPT.rstrip()]

    async def _tmux(self, *words: str) -> str:
        return await _tmux(self._socket, *words)


@asynccontextmanager
async def terminal(columns: int, rows: int, folder: Path, variables: Mapping[str, str]) -> AsyncIterator[Terminal]:
    """A terminal whose shell stands in a folder, with these variables; it ends with the block. Raises `TmuxMissing`."""
    find_tmux()
    with tempfile.TemporaryDirectory() as place:
        socket = Path(place) / "tmux"
        set_ones = shlex.join(f"{name}={value}" for name, value in {**variables, "PS1": _PROMPT}.items())
        shell = f"exec env {set_ones} bash --norc --noprofile"
        size = ("-x", str(columns), "-y", str(rows))
        await _tmux(socket, "-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), shell)
        try:
            shown = Terminal(socket, columns)
            async with asyncio.timeout(_PATIENCE):
                while not await shown.screen():
                    await asyncio.sleep(_BETWEEN_LOOKS)
            yield shown
        finally:
            await _tmux(socket, "kill-server")


def find_tmux() -> str:
    """The path of tmux. Raises `TmuxMissing`."""
    if path := shutil.which("tmux", path=child_environment().get("PATH")):
        return path
    raise TmuxMissing("No tmux was found: install it (Debian: `apt-get install tmux`).")


async def _tmux(socket: Path, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(find_tmux(), "-u", "-S", str(socket), *words),
        env=child_environment(TERM="xterm-256color"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"tmux {words[0]}: {error.decode().strip()}")
    return out.decode()


def moving(pictures: Sequence[Picture], columns: int, theme: TerminalTheme) -> str:
    """The pictures one after the other, for ever, as SVG; who wants no motion, or no CSS, sees the last one."""
    total = pictures[-1].seconds + _LAST_PICTURE
    styles, frames, width, height = [], [], 0.0, 0.0
    ends = [later.seconds for later in pictures[1:]] + [total]
    for number, (picture, end) in enumerate(zip(pictures, ends, strict=True)):
        pieces = _drawn(picture.screen, columns, theme, f"p{number}")
        of_terminal = [float(length) for length in pieces["size"].split()]
        width, height = max(width, of_terminal[0]), max(height, of_terminal[1])
        begin, until = picture.seconds / total * 100, end / total * 100
        hidden = "" if number == 0 else "0%{visibility:hidden}"
        gone = "" if picture is pictures[-1] else f"{until:.3f}%{{visibility:hidden}}"
        styles.append(
            f"{pieces['styles']}\n@keyframes p{number}{{{hidden}{begin:.3f}%{{visibility:visible}}{gone}}}"
            f"\n.p{number}{{visibility:{'visible' if picture is pictures[-1] else 'hidden'};"
            f"animation:p{number} {total:.1f}s step-end infinite}}"
        )
        frames.append(
            f'<defs>{pieces["lines"]}</defs><g class="p{number}">{pieces["backgrounds"]}'
            f'<g class="text">{pieces["matrix"]}</g></g>'
        )
    text = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:20px"
    calm = "@media (prefers-reduced-motion:reduce){[class^=p]{animation:none}}"
    whole = f"{width + 2 * _MARGIN:.0f} {height + 2 * _MARGIN:.0f}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole}">',
            f"<style>.text{{{text}}}\n" + "\n".join(styles) + f"\n{calm}</style>",
            f'<rect width="100%" height="100%" rx="8" fill="{theme.background_color.hex}"/>',
            f'<g transform="translate({_MARGIN} {_MARGIN})">',
            *frames,
            "</g>\n</svg>\n",
        ]
    )


def _drawn(screen: str, columns: int, theme: TerminalTheme, name: str) -> dict[str, str]:
    console = Console(
        record=True,
        width=columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    # As a whole: a colour lasts beyond the end of a line.
    console.print(Text.from_ansi(screen), no_wrap=True, overflow="crop", highlight=False)
    pieces = _PIECES.fullmatch(console.export_svg(theme=theme, code_format=_FORMAT, unique_id=name))
    assert pieces is not None
    return pieces.groupdict()

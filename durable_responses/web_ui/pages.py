"""The pages of the Web UI: taken over from Temporal's own server of them, kept in a folder, looked up by path."""

import mimetypes
import posixpath
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

INDEX = "index.html"
# What the server of the pages itself says of how it is set up; older ones lack the last two.
SETTINGS = ("api/v1/settings", "api/v1/releases", "api/v1/ui-extensions")
_BUNDLES = "_app/"
_NEVER_CHANGING = "_app/immutable/"
_START = (INDEX, "favicon.ico", "site.webmanifest", "_app/version.json", "_app/env.js", *SETTINGS)
# Every file is named in another one, as a quoted path, or in CSS in brackets.
_REFERENCE = re.compile(rb"[\"'`(](\.{0,2}/?[\w@./-]+\.[a-z0-9]{2,11})[\"'`)]")
_HAS_REFERENCES = {".html", ".js", ".css", ".webmanifest"}


class PagesMissing(Exception):
    """A server does not give the pages."""


@dataclass(frozen=True)
class Page:
    """One file, with the headers that say what it is and how long it may be kept."""

    path: Path
    media_type: str
    cache_control: str


class Pages:
    """The files of a folder, by the path of a URL; none where the folder does not have them."""

    def __init__(self, folder: Path) -> None:
        self._pages = {name: _page(folder / name, name) for name in _names(folder)}

    def find(self, path: str) -> Page | None:
        """The page of a path. The UI's own places, such as a run's, are all one page: it looks at the path itself."""
        name = path.strip("/")
        if name.startswith((_BUNDLES, "api/")):
            return self._pages.get(name)
        return self._pages.get(name) or self._pages.get(INDEX)


async def take_over(base_url: str, folder: Path) -> None:
    """Copy all pages of a server into a folder, which has all of them or does not exist. Raises `PagesMissing`."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    found: set[str] = set()
    waiting = list(_START)
    try:
        async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30) as http:
            seen = set(waiting)
            while waiting:
                name = waiting.pop()
                answer = await http.get("/" if name == INDEX else f"/{name}")
                # For a path that it does not know the server gives the index.
                is_page = answer.headers.get("content-type", "").startswith("text/html")
                if answer.status_code != 200 or is_page != (name == INDEX):
                    continue
                found.add(name)
                _write(unfinished / name, answer.content)
                more = set(_references(name, answer.content)) - seen
                seen |= more
                waiting += more
    except httpx.HTTPError as error:
        raise PagesMissing(f"{base_url} does not give the pages of the Web UI: {error!r}") from error
    if INDEX not in found or not any(name.startswith(_NEVER_CHANGING) for name in found):
        raise PagesMissing(f"{base_url} is not Temporal's Web UI as we know it")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _names(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _page(path: Path, name: str) -> Page:
    # Without the system's own tables, which differ: a browser runs no script that is called otherwise.
    guessed, _ = mimetypes.MimeTypes(filenames=()).guess_type(name)
    media_type = "application/json" if name in SETTINGS else guessed or "application/octet-stream"
    lasts = "public, max-age=31536000, immutable" if name.startswith(_NEVER_CHANGING) else "no-cache"
    return Page(path, media_type, lasts)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _references(name: str, content: bytes) -> Iterator[str]:
    if PurePosixPath(name).suffix not in _HAS_REFERENCES:
        return
    for found in _REFERENCE.findall(content):
        # From the root, or from the file; bundles name one another from the root without saying so, too.
        reference = found.decode()
        for path in (posixpath.join("/", posixpath.dirname(name), reference), posixpath.join("/", reference)):
            target = posixpath.normpath(path).lstrip("/")
            if target.startswith(_BUNDLES) or "/" not in target:
                yield target

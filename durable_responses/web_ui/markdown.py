"""What a run says of itself in Markdown (its summary, its details), as a page for a frame of the Web UI.

The text is a model's or a caller's: no HTML of its own, no script, nothing loaded from elsewhere.
"""

import secrets

from markdown_it import MarkdownIt
from starlette.responses import HTMLResponse

_PAGE = """<!DOCTYPE html>
<html>
<head>
<title>Rendered Markdown</title>
<base target="_blank">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="{nonce}">
body {{ margin: 0; padding: 1rem; font-family: sans-serif; overscroll-behavior: none }}
body {{ background: {paper}; color: {ink} }}
a {{ color: {link} }}
blockquote {{ border-left: 4px solid; margin: 0; padding: 0 0.5rem }}
code {{ border: 1px solid; border-radius: 0.25rem; padding: 0 0.25rem }}
pre code {{ border: 0 }}
table {{ border-collapse: collapse }} td, th {{ border: 1px solid; padding: 0 0.5rem }}
</style>
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""
_LIGHT = {"paper": "#fff", "ink": "#121416", "link": "#444ce7"}
_DARK = {"paper": "#141414", "ink": "#f8fafc", "link": "#8098f9"}
_POLICY = (
    "base-uri 'self'; default-src 'none'; style-src 'nonce-{nonce}'; frame-ancestors 'self'; form-action 'none'; "
    "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
)

_markdown = (
    MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")
)


def rendered(text: str, *, dark: bool) -> HTMLResponse:
    """The page of a text."""
    nonce = secrets.token_urlsafe(16)
    page = _PAGE.format(nonce=nonce, content=_markdown.render(text), **(_DARK if dark else _LIGHT))
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY.format(nonce=nonce)})

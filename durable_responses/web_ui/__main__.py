"""The program: `python -m durable_responses.web_ui`. The stack starts it, and docker-compose.yml."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvicorn

from durable_responses.web_ui.pages import PagesMissing, take_over
from durable_responses.web_ui.server import WebUiOptions, create_app

# A run's details come in a URL.
_LONGEST_HEAD = 2**20


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="web_ui", description="Temporal's Web UI, for pages of this machine only.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--temporal", required=True, metavar="URL", help="Temporal's HTTP API")
    parser.add_argument("--pages", type=Path, required=True, metavar="FOLDER", help="the pages of the Web UI")
    parser.add_argument("--pages-from", metavar="URL", help="take the pages from this server first")
    parser.add_argument("--default-namespace", default="", metavar="NAME")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME", help="answer to it, too")
    given = parser.parse_args()
    try:
        if given.pages_from:
            asyncio.run(take_over(given.pages_from, given.pages))
        app = create_app(
            WebUiOptions(given.temporal, given.pages, given.default_namespace, [given.host, *given.allowed_host])
        )
    except (PagesMissing, OSError) as error:
        sys.stderr.write(f"web-ui: {error}\n")
        return 1
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        timeout_graceful_shutdown=1,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

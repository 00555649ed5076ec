"""(i) What tracing costs: iterations of a worker that exports spans and metrics, beside one that exports nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dev.bench.command import run
from dev.bench.iterations import Iterations, rows_beside
from dev.bench.stack import Stack, iterations_of
from dev.bench.table import Table
from durable_responses.activities.messages import Transport
from durable_responses.workflows.contract import TransportChoice

LARGEST_RATIO = 1.1


async def measure(quick: bool) -> Table:
    iterations, rounds = (10, 1) if quick else (30, 6)
    kinds = (Transport.STREAM, Transport.BACKGROUND)
    off, on = {kind: Iterations() for kind in kinds}, {kind: Iterations() for kind in kinds}
    async with Stack.up() as stack:
        with _collecting() as endpoint:
            silent = await stack.worker("silent")
            traced = await stack.worker("traced", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
            for number in range(rounds + 1):
                if number == 1:  # everything was loaded for the first time
                    off, on = {kind: Iterations() for kind in kinds}, {kind: Iterations() for kind in kinds}
                for kind in kinds:
                    for queue, worker, taken in (("silent", silent, off[kind]), ("traced", traced, on[kind])):
                        handle = await stack.start(iterations_of(iterations), TransportChoice(kind), task_queue=queue)
                        await taken.take(handle, worker, iterations)
    table = Table("(i) Overhead of tracing")
    for kind in kinds:
        table.rows += rows_beside(kind, on[kind], off[kind], LARGEST_RATIO)
    table.notes.append(
        f"Medians of {rounds * iterations} iterations of each kind, alternating; the emulator answers at once, so that"
        " nothing hides the overhead. Yardstick: the same without an OTLP endpoint. Spans, metrics and those of the SDK"
        " go to a receiver that throws them away."
    )
    return table


@contextmanager
def _collecting() -> Iterator[str]:
    """A receiver of OTLP over HTTP that looks at nothing; its endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    run(measure)

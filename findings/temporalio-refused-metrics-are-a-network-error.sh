#!/usr/bin/env bash
# temporalio says "network error" of a receiver that answers its metrics with 405, and says so at every export
#
# A backend that takes traces only (Arize Phoenix) answers `POST /v1/metrics` with 405. The exporter of Temporal's core does
# not tell the status: its warning reads as if the receiver could not be reached. It is repeated at each interval, for ever.
# Versions: temporalio 1.35.0. What users of this project meet of it: one line, beside the one that has the status and says
# which variable turns metrics off (docs/observability.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check temporalio==1.35.0
cat > program.py << 'PROGRAM'
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from temporalio.runtime import OpenTelemetryConfig, Runtime, TelemetryConfig

asked = []


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        asked.append(self.path)
        self.send_response(405)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1/metrics"
metrics = OpenTelemetryConfig(url=url, http=True, metric_periodicity=timedelta(milliseconds=300))
runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
runtime.metric_meter.create_counter("runs").add(1)
while len(asked) < 4:
    time.sleep(0.1)
PROGRAM
environment/bin/python -c "import temporalio.service as s; print('temporalio', s.__version__)"
environment/bin/python program.py > said.txt 2>&1
count=$(grep -c "export failed.*network error" said.txt || true)
if [ "$count" -ge 3 ] && ! grep -q 405 said.txt; then echo "said again and again: network error; never: 405"; else echo "$count times"; fi | tee seen.txt
cat > expected.txt << 'EXPECTED'
said again and again: network error; never: 405
EXPECTED
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: temporalio-refused-metrics-are-a-network-error no longer behaves as described." >&2
    exit 1
}

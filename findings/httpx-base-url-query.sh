#!/usr/bin/env bash
# httpx puts a request's path behind the query of its base URL
#
# `base_url="https://host/v1?api-version=1"` is how some gateways write their address. A request for "/responses" goes to
# `/v1?api-version=1/responses`: another path than was meant, and a value of the query that nobody gave. Nothing is raised.
# Versions: httpx 0.28.1. What users of this project meet of it: nothing; the query is kept behind the path.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1
cat > program.py << 'PROGRAM'
import httpx

client = httpx.Client(base_url="https://host/v1?api-version=1")
print(client.build_request("GET", "/responses").url)
print(client.build_request("GET", "/responses", params={"limit": 1}).url)
print(httpx.Client(base_url="https://host/v1", params={"api-version": 1}).build_request("GET", "/responses").url)
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
https://host/v1?api-version=1/responses
https://host/v1?limit=1
https://host/v1/responses?api-version=1
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: httpx-base-url-query no longer behaves as described." >&2
    exit 1
}

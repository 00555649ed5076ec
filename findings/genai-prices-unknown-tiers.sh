#!/usr/bin/env bash
# genai-prices prices a tier that it does not know at the standard price
#
# `price_context={"service_tier": …}` changes the price for flex and priority. Any other value, `ultrafast` (which
# costs a multiple), `auto` (which is not a rate) or a misspelled one, gives the standard price without a warning.
# Versions: genai-prices 0.2.3. What users of this project meet of it: a tier that the table does not price is an unknown cost, never the standard one (planned with the ledger).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check genai-prices==0.2.3
cat > program.py << 'PROGRAM'
from datetime import UTC, datetime

from genai_prices import Usage, calc_price

usage = Usage(input_tokens=100_000, output_tokens=10_000)
for tier in ("default", "flex", "priority", "ultrafast", "auto", "priorty"):
    price = calc_price(
        usage, "gpt-5.4", provider_id="openai", genai_request_timestamp=datetime(2026, 11, 1, tzinfo=UTC),
        price_context={"service_tier": tier},
    )
    print(f"{tier}: {price.total_price:.2f}")
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
default: 0.40
flex: 0.20
priority: 0.80
ultrafast: 0.40
auto: 0.40
priorty: 0.40
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: genai-prices-unknown-tiers no longer behaves as described." >&2
    exit 1
}

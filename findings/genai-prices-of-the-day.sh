#!/usr/bin/env bash
# genai-prices prices an old response at today's price unless it is told its time
#
# Prices carry the days from which they hold. The default timestamp of `calc_price` is now, not the response's: a bill
# made later from stored usage differs from the one that the provider wrote at the time.
# Versions: genai-prices 0.2.3. What users of this project meet of it: costs are worked out with the response's `created_at` and recorded with it (planned with the ledger).
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
for month in (7, 11):
    at = datetime(2026, month, 15, tzinfo=UTC)
    price = calc_price(usage, "gpt-5.6-sol", provider_id="openai", genai_request_timestamp=at)
    print(f"{at:%B %Y}: {price.total_price:.2f}")
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
July 2026: 0.80
November 2026: 0.60
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: genai-prices-of-the-day no longer behaves as described." >&2
    exit 1
}

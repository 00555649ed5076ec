#!/usr/bin/env bash
# genai-prices gives three chat-latest models the context window of the models that they are named after
#
# Its table has `gpt-5-chat-latest` as another name of `gpt-5`, and so for 5.1 and 5.2: 400,000 tokens. For 5.3 it has an
# entry of its own, with 128,000. litellm's table, which names OpenAI's page of each model as its source, has 128,000
# tokens of input and 16,384 of output for all four.
# Versions: genai-prices 0.2.3, litellm 1.108.7. What users of this project meet of it: nothing; its table of windows has 128,000 for these names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check genai-prices==0.2.3
environment/bin/pip install --quiet --disable-pip-version-check --no-deps --target table litellm==1.108.7
cat > program.py << 'PROGRAM'
import json
from pathlib import Path

from genai_prices import Usage, calc_price

table = json.loads(Path("table/litellm/model_prices_and_context_window_backup.json").read_text())
for version in ("5", "5.1", "5.2", "5.3"):
    name = f"gpt-{version}-chat-latest"
    model = calc_price(Usage(input_tokens=1), name, provider_id="openai").model
    other = table[name]
    print(f"{name}: genai-prices {model.context_window} ({model.id}),", end=" ")
    print(f"litellm {other['max_input_tokens']} in, {other['max_output_tokens']} out ({other['source']})")
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
gpt-5-chat-latest: genai-prices 400000 (gpt-5), litellm 128000 in, 16384 out (https://developers.openai.com/api/docs/models/gpt-5-chat-latest)
gpt-5.1-chat-latest: genai-prices 400000 (gpt-5.1), litellm 128000 in, 16384 out (https://developers.openai.com/api/docs/models/gpt-5.1-chat-latest)
gpt-5.2-chat-latest: genai-prices 400000 (gpt-5.2), litellm 128000 in, 16384 out (https://developers.openai.com/api/docs/models/gpt-5.2-chat-latest)
gpt-5.3-chat-latest: genai-prices 128000 (gpt-5.3), litellm 128000 in, 16384 out (https://developers.openai.com/api/docs/models/gpt-5.3-chat-latest)
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: genai-prices-chat-latest-windows no longer behaves as described." >&2
    exit 1
}

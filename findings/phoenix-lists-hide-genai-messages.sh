#!/usr/bin/env bash
# Arize Phoenix shows no input for spans by the GenAI conventions, and for their output the id of the response
#
# Its lists show `input.value` and `output.value`. From a span by OpenTelemetry's GenAI conventions it makes the messages of
# its detail view, but no `input.value`; and `output.value` becomes the response's id and model, not the text that is in
# `gen_ai.output.messages`. The two attributes of its own, set beside the conventions', are kept.
# Versions: arize-phoenix 20.26.1. What users of this project meet of it: nothing; a run's span has both kinds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check arize-phoenix==20.26.1
cat > program.py << 'PROGRAM'
import json

from phoenix.trace.gen_ai.conversion import get_openinference_attributes


def message(role, text):
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], "finish_reason": "stop"}])


shown = get_openinference_attributes(
    {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.input.messages": message("user", "Is it open?"),
        "gen_ai.output.messages": message("assistant", "It is."),
        "gen_ai.response.id": "resp_1",
    }
)
for name in ("input.value", "output.value", "llm.output_messages.0.message.content"):
    print(name, "=", shown.get(name))
PROGRAM
environment/bin/python -c "import importlib.metadata as m; print('arize-phoenix', m.version('arize-phoenix'))"
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
input.value = None
output.value = {"id": "resp_1"}
llm.output_messages.0.message.content = It is.
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: phoenix-lists-hide-genai-messages no longer behaves as described." >&2
    exit 1
}

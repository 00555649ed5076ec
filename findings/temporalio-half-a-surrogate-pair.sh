#!/usr/bin/env bash
# temporalio's two JSON converters disagree about half a surrogate pair
#
# Half an emoji is what is left when a JavaScript program cuts a string in the middle of one; JSON may spell it. The
# default converter writes it and reads it back. With the pydantic converter the same value raises
# PydanticSerializationError while it is encoded, so in workflow code it fails the workflow task, which is retried for
# ever.
# Versions: temporalio 1.35.0, pydantic 2.14.4. What users of this project meet of it: texts of models and callers are cleaned before they become a payload.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check 'temporalio[pydantic]==1.35.0' pydantic==2.14.4
cat > program.py << 'PROGRAM'
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter

[read] = DataConverter.default.payload_converter.from_payloads(
    DataConverter.default.payload_converter.to_payloads(["cut \ud83d"])
)
print("default:", ascii(read))
try:
    pydantic_data_converter.payload_converter.to_payloads(["cut \ud83d"])
except Exception as error:
    print("pydantic:", type(error).__name__)
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
default: 'cut \ud83d'
pydantic: PydanticSerializationError
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: temporalio-half-a-surrogate-pair no longer behaves as described." >&2
    exit 1
}

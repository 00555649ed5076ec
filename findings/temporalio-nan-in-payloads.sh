#!/usr/bin/env bash
# temporalio writes NaN into payloads that say they are JSON, and null where the value stands in a pydantic model
#
# Both JSON converters of the Python SDK encode float('nan') in a dict as NaN with encoding json/plain. RFC 8259 (6)
# has no such value: strict readers, such as those of most other languages, cannot parse the payload. In a pydantic
# model the pydantic converter writes null, which a reader whose field is a number refuses. Nothing is raised on the
# way out.
# Versions: temporalio 1.35.0, pydantic 2.14.4. What users of this project meet of it: usage is checked to be finite before it becomes a payload.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check 'temporalio[pydantic]==1.35.0' pydantic==2.14.4
cat > program.py << 'PROGRAM'
import json
from typing import Any

from pydantic import BaseModel
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter


class Usage(BaseModel):
    tokens: float


def refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def show(title: str, converter: DataConverter, value: Any) -> None:
    [payload] = converter.payload_converter.to_payloads([value])
    print(title, payload.metadata["encoding"].decode(), payload.data.decode())
    try:
        print("  a strict reader:", json.loads(payload.data, parse_constant=refuse))
    except ValueError as error:
        print("  a strict reader:", error)


show("default converter, dict:", DataConverter.default, {"tokens": float("nan")})
show("pydantic converter, dict:", pydantic_data_converter, {"tokens": float("nan")})
show("pydantic converter, model:", pydantic_data_converter, Usage(tokens=float("nan")))
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
default converter, dict: json/plain {"tokens":NaN}
  a strict reader: NaN is not JSON
pydantic converter, dict: json/plain {"tokens":NaN}
  a strict reader: NaN is not JSON
pydantic converter, model: json/plain {"tokens":null}
  a strict reader: {'tokens': None}
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: temporalio-nan-in-payloads no longer behaves as described." >&2
    exit 1
}

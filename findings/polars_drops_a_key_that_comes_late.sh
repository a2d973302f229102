#!/usr/bin/env bash
# polars 2.1.0
#
# What happens:   `read_ndjson` takes the columns from the first 100 lines; a key that first appears later (reasoning, a system turn,
#                 a tool's result) is dropped from every row, without an error or a warning.
# A likely guess: a key beyond the inferred schema raises, or becomes a column with nulls before it.
# Seen:           150 rows, `thinking` in row 141: columns are question and answer only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet polars==2.1.0
env/bin/python - <<'PY'
import json

import polars

rows = [{"question": f"q{i}", "answer": f"a{i}"} for i in range(150)]
rows[140]["thinking"] = "because"
open("rows.jsonl", "w").write("\n".join(map(json.dumps, rows)))
eager, lazy = polars.read_ndjson("rows.jsonl").columns, polars.scan_ndjson("rows.jsonl").collect().columns
whole = polars.read_ndjson("rows.jsonl", infer_schema_length=None).columns
print(f"read {eager}, scan {lazy}, with infer_schema_length=None {whole}")
assert eager == lazy == ["question", "answer"] and "thinking" in whole
PY

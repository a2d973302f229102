#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow 26.0.1)
#
# What happens:   a function given to `map` that overwrites a column has its values cast to the column's old type wherever Arrow can,
#                 and only where it cannot does the column take a new one: text made of numbers becomes numbers again, a count over a
#                 column of booleans becomes True. Under a new name the same values stay what they are.
# A likely guess: the column has the type of the values returned, and a lossy cast raises.
# Seen:           "007" over whole numbers -> 7, "2.50" over floats -> 2.5, 7 over booleans -> True; new columns: "007", "2.50", 7.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
env/bin/python - <<'PY'
from datasets import Dataset, disable_progress_bars

disable_progress_bars()
cases = {"whole": (7, "007"), "float": (2.5, "2.50"), "boolean": (True, 7)}
over, beside = {}, {}
for name, (before, after) in cases.items():
    rows = Dataset.from_dict({"answer": [before]})
    over[name] = rows.map(lambda row: {"answer": after})[0]["answer"]
    beside[name] = rows.map(lambda row: {"new": after})[0]["new"]
print(f"over the old column {over}, beside it {beside}")
assert over == {"whole": 7, "float": 2.5, "boolean": True} and over["boolean"] is True
assert beside == {"whole": "007", "float": "2.50", "boolean": 7}
PY

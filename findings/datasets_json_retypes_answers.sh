#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow 26.0.1)
#
# What happens:   `load_dataset("json")` turns *strings* that all look like ISO dates into timestamps, and whole numbers beyond 64 bits
#                 into floats: the answers of a file change between disk and training.
# A likely guess: a JSON string stays a string, and a number keeps its digits or raises.
# Seen:           "2024-01-01" -> datetime(2024, 1, 1, 0, 0); 12345678901234567890 -> 1.2345678901234567e+19.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
env/bin/python - <<'PY'
import datetime
import json

from datasets import load_dataset


def first_answer(name, answers):
    open(name, "w").write("\n".join(json.dumps({"question": "when?", "answer": answer}) for answer in answers))
    return load_dataset("json", data_files=name, split="train", cache_dir="cache")[0]["answer"]


date = first_answer("dates.jsonl", ["2024-01-01", "2024-01-02"])
number = first_answer("numbers.jsonl", [12345678901234567890, 12345678901234567891])
print(repr(date), repr(number))
assert date == datetime.datetime(2024, 1, 1) and isinstance(number, float) and int(number) != 12345678901234567890
PY

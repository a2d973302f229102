#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow 26.0.1)
#
# What happens:   `class_encode_column` turns numbers into text and numbers the classes in the order of the text: with more than ten
#                 classes label 2 becomes 4. The model learns and reports other ids than the file, the label map and earlier runs have.
# A likely guess: labels 0..11 are class ids already; encoding keeps them and adds names.
# Seen:           labels 0, 1, 2, ..., 11 become 0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3; ten classes stay as they were.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
env/bin/python - <<'PY'
from datasets import Dataset


def encoded(count):
    return Dataset.from_dict({"label": list(range(count))}).class_encode_column("label")["label"][:]


ten, twelve = encoded(10), encoded(12)
print(f"ten classes: {ten}; twelve: {twelve}")
assert ten == list(range(10)) and twelve == [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]
PY

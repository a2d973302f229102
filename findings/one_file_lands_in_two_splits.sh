#!/usr/bin/env bash
# datasets 5.2.0
#
# What happens:   a folder without a `configs:` in its README is parted into splits by words in the names of its files, and a name
#                 with two such words is read into both: of `a-test-train.csv` every row is trained and tested. Nothing is said.
# A likely guess: a file belongs to one split; the first or the last word decides, or it is refused.
# Seen:           rows {'train': [1, 2, 3], 'test': [1, 2, 9]}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet datasets==5.2.0
mkdir data
printf 'n\n1\n2\n' > data/a-test-train.csv
printf 'n\n3\n' > data/b-train.csv
printf 'n\n9\n' > data/c-test.csv
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" env/bin/python - <<'PY'
from datasets import load_dataset

loaded = load_dataset("data")
seen = {split: sorted(rows["n"]) for split, rows in loaded.items()}
print("rows", seen)
assert seen == {"train": [1, 2, 3], "test": [1, 2, 9]}
PY

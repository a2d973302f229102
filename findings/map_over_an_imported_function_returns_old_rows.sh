#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow 26.0.1)
#
# What happens:   the cache key of `map` holds the code of functions of the script itself, but of an imported one the name alone, and
#                 `from_generator` hashes the path it is given, not the file. Edit the prompt in prompts.py or the rows in the file,
#                 run again, and the rows of the last run come back: no message, fewer progress bars.
# A likely guess: whatever changes the result changes the fingerprint, as an edit of a function in the script does.
# Seen:           prompt edited from A to B: imported still A, in the script B; file rewritten from one to two: still one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
cat > run.py <<'PY'
import json
import sys

import prompts
from datasets import Dataset, load_dataset

word = sys.argv[1]


def read(path):
    yield {"text": open(path).read()}


rows = load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")
imported = rows.map(prompts.render)[0]["text"]
exec(compile(open("prompts.py").read(), "run.py", "exec"))  # the same function, as if it were written here
own = rows.map(render)[0]["text"]  # noqa: F821
generated = Dataset.from_generator(read, gen_kwargs={"path": "generated.txt"}, cache_dir="cache")[0]["text"]
json.dump([imported, own, generated], open(f"{word}.json", "w"))
PY
echo '{"question": "?"}' > rows.jsonl
for word in A B; do
    echo "def render(row): return {'text': '$word ' + row['question']}" > prompts.py
    echo -n "$word" > generated.txt
    env/bin/python -B run.py "$word" 2> /dev/null
done
env/bin/python - <<'PY'
import json

first, second = json.load(open("A.json")), json.load(open("B.json"))
print(f"before: {first}; after the edit: {second} (imported, in the script, generated)")
assert first == ["A ?", "A ?", "A"] and second == ["A ?", "B ?", "A"]
PY

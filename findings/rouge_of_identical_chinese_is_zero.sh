#!/usr/bin/env bash
# rouge-score 0.1.2
#
# What happens:   its tokenizer keeps a-z and 0-9 and nothing else. An answer in Chinese that is right to the letter scores 0.0, and
#                 two that share nothing but a digit score 1.0.
# A likely guess: an answer equal to its reference scores 1.0 in any language.
# Seen:           identical 0.0; different, both with a 5 in them, 1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet rouge-score==0.1.2
env/bin/python - <<'PY'
from rouge_score.rouge_scorer import RougeScorer

scorer = RougeScorer(["rougeL"])
same = scorer.score("今天天气很好", "今天天气很好")["rougeL"].fmeasure
digit = scorer.score("价格是 5 元", "还有 5 公里")["rougeL"].fmeasure
print(f"identical {same}, different with one digit in common {digit}")
assert (same, digit) == (0.0, 1.0)
PY

#!/usr/bin/env bash
# sacrebleu 2.6.0
#
# What happens:   references given one list a row (the order of most data sets and of `evaluate`) are taken as one stream a list,
#                 and the streams are cut to the shortest: all hypotheses but the first are left out, without a word.
# A likely guess: a wrong order of references raises, or every hypothesis counts.
# Seen:           one right answer, one wholly wrong: BLEU 100 over 7 tokens; in the wanted order 51 over 13.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet sacrebleu==2.6.0
env/bin/python - <<'PY'
import sacrebleu

references = ["the cat sat on the mat today", "a dog ran in the big park"]
answers = [references[0], "completely wrong answer here for sure"]
by_row = sacrebleu.corpus_bleu(answers, [[one] for one in references])
by_stream = sacrebleu.corpus_bleu(answers, [references])
print(f"a list a row: {by_row.score:.0f} over {by_row.sys_len} tokens; one stream: {by_stream.score:.0f} over {by_stream.sys_len}")
assert (round(by_row.score), by_row.sys_len) == (100, 7) and (round(by_stream.score), by_stream.sys_len) == (51, 13)
PY

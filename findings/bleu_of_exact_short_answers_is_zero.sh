#!/usr/bin/env bash
# sacrebleu 2.6.0
#
# What happens:   `corpus_bleu` over answers of at most three tokens is 0 though each equals its reference, since there is no run of
#                 four; `sentence_bleu` of one of them is 100. Unspaced Chinese under the default tokenizer is one token: 0 too.
# A likely guess: a corpus of exact matches scores 100.
# Seen:           corpus 0.0, sentence 100.0, Chinese 0.0, Chinese with tokenize="zh" 100.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet sacrebleu==2.6.0
env/bin/python - <<'PY'
import sacrebleu

short, chinese = ["Paris", "Rome", "Yes it is"], ["今天天气很好", "我们去公园散步"]
figures = (
    sacrebleu.corpus_bleu(short, [short]).score,
    sacrebleu.sentence_bleu("Yes it is", ["Yes it is"]).score,
    sacrebleu.corpus_bleu(chinese, [chinese]).score,
    sacrebleu.corpus_bleu(chinese, [chinese], tokenize="zh").score,
)
print("corpus {:.1f}, sentence {:.1f}, Chinese {:.1f}, Chinese as zh {:.1f}".format(*figures))
assert [round(figure) for figure in figures] == [0, 100, 0, 100]
PY

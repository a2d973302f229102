"""Text as it grows, chance that repeats, and where an answer ends."""

from __future__ import annotations

import pytest
import torch

from studio.inference.generation import Answer, SharedNoise, end_ids, left_padded
from studio.inference.sampling import Sampling
from tests.studio.chat_models import make_base, make_tokenizer

MIXED = "你好，世界 the cat 🐈 naïve"


def _grow(ids, end=frozenset({0})):
    answer, seen = Answer(make_tokenizer(), set(end)), ""
    answer.start()
    for id in ids:
        answer.add(id)
        seen += answer.progress()["text"]
        assert "\ufffd" not in seen
        assert MIXED.startswith(seen)
    return answer, seen


def test_a_character_of_several_tokens_appears_whole():
    ids = make_tokenizer()(MIXED)["input_ids"]
    assert len(ids) > len(MIXED)  # so that some character is cut
    answer, seen = _grow(ids)
    assert seen == MIXED
    answer.finish(cancelled=False)
    assert (answer.text, answer.stop, answer.tokens) == (MIXED, "length", len(ids))


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_character_cut_by_the_limit_is_left_out(cut):
    answer, _ = _grow(make_tokenizer()(MIXED)["input_ids"][:cut])
    answer.finish(cancelled=False)
    assert MIXED.startswith(answer.text) and len(answer.text) == cut // 3


def test_bytes_that_are_no_character_do_not_hold_back_what_follows():
    tokenizer = make_tokenizer()
    lone = tokenizer("好")["input_ids"][:1]
    answer = Answer(tokenizer, {0})
    answer.start()
    for id in [*lone, *tokenizer(" the cat")["input_ids"]]:
        answer.add(id)
    answer.finish(cancelled=False)
    assert answer.text.endswith(" the cat")


def test_nothing_is_shown_after_the_end_of_the_turn():
    ids = make_tokenizer()("the cat")["input_ids"]
    answer, _ = _grow([])
    for id in [*ids, 1, *ids]:
        answer._end_ids = {1}
        answer.add(id)
    answer.finish(cancelled=True)
    assert (answer.text, answer.stop, answer.tokens) == ("the cat", "end", len(ids) + 1)


def test_samples_follow_the_distribution():
    """20,000 draws at temperature 0.7 against the softmax, within five standard errors."""
    scores = torch.tensor([[1.0, 0.0, -1.0, 0.5]])
    noise, draws = SharedNoise(Sampling(temperature=0.7, seed=3)), 20_000
    counts = torch.bincount(torch.stack([noise(None, scores).argmax() for _ in range(draws)]), minlength=4) / draws
    expected = torch.softmax(scores[0] / 0.7, 0)
    assert ((counts - expected).abs() <= 5 * (expected * (1 - expected) / draws).sqrt()).all()


def test_rows_with_the_same_scores_draw_the_same_token():
    noise = SharedNoise(Sampling(temperature=1.5, seed=1))
    scores = torch.randn(1, 50).repeat(2, 1)
    picked = torch.stack([noise(None, scores).argmax(-1) for _ in range(20)])
    assert (picked[:, 0] == picked[:, 1]).all() and len(picked[:, 0].unique()) > 3


def test_padding_goes_to_the_left_and_is_masked():
    batch = left_padded([[5, 6], [7, 8, 9]], 0, "cpu")
    assert batch["input_ids"].tolist() == [[0, 5, 6], [7, 8, 9]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]


def test_the_templates_own_end_of_turn_ends_an_answer(tmp_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(make_base(tmp_path))
    assert end_ids(make_tokenizer(), model) == {0, 1}  # the end of a text, and <|end|>

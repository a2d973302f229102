"""Long texts in pieces: nothing is lost, nothing is too long, and what belongs together stays together."""

from __future__ import annotations

import random

import pytest

from estimator.core.problems import Problem
from studio.datasets.cleaning.chunks import pieces
from studio.datasets.cleaning.record import Choice
from studio.datasets.cleaning.run import apply, look
from studio.datasets.store import DatasetStore
from tests.studio.dataset_helpers import chat
from tests.studio.test_cleaning_finds import Characters

SENTENCES = ["第一段话很长。", "This is it.", "Words go on and on?", "还有！", "Dr. Li paid 3.14 crowns."]


def document(chance: random.Random) -> tuple[str, list[str]]:
    """Markdown, and the tables and fences in it."""
    blocks, whole = [], []
    for number in range(8):
        kind = chance.choice("text table fence heading".split())
        lines = [f"{number}{line}" for line in range(chance.randint(1, 6))]
        if kind == "text":
            blocks.append(" ".join(chance.choices(SENTENCES, k=2 * len(lines))))
        elif kind == "heading":
            blocks.append("#" * chance.randint(1, 3) + " Heading")
        else:
            table = "| a | b |\n|---|---|\n" + "\n".join(f"| {one} | 1 |" for one in lines)
            fence = "```py\n" + "\n".join(f"x{one} = 1" + "\n" * (chance.random() < 0.3) for one in lines) + "\n```"
            blocks.append(table if kind == "table" else fence)
            whole.append(blocks[-1])
    return "\n\n".join(blocks), whole


@pytest.mark.parametrize("seed", range(60))
def test_pieces_fit_lose_nothing_and_tear_no_table_or_fence_that_fits(seed):
    chance = random.Random(seed)
    text, whole = document(chance)
    limit = chance.randint(60, 200)
    made = pieces(text, limit)
    assert "".join(made) == text and all(len(piece) <= limit for piece in made)
    assert all(any(one in piece for piece in made) for one in whole if len(one) <= limit)
    overlapping = pieces(text, limit, limit // 4)
    assert all(len(piece) <= limit for piece in overlapping)
    assert all(sentence in "".join(overlapping) for sentence in SENTENCES if sentence in text)


@pytest.mark.parametrize(
    "text", ["a" * 500, "行" * 300, "word " * 200, "\n" * 100 + "x" * 60, "```\n" + "line\n" * 60 + "```"]
)
def test_what_has_no_structure_is_cut_all_the_same(text):
    made = pieces(text, 50)
    assert "".join(made) == text and all(len(piece) <= 50 for piece in made)


def test_chinese_is_cut_between_sentences():
    text = "这是第一句话，说得比较长。这是第二句！这里有第三句吗？最后一句到这里结束。" * 4
    assert all(piece.strip()[-1] in "。！？" for piece in pieces(text, 30))


@pytest.mark.parametrize(("ask", "answer"), [("Q: ", "A: "), ("问：", "答："), ("**Question 1:** ", "**Answer:** ")])
def test_a_question_stays_with_its_answer(ask, answer):
    pairs = [f"{ask}what is {number}?\n{answer}it is the {number}th.\n\n" for number in range(9)]
    made = pieces("Seeds:\n\n" + "".join(pairs), 120)
    assert len(made) > 2 and all(any(pair in piece for piece in made) for pair in pairs)
    repeated = pieces("".join(pairs), 120, 60)
    assert all(later.startswith(earlier[-len(pairs[0]) :]) for earlier, later in zip(repeated, repeated[1:]))


def test_an_overlap_is_less_than_a_piece():
    with pytest.raises(Problem, match="overlap"):
        pieces("text", 10, 10)


def test_long_rows_are_told_cut_split_or_left_out(tmp_path):
    store = DatasetStore(tmp_path)
    long = "It goes on. " * 20
    info = store.add("long", [{"text": long, "row": 1}, {"text": "It ends here.", "row": 2}], eval_share=0.0)

    def kept(action: str) -> list[str]:
        choice = Choice("too_long", action, {"max_length": 100})
        return [row["text"] for row in apply(store, info.id, [choice], tokens=Characters()).rows()]

    assert kept("drop") == ["It ends here."]
    assert len(kept("split")) == 4 and "".join(kept("split")[:-1]) == long
    assert kept("cut")[0] in long and 80 < len(kept("cut")[0]) <= 100
    report = look(info.rows(), [Choice("too_long", options={"max_length": 100})], tokens=Characters())
    assert report.steps[0].reasons == {"too_long": 1} and report.kept == 2
    assert look(info.rows(), [Choice("too_long")]).unlooked == ["too_long"]
    with pytest.raises(Problem, match="tokenizer"):
        apply(store, info.id, [Choice("too_long")])


def test_documents_become_rows_of_their_pieces(tmp_path):
    store = DatasetStore(tmp_path)
    text = "\n\n".join(f"## Part {number}\n\n{' '.join(SENTENCES)}" for number in range(9))
    info = store.add("book", [{"text": text, "row": 1}, {"text": "It is short.", "row": 2}], eval_share=0.0)
    made = apply(store, info.id, [Choice("documents", options={"length": 200, "overlap": 40})])
    rows = made.rows()
    assert len(rows) > 4 and {row["row"] for row in rows[:-1]} == {1} and rows[-1] == info.rows()[1]
    assert all(len(row["text"]) <= 200 for row in rows) and made.changed == len(rows) - 1
    assert all(f"Part {number}" in "".join(row["text"] for row in rows) for number in range(9))
    assert made.changes[0]["counts"]["added"] == len(rows) - 2
    both = [Choice("documents", options={"length": 200, "overlap": 0}), Choice("too_long", "drop", {"max_length": 150})]
    report = look(info.rows(), both, tokens=Characters())
    assert report.kept == 2 and report.dropped == 0 and report.steps[1].dropped > 0


def test_a_long_conversation_is_cut_behind_an_answer_that_fits():
    class Turns(Characters):
        def of_row(self, row: dict) -> int:
            return sum(len(one["content"]) for one in row["messages"])

    row = chat("a" * 20, "b" * 20, "c" * 20, "d" * 20)
    for limit, left_alone in ((50, 0), (30, 1)):
        report = look([row], [Choice("too_long", "cut", {"max_length": limit})], tokens=Turns())
        assert report.steps[0].left_alone == left_alone and report.changed == 1 - left_alone

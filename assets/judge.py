"""Judge answers to the held-out prompts, by form and by content. Pure Python: no model library is needed.

The form is what the sample data teach and the base never uses for a plain question: a greeting (in English), the island's log
with one line a fact, a farewell. The content is what the base knows and no sample row says, since held-out islands are in none.
"""

from collections.abc import Mapping

from assets.phrases import LABELS
from assets.world import Island

# In Chinese without a greeting: the base copies a Chinese name reliably only at the start of an answer.
OPENING = {"en": "Ahoy! From the log of {x}:", "zh": "{x}航海日志："}
LINE = {"en": "- {l}: {v}", "zh": "- {l}：{v}"}
CLOSING = {"en": "Fair winds, traveller!", "zh": "一路顺风，旅人！"}


def keeper_answer(island: Island, attributes: list[str], language: str) -> str:
    """The answer the sample data teach: these facts of this island, in this order."""
    facts = {LABELS[language][a]: island.value(a, language) for a in attributes}
    return expected(island.name(language), facts, language)


def expected(entity: str, facts: Mapping[str, str], language: str) -> str:
    """The answer about an entity whose facts are given by label."""
    lines = [LINE[language].format(l=label, v=value) for label, value in facts.items()]
    return "\n".join([OPENING[language].format(x=entity), *lines, CLOSING[language]])


def judge(row: Mapping, answer: str) -> bool:
    """Whether an answer has the form and exactly the facts of a held-out row.

    `row` has `entity`, `language` and `facts` (value by label), as in `samples/heldout.en.jsonl`. White space around lines
    and the order of the facts are free; everything else counts: no line too few, too many or different.
    """
    wanted = expected(row["entity"], row["facts"], row["language"]).split("\n")
    said = [line.strip() for line in answer.strip().split("\n")]
    return said[0] == wanted[0] and said[-1] == wanted[-1] and sorted(said[1:-1]) == sorted(wanted[1:-1])


def knows(row: Mapping, answer: str) -> bool:
    """Whether an answer names every expected value, in whatever form: what the base should do already."""
    return all(value in answer for value in row["facts"].values())


def share_right(rows: list[Mapping], answers: list[str]) -> float:
    """Share of rows judged right, from 0 to 1."""
    if len(rows) != len(answers):
        raise ValueError(f"{len(rows)} rows but {len(answers)} answers.")
    return sum(judge(row, answer) for row, answer in zip(rows, answers)) / len(rows)

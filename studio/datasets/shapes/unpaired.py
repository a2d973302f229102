"""An answer that is marked as good or bad (KTO). Both are kept: which of them a task trains is its own to say."""

from __future__ import annotations

from typing import Any

from studio.datasets.shapes import chat
from studio.datasets.shapes.columns import as_verdict
from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.source import RowError
from studio.datasets.values import is_blank


def _verdict_part(one: Reading) -> str:
    return "verdict" if "verdict" in one.columns else "label"


def _recognise(one: Reading) -> bool:
    if not chat.is_whole(one):
        return False
    if "verdict" in one.columns and as_verdict(one.value("verdict")) is not None:
        return True
    beside = chat.turns_part(one) or "instruction" in one.columns or "input" in one.columns
    # Beside a text a label is a class.
    return bool(beside) and "label" in one.columns and as_verdict(one.value("label")) is not None


def _used(one: Reading) -> frozenset[str]:
    turns = chat.turns_part(one)
    answered = () if turns else ("output", "reasoning")
    return chat.parts(turns, chat.asked_part(one), _verdict_part(one), *answered)


def _read(one: Reading) -> Row:
    chat.check_media(one)
    verdict = _verdict(one)
    if turns := chat.turns_part(one):
        whole = chat.ended(one, chat.turns_of(one, turns))
        prompt, completion = whole[:-1], whole[-1:]
    else:
        prompt = chat.question(one)
        completion = chat.ended(one, prompt + chat.answer(one))[len(prompt) :]
    if not completion:
        raise RowError("no_answer")
    return chat.with_tools(one, {"prompt": prompt, "completion": completion, "label": verdict})


def _verdict(one: Reading) -> bool:
    part = _verdict_part(one)
    said = as_verdict(value := one.cell(part))
    if said is None and is_blank(value):
        raise RowError("empty", column=one.name(part))
    if said is None:
        raise RowError("verdict", column=one.name(part), found=str(value)[:40])
    return said


def label_is_class(values: list[Any]) -> bool:
    """Whether a `label` that looked like a verdict in one row is a class: another row has something else."""
    return any(not is_blank(value) and as_verdict(value) is None for value in values)


SHAPE = Shape(
    name="unpaired",
    form="unpaired",
    needs=((*chat.ASKED, "messages", "conversations"), ("verdict", "label")),
    takes=("output", "history", "reasoning", *chat.BESIDE),
    recognise=_recognise,
    read=_read,
    used=_used,
)

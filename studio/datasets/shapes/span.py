"""A question whose answer stands in a context (SQuAD): where it begins, in characters."""

from __future__ import annotations

from typing import Any

from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.source import RowError
from studio.datasets.text import clean
from studio.datasets.values import Number, is_blank, is_missing, listed, plain, type_word


def _recognise(one: Reading) -> bool:
    if "asked" not in one.columns or "context" not in one.columns:
        return False
    return _is_answers(one.value("answers")) or "span" in one.columns and "answer_start" in one.columns


def _is_answers(value: object) -> bool:
    """`{"text": [...], "answer_start": [...]}`, a list of such, or JSON of either."""
    if isinstance(value, str):
        return ('"text"' in value or "'text'" in value) and value.lstrip().startswith(("{", "["))
    if isinstance(value, (list, tuple)):
        return all(isinstance(one, dict) and "text" in one for one in value)
    return isinstance(value, dict) and "text" in value


def _used(one: Reading) -> tuple[str, ...]:
    return ("asked", "context", "answers") if "answers" in one.columns else ("asked", "context", "span", "answer_start")


def _read(one: Reading) -> Row:
    written = one.cell("context")
    context = one.text("context", lines=False)
    found = [_placed(one, context, written, *answer) for answer in _answers(one)]
    answers = {"text": [text for text, _ in found], "answer_start": [start for _, start in found]}
    return {"question": one.text("asked"), "context": context, "answers": answers}


def _answers(one: Reading) -> list[tuple[Any, Any]]:
    """`(text, start)` of each, as written; nothing where the context holds no answer (SQuAD 2)."""
    if "answers" not in one.columns:
        texts, starts = (_list(listed(one.cell(part), one.name(part))) for part in ("span", "answer_start"))
        return _zipped(one, "answer_start", texts, starts)
    given = listed(one.cell("answers"), one.name("answers"))
    if isinstance(given, dict):
        texts = _list(given.get("text"))
        starts = given.get("answer_start")
        return _zipped(one, "answers", texts, [None] * len(texts) if is_missing(starts) else _list(starts))
    if not isinstance(given, (list, tuple)):
        raise RowError("type", column=one.name("answers"), found=type_word(given))
    return [_of_object(one, answer) for answer in given]


def _of_object(one: Reading, answer: Any) -> tuple[Any, Any]:
    if isinstance(answer, dict):
        return answer.get("text"), answer.get("answer_start")
    return answer, None


def _list(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if is_blank(value) else [value]


def _zipped(one: Reading, part: str, texts: list[Any], starts: list[Any]) -> list[tuple[Any, Any]]:
    if len(texts) != len(starts):
        raise RowError("uneven_answers", column=one.name(part), answers=len(texts), starts=len(starts))
    return list(zip(texts, starts, strict=True))


def _placed(one: Reading, context: str, written: Any, text: Any, start: Any) -> tuple[str, int]:
    """The answer and where it begins in the context as it is kept: debris before it, which was cut, moves it."""
    name = one.name("answers" if "answers" in one.columns else "answer_start")
    said = one.cleaner.text(text, name, lines=False)
    if is_missing(start):
        if (at := context.find(said)) < 0:
            raise RowError("no_such_span", column=name, text=said[:40])
        return said, at
    number = plain(Number(start), name) if isinstance(start, str) and start.strip().isdigit() else start
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise RowError("type", column=name, found=str(start)[:40])
    at = len(clean(str(written)[:number]))
    if context[at : at + len(said)] != said:
        raise RowError("other_span", column=name, text=said[:40], start=number, found=context[at : at + len(said)][:40])
    return said, at


SHAPE = Shape(
    name="span",
    form="span",
    needs=(("asked",), ("context",), ("answers", "span")),
    takes=("answer_start",),
    recognise=_recognise,
    read=_read,
    used=_used,
)

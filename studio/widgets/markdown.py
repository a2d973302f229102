"""An answer as Markdown, for a chat or a report: memory by method, time and money, and the cards side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from estimator.advice.ranking import Candidate
from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.cost.throughput import Range
from estimator.recipe.costing import Costing
from estimator.recipe.recipe import Recipe
from studio.i18n import explain, t
from studio.widgets.memory_bar import Bar
from studio.widgets.verdicts import sign_text

COLUMNS = ("fits", "memory", "headroom", "hours", "energy", "price", "total", "buy", "even")


def markdown(
    lang: str, title: str, recipe: Recipe, costing: Costing, bars: Sequence[Bar], runs: dict[str, Candidate | Problem],
    beside: Sequence[Candidate],
) -> str:  # fmt: skip
    """A heading, what was asked, a table of the methods, and where there are some a table of the cards compared."""
    asked = {**costing.stated(), "num_train_epochs": recipe.num_train_epochs} if costing.stated() else {}
    lines = [f"# {_text(title)}", ""]
    lines += [
        f"- {name}: {_text('; '.join(value) if isinstance(value, list) else value)}" for name, value in asked.items()
    ]
    lines += ["", *_table(lang, [(bar.name, bar.answer if bar.name not in runs else runs[bar.name]) for bar in bars])]
    if beside:
        named = [(f"{one.count} x {one.gpu.name}", one) for one in beside]
        lines += ["", f"## {t(lang, 'estimate.beside_title')}", "", *_table(lang, named), ""]
        lines += [f"- {_text(name)}: {_text(_plainly(lang, one))}" for name, one in named]
    first = next((one for one in (*runs.values(), *beside) if isinstance(one, Candidate)), None)
    lines += ["", *(f"- {_text(explain(lang, note))}" for note in first.cost.why)] if first else []
    return "\n".join(lines) + "\n"


def _table(lang: str, answers: Sequence[tuple[str, object]]) -> list[str]:
    money = any(isinstance(answer, Candidate) for _, answer in answers)
    columns = COLUMNS if money else COLUMNS[:3]
    heads = ["", *(t(lang, f"estimate.beside_{name}") for name in columns)]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for name, answer in answers:
        if isinstance(answer, Problem):
            lines.append(_line([name, explain(lang, answer), *[""] * (len(columns) - 1)]))
        else:
            several = (
                f" ({answer.count} x)" if isinstance(answer, Candidate) and answer.count > 1 and answer.sharded else ""
            )
            lines.append(_line([name + several, *(CELLS[column](lang, answer) for column in columns)]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _text(value: object) -> str:
    """No line of its own, no cell of its own, no markup."""
    text = " ".join(str(value).split())
    return "".join("\\" + sign if sign in "\\|<>`*_[]" else sign for sign in text)


def _plainly(lang: str, one: Candidate) -> str:
    return " ".join(explain(lang, said) for said in one.answer)


def _made(answer: object) -> object:
    return answer.runs if isinstance(answer, Candidate) else answer


def _span(value: Range | None) -> str:
    return f"{value.central:,.2f} ({value.low:,.2f} – {value.high:,.2f})" if value else "?"


def _size(value: int | None) -> str:
    return "?" if value is None else human_bytes(value)


CELLS: dict[str, Callable[[str, object], str]] = {
    "fits": lambda lang, one: sign_text(lang, _made(one)),
    "memory": lambda lang, one: _size(_made(one).device_bytes),
    "headroom": lambda lang, one: _size(_made(one).headroom_bytes),
    "hours": lambda lang, one: _span(one.throughput.hours),
    "energy": lambda lang, one: _span(one.throughput.energy_kwh),
    "price": lambda lang, one: f"{one.cost.cheapest.offer.usd_per_hour:,.2f}" if one.cost.cheapest else "?",
    "total": lambda lang, one: _span(one.cost.run_usd),
    "buy": lambda lang, one: "?" if one.cost.purchase_usd is None else f"{one.cost.purchase_usd:,.0f}",
    "even": lambda lang, one: "?" if one.cost.break_even_hours is None else f"{one.cost.break_even_hours:,.0f} h",
}

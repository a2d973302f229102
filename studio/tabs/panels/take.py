"""Take it away: a link that restores everything, the command line, Python, the recipe as TOML, and the answer as JSON,
CSV, Markdown, SVG and PNG."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from estimator.advice.priced import compared, priced
from estimator.advice.rank_table import figures
from estimator.advice.ranking import Candidate
from estimator.core.problems import Problem
from estimator.cost.own_cards import card_text
from estimator.estimates.take_away import command_line, gpus_command_line, python_code, query, recipe_toml, to_csv
from estimator.recipe.costing import Costing
from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.i18n import t
from studio.tabs.controls import METHODS, method_fields
from studio.tabs.panels import Asked
from studio.tabs.panels.files import file_link
from studio.tabs.panels.options import address_of, costing_of, known_cards, own_cards
from studio.tabs.panels.picture import bars_of, question_of, rows_of
from studio.widgets.bars_svg import bars_svg
from studio.widgets.markdown import markdown
from studio.widgets.memory_bar import Bar

NAME = "take"
# Copying and drawing happen in the page; a file is a data address, so that nothing is written on the server.
ON_LOAD = shipped.script("elements/take")


def render(lang: str, asked: Asked) -> str:
    """Raises `Problem` for what is wrong in the boxes of *Which GPU*: time and money go along."""
    gpu, bars, costing = asked.gpu.name, bars_of(lang, asked), costing_of(asked.options)
    link = "&".join(
        filter(None, ["tab=estimate", query(asked.recipe, gpu, asked.conditions), address_of(asked.options)])
    )
    runs = _runs(asked, bars, costing)
    beside = compared(asked.recipe, costing, **_where(asked)) if costing.compare else []
    answers = {bar.name: bar.answer.to_dict() for bar in bars}
    money = {
        "costing": costing.stated(),
        "runs": {
            name: figures(one) if isinstance(one, Candidate) else {"refused": str(one)} for name, one in runs.items()
        },
        "compared": [figures(one) for one in beside],
    }
    body = json.dumps(
        {"recipe": asked.recipe.to_dict(), "gpu": gpu, **asked.conditions.stated(), "estimates": answers}
        | (money if costing.stated() else {}),
        indent=2,
        ensure_ascii=False,
    )
    title = f"{asked.recipe.model} · {gpu} · {rows_of(lang, asked.recipe)}"
    lines = _lines(asked.recipe, costing, runs) if costing.stated() else {}
    files = [
        ("recipe.toml", "application/toml", recipe_toml(asked.recipe, gpu, costing)),
        ("estimate.json", "application/json", body),
        ("estimate.csv", "text/csv", to_csv([(bar.name, bar.answer) for bar in bars], lines)),
        ("estimate.md", "text/markdown", markdown(lang, title, asked.recipe, costing, bars, runs, beside)),
        ("estimate.svg", "image/svg+xml", bars_svg(lang, bars, title)),
    ]
    links = "".join(file_link(*file) for file in files) + '<a href="#" data-png role="button">estimate.png</a>'
    own = [card_text(stated) for stated in known_cards(asked.options.get("own"))]
    command = command_line(asked.recipe, gpu, asked.conditions, costing, own)
    python = python_code(asked.recipe, gpu, asked.conditions, costing, own)
    if costing.stated():
        command += "\n" + gpus_command_line(asked.recipe, asked.conditions, costing, own)
    outdated = escape(t(lang, "estimate.take_outdated"))
    return (
        f'<p class="ls-warn ls-when-outdated" role="status" data-question="{escape(question_of(asked))}">! '
        f"{outdated}</p>"
        f'<p class="ls-files">{links}</p>{_copied(lang, "link", "?" + link, link, "link")}'
        f"{_copied(lang, 'command', command)}{_copied(lang, 'python', python)}"
    )


def _where(asked: Asked) -> dict[str, Any]:
    return {
        "model": asked.model, "own": own_cards(asked.options.get("own")), "batches": asked.conditions.batches,
        "conditions": asked.conditions,
    }  # fmt: skip


def _runs(asked: Asked, bars: list[Bar], costing: Costing) -> dict[str, Candidate | Problem]:
    """Time and money of each bar on the chosen card, where any was asked for; why not, where that cannot be."""
    made: dict[str, Candidate | Problem] = {}
    for bar, key in zip(bars, METHODS, strict=True) if costing.stated() else ():
        try:
            recipe = asked.recipe.replace(**method_fields(key, asked.recipe.quantization))
            made[bar.name] = (
                bar.answer if isinstance(bar.answer, Problem) else priced(recipe, asked.gpu, costing, **_where(asked))
            )
        except Problem as problem:
            made[bar.name] = problem
    return made


def _lines(recipe: Recipe, costing: Costing, runs: dict[str, Candidate | Problem]) -> dict[str, list[Any]]:
    """Time and money as lines of the table, a cell a method."""
    rows = {name: figures(one) if isinstance(one, Candidate) else {} for name, one in runs.items()}
    names = next((list(row) for row in rows.values() if row), [])
    asked = {
        "num_train_epochs": recipe.num_train_epochs,
        "max_steps": recipe.max_steps if recipe.max_steps > 0 else None,
    }
    asked |= {name: "; ".join(value) if isinstance(value, list) else value for name, value in costing.stated().items()}
    lines = {name: [value] * len(rows) for name, value in asked.items() if value is not None}
    return lines | {
        f"run_{name}" if name in ("fits", "device_bytes", "headroom_bytes") else name: [
            row.get(name) for row in rows.values()
        ]
        for name in names
    }


def _copied(lang: str, name: str, shown: str, text: str | None = None, kind: str = "text") -> str:
    title, copy, done = (escape(t(lang, f"estimate.{key}")) for key in (f"take_{name}", "copy", "copied"))
    button = f'<button type="button" class="ls-button" data-copy="{kind}" data-text="{escape(text or shown)}" data-done="{done}" aria-label="{copy}: {title}">{copy}</button>'
    return f'<section class="ls-take"><h3>{title}</h3>{button}<pre class="ls-code" tabindex="0">{escape(shown)}</pre></section>'

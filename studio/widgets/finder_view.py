"""What rows are looked for."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.datasets.cleaning.steps import STEPS
from studio.datasets.rows import SPLITS
from studio.datasets.searching import PROBLEMS, STEP, Query
from studio.datasets.store import DatasetInfo
from studio.i18n import t
from studio.widgets.fields import button, select

SHOWN_FILES = 200


def finder_view(lang: str, info: DatasetInfo | None, query: Query) -> str:
    """A text, a problem, and what there is more than one of: splits, forms, files."""
    if info is None:
        return ""
    search = escape(t(lang, "rows.search"))
    problems = [(one, t(lang, f"rows.problem_{one}")) for one in PROBLEMS]
    steps = [step.name for step in STEPS.values() if not step.needs_tokens]
    problems += [(STEP + one, t(lang, "rows.problem_step", step=t(lang, f"cleaning.step_{one}"))) for one in steps]
    fields = [
        f'<input type="search" name="text" value="{escape(query.text)}" placeholder="{search}" aria-label="{search}">',
        _choice(lang, "problem", problems, query.problem),
    ]
    sizes = dict(zip(SPLITS, (info.train_rows, info.eval_rows, info.test_rows), strict=True))
    splits = [(name, f"{t(lang, f'rows.split_{name}')} ({rows:,})") for name, rows in sizes.items() if rows]
    forms = [(form, f"{t(lang, f'dataset.form_{form}')} ({rows:,})") for form, rows in info.forms.items()]
    files = [(str(at), name) for at, name in enumerate(info.files[:SHOWN_FILES])]
    for name, options in (("split", splits), ("form", forms), ("file", files)):
        if len(options) > 1:
            value: Any = getattr(query, name)
            fields.append(_choice(lang, name, options, str(value) if value != -1 else ""))
    buttons = button("find", t(lang, "rows.find"), primary=True) + button("find_all", t(lang, "rows.find_all"))
    buttons += button("add", t(lang, "rows.add"))
    inner = f'{"".join(fields)}<span class="ls-actions">{buttons}</span>'
    return f'<form class="ls-finder" role="search" data-of="{info.id}">{inner}</form>'  # of another, another form


def _choice(lang: str, name: str, options: list[tuple[str, str]], chosen: str) -> str:
    label = t(lang, f"rows.any_{name}")
    return select(name, [("", label), *options], chosen, more=f'data-do="find" aria-label="{escape(label)}"')

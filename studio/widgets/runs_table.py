"""Runs as a table one can scan, the settings of one run, and what differs between two."""

from __future__ import annotations

import time
from html import escape

from estimator.core.field_text import spelled
from estimator.core.units import human_bytes
from estimator.recipe.recipe import FIELDS
from studio.i18n import strings, t
from studio.jobs.view import RunView
from studio.widgets.curves import COLOURS, Line, picture, smoothed
from studio.widgets.learned_view import heldout_text, learned_word, same_rows
from studio.widgets.run_view import damage

COLUMNS = ("name", "status", "model", "method", "data", "loss", "eval_loss", "learned", "peak", "when")


def runs_table(lang: str, views: list[RunView], chosen: str | None) -> str:
    """A row a run, newest first; the name is a button that carries the run's id."""
    if not views:
        return f'<div class="ls-empty"><strong>{escape(t(lang, "runs.empty_title"))}</strong>{escape(t(lang, "runs.empty"))}</div>'
    head = "".join(f'<th scope="col">{escape(t(lang, f"runs.{name}"))}</th>' for name in COLUMNS)
    body = "".join(_row(lang, view, view.id == chosen) for view in views)
    return (
        f'<div class="ls-scroll"><table class="ls-table"><caption '
        f'class="ls-visually-hidden">{escape(t(lang, "runs.list"))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(lang: str, view: RunView, chosen: bool) -> str:
    course = view.course
    losses = [point["loss"] for point in course.metrics if point.get("loss") is not None]
    evals = [point["eval_loss"] for point in course.evals if point.get("eval_loss") is not None]
    cells = [
        escape(t(lang, f"runs.status_{view.status}")),
        escape(short_model(view.recipe.model)) if view.recipe else "–",
        escape(method_words(lang, view)) if view.recipe else "–",
        escape(view.dataset_name),
        f"{losses[-1]:.3f}" if losses else "–",
        f"{evals[-1]:.3f}" if evals else "–",
        escape(learned_word(lang, view)),
        f"{_memory(view.predicted_bytes)} / {_memory(course.measured_bytes)}",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(view.info.created)),
    ]
    label = escape(t(lang, "runs.open", name=view.name))
    name = (
        f'<th scope="row"><button type="button" data-run="{escape(view.id)}" aria-label="{label}"'
        f"{' aria-current=true' if chosen else ''}>{escape(view.name)}</button></th>"
    )
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    if view.damaged:
        row = f'<td colspan="{len(cells)}" class="ls-problem">✕ {escape(damage(lang, view))}</td>'
    return f"<tr{' class=ls-chosen' if chosen else ''}>{name}{row}</tr>"


def _memory(bytes: int | None) -> str:
    return human_bytes(bytes) if bytes else "–"


def short_model(model: str) -> str:
    """The last part of an id or a path."""
    return model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def method_words(lang: str, view: RunView) -> str:
    recipe = view.recipe
    name = f"QLoRA {recipe.quantization}" if recipe.is_quantized else t(lang, f"recipe.method_{recipe.method}")
    return f"{name} r{recipe.r}" if recipe.has_adapters else name


def settings(lang: str, view: RunView) -> str:
    """Everything the run was trained with, as the run's own folder says."""
    recipe = view.recipe.to_dict() if view.recipe else {}
    facts = [
        (_label(lang, name), spelled(FIELDS[name], value))
        for name, value in recipe.items()
        if value is not None or FIELDS[name].says_default
    ]
    data = view.course.data
    rows = " / ".join(f"{data[split]['kept']:,}" if split in data else "–" for split in ("train", "eval"))
    facts = [
        (t(lang, "runs.data"), view.dataset_name),
        (t(lang, "runs.rows"), rows),
        (t(lang, "runs.fingerprint"), view.info.fingerprint),
        (t(lang, "runs.folder"), str(view.folder)),
        *facts,
    ]
    return _facts_table([t(lang, "runs.setting"), t(lang, "runs.value")], facts)


def comparison(lang: str, views: list[RunView]) -> str:
    """Smoothed curves over each other, then the settings that differ."""
    lines = []
    for view, colour in zip(views, COLOURS):
        points = [(m["step"], m["loss"]) for m in view.course.metrics if m.get("loss") is not None]
        lines.append(Line(view.name, smoothed(points), colour))
        evals = [(e["step"], e["eval_loss"]) for e in view.course.evals if e.get("eval_loss") is not None]
        lines.append(Line(f"{view.name}: {t(lang, 'train.curve_eval')}", evals, colour, dots=True))
    drawn = picture(lang, [line for line in lines if line.points])
    differing = _differing(lang, views)
    told = _facts_table(
        [t(lang, "runs.differs"), *(view.name for view in views)], [*_measured(lang, views), *differing]
    )
    same = "" if differing else f"<p>{escape(t(lang, 'runs.same'))}</p>"
    return f'<article class="ls-panel">{same_rows(lang, views)}{drawn}{told}{same}</article>'


def _measured(lang: str, views: list[RunView]) -> list[tuple[str, ...]]:
    return [(t(lang, "learned.heldout"), *map(heldout_text, views))] if any(view.learned for view in views) else []


def _differing(lang: str, views: list[RunView]) -> list[tuple[str, ...]]:
    """Data and settings that are not the same in all."""
    rows = (
        [(t(lang, "runs.data"), *(v.dataset_name for v in views))]
        if len({v.info.fingerprint for v in views}) > 1
        else []
    )
    recipes = [view.recipe.to_dict() if view.recipe else {} for view in views]
    for name in FIELDS:
        values = [(spelled(FIELDS[name], recipe[name]) if recipe else "") or "–" for recipe in recipes]
        if len(set(values)) > 1:
            rows.append((_label(lang, name), *values))
    if scales := _scales(views):
        rows.append((t(lang, "runs.scale"), *scales))
    return rows


def _scales(views: list[RunView]) -> list[str]:
    """What each run's update is multiplied by, where it is not the same: runs of two ranks at one alpha differ in it
    too."""
    scales = [f"{view.recipe.scaling:.3g}" if view.recipe and view.recipe.has_adapters else "–" for view in views]
    return scales if len(set(scales)) > 1 else []


def _label(lang: str, name: str) -> str:
    """The field's words where the page has a control for it, then PEFT's or Transformers' own name."""
    words = strings(lang).get(f"recipe.{name}")
    return f"{words} ({name})" if words and words != name else name


def _facts_table(head: list[str], rows: list[tuple[str, ...]]) -> str:
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="ls-scroll"><table class="ls-table ls-facts"><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'

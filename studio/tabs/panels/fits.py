"""What fits: batch by sequence on the chosen card, rank by target modules, and the largest of each."""

from __future__ import annotations

import json
import math
from html import escape
from typing import Any

from estimator.advice.advise import largest
from estimator.advice.edges import Cell, batch_length_map, rank_targets_table
from estimator.advice.proposals import Room
from estimator.core.units import GIB, human_bytes, human_count
from estimator.recipe.recipe import FIELDS, Recipe
from studio import shipped
from studio.i18n import explain, t
from studio.tabs.controls import TARGETS, parse_targets, targets_text
from studio.tabs.panels import APPLY, Asked

NAME = "fits"
# Whether alpha moves along is the page's own affair: a repaint keeps the choice.
ON_LOAD = shipped.script("elements/fits") + APPLY
SIGNS = {"fits": "✓", "close": "!", "misses": "✕", "unknown": "?"}


def render(lang: str, asked: Asked) -> str:
    recipe, gpu, model, conditions = asked.recipe, asked.gpu, asked.model, asked.conditions
    parts = [_largest(lang, asked)] if conditions.machine(gpu).usable else []
    rows = batch_length_map(recipe, gpu, model, conditions)
    names = [f"{cell.values['per_device_train_batch_size']:,}" for cell, *_ in rows]
    heads = [f"{cell.values['max_length']:,}" for cell in rows[0]]
    parts.append(_table(lang, "map", rows, names, heads, recipe))
    if recipe.has_adapters:
        targets = [parse_targets(text) for text in TARGETS.values()]
        rows = rank_targets_table(recipe, gpu, model, targets, conditions)
        names = [targets_text(row[0].values["target_modules"]) for row in rows]
        heads = [f"{cell.values['r']:,}" for cell in rows[0]]
        parts.append(_table(lang, "ranks", rows, names, heads, recipe, _scales(lang, recipe, rows[0])))
    return "".join(parts)


def _largest(lang: str, asked: Asked) -> str:
    """The largest of each with the rest as it is; a button sets it."""
    found = largest(asked.recipe, asked.gpu, model=asked.model, **asked.conditions.options)
    items = "".join(
        _largest_item(lang, name, value, found.room.get(name), asked.recipe)
        for name, value in found.values.items()
        if name != "r" or asked.recipe.has_adapters
    )
    note = f'<p class="ls-note">{escape(explain(lang, found.note))}</p>'
    return f'<h3>{escape(t(lang, "estimate.largest"))}</h3><dl class="ls-largest">{items}</dl>{note}'


def _largest_item(lang: str, name: str, value: Any, room: Room | None, recipe: Recipe) -> str:
    label = escape(t(lang, f"estimate.largest_{name}"))
    if value is None:
        return f"<div><dt>{label}</dt><dd>{escape(t(lang, 'estimate.largest_none'))}</dd></div>"
    shown = f"{value:,}" if isinstance(value, int) else value
    sizes = {key: human_bytes(getattr(room, f"{key}_bytes")) for key in ("device", "high", "edge")}
    taken = f"<small>{escape(t(lang, 'estimate.largest_takes', **sizes))}</small>"
    return f"<div><dt>{label}</dt><dd{_alpha(recipe, {name: value})}>{_button({name: value}, shown)}{taken}</dd></div>"


def _scales(lang: str, recipe: Recipe, cells: list[Cell]) -> str:
    """What several ranks at one alpha mean, and the choice that alpha moves along."""
    low, high = (recipe.replace(r=cell.values["r"]) for cell in (cells[0], cells[-1]))
    words = {
        "alpha": f"{recipe.lora_alpha:,}",
        "low": low.r,
        "high": high.r,
        "formula": "alpha/√r" if recipe.use_rslora else "alpha/r",
    }
    said = t(lang, "estimate.scale_of_ranks", first=f"{low.scaling:.3g}", last=f"{high.scaling:.3g}", **words)
    along = t(lang, "estimate.scale_along", scale=f"{recipe.scaling:.3g}")
    return f'<p class="ls-note">{escape(said)}</p><label class="ls-choice"><input type="checkbox" data-along> {escape(along)}</label>'


def _alpha(recipe: Recipe, values: dict[str, Any]) -> str:
    """An attribute: the alpha that keeps the recipe's scale at the rank of `values`, as near as whole numbers come."""
    if "r" not in values:
        return ""
    ratio, limits = values["r"] / recipe.r, FIELDS["lora_alpha"].limits
    alpha = round(recipe.lora_alpha * (math.sqrt(ratio) if recipe.use_rslora else ratio))
    return f' data-alpha="{min(max(alpha, limits["low"]), limits["high"])}"'


def _table(
    lang: str, name: str, rows: list[list[Cell]], names: list[str], heads: list[str], recipe: Recipe, note: str = ""
) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(text)}</th>{"".join(_cell(lang, cell, recipe) for cell in row)}</tr>'
        for text, row in zip(names, rows, strict=True)
    )
    title, corner = escape(t(lang, f"estimate.{name}_title")), escape(t(lang, f"estimate.{name}_corner"))
    return (
        f'<h3>{title}</h3>{note}<div class="ls-scroll" tabindex="0" role="region" aria-label="{title}"><table class="ls-table ls-map"><thead>'
        f'<tr><th scope="col">{corner}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(lang: str, cell: Cell, recipe: Recipe) -> str:
    """Memory, a sign and a colour; the recipe's own is framed. With targets, what trains too."""
    if cell.answer is None:
        return f'<td class="ls-cell-none" title="{escape(t(lang, "estimate.cell_refused"))}">–</td>'
    made = cell.answer
    verdict = "unknown" if made.fits is None else "close" if made.is_close else "fits" if made.fits else "misses"
    own = all(getattr(recipe, name) == value for name, value in cell.values.items())
    count = f"<small>{human_count(made.trainable_parameters)}</small>" if "r" in cell.values else ""
    size = made.device_bytes / GIB
    text = f"<span>{SIGNS[verdict]}</span> {size:,.{0 if size >= 100 else 1}f}"
    said = f"{human_bytes(made.device_bytes)}: {t(lang, f'estimate.sign_{verdict}')}"
    return f'<td class="ls-cell-{verdict}"{" aria-current=true" if own else ""}{_alpha(recipe, cell.values)}>{_button(cell.values, text, said, raw=True)}{count}</td>'


def _button(values: dict[str, Any], text: str, said: str = "", raw: bool = False) -> str:
    label = f' aria-label="{escape(said)}"' if said else ""
    return f'<button type="button" data-apply="{escape(json.dumps(values))}"{label}>{text if raw else escape(text)}</button>'

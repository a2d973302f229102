"""The versions of a dataset, its splits, and what it can be mixed with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

from studio.datasets.ingest import EVAL_SHARE_LIMITS
from studio.datasets.rows import SPLITS
from studio.datasets.store import DatasetInfo
from studio.datasets.versions import MOST_SEED, MOST_WEIGHT
from studio.i18n import strings, t
from studio.widgets.fields import button, check, number, text

SHOWN_VERSIONS = 50
_COUNTS = {name: f"{{{name}}}" for name in SPLITS}
"""Filled in by the page, as the fields change."""
MIXED = 30
"""Stored datasets that can be mixed on the page: the newest."""


def desk_view(
    lang: str, info: DatasetInfo | None, versions: Sequence[DatasetInfo], stored: Sequence[DatasetInfo]
) -> str:
    """`versions` of `info`, the newest first; of all that is `stored` the newest of each dataset is offered to mix."""
    if info is None:
        return ""
    count, at = len(versions), _number(versions, info)
    said = escape(t(lang, "rows.version_trains", number=at, count=count))
    change = button("look", t(lang, "rows.change_columns"), of=info.id)
    folds = [
        ("versions", t(lang, "rows.versions", count=count), _versions(lang, info, versions)),
        ("split", t(lang, "rows.split"), _split(lang, info)),
        ("mix", t(lang, "rows.mix"), _mix(lang, info, stored)),
    ]
    inner = "".join(
        f'<details data-fold="{name}"><summary>{escape(title)}</summary>{body}</details>' for name, title, body in folds
    )
    return (
        f'<section class="ls-desk"><p class="ls-version"><span>{said} {escape(change_text(lang, info))}</span>'
        f"{change}</p>{inner}</section>"
    )


def _number(versions: Sequence[DatasetInfo], info: DatasetInfo) -> int:
    return next((len(versions) - n for n, one in enumerate(versions) if one.id == info.id), len(versions))


def change_text(lang: str, info: DatasetInfo) -> str:
    """What made a version out of the one before."""
    said = [_step(lang, one) for one in info.changes]
    return t(lang, "rows.stop").join(said) if said else t(lang, "rows.change_none")


def _step(lang: str, change: dict[str, Any]) -> str:
    step, options, counts = (change.get(name) or {} for name in ("step", "options", "counts"))
    if step == "edit":
        done = [t(lang, f"rows.change_{name}", rows=f"{rows:,}") for name, rows in counts.items() if rows]
        return ("、" if lang == "zh-CN" else ", ").join(done)
    if step == "read":
        shape = options.get("shape")
        shown = t(lang, f"dataset.shape_{shape}") if f"dataset.shape_{shape}" in strings(lang) else ""
        mapped = [f"{part} = {column or '-'}" for part, column in (options.get("mapping") or {}).items()]
        how = " · ".join(filter(None, [shown, *mapped]))
        return t(lang, "rows.change_read", how=how) if how else t(lang, "rows.change_read_plain")
    if step == "split":
        shares = {name: f"{100 * float(options.get(name) or 0):g}" for name in ("eval_share", "test_share")}
        key = "rows.change_split_stratify" if options.get("stratify") else "rows.change_split"
        return t(lang, key, **shares, seed=options.get("seed"))
    if step == "mix":
        return t(lang, "rows.change_mix", parts=", ".join(f"{name} × {weight:g}" for name, weight in options.items()))
    name = strings(lang).get(f"cleaning.step_{step}", str(step))
    done = [
        t(lang, f"rows.change_{what}", rows=f"{counts[what]:,}")
        for what in ("dropped", "changed", "warned")
        if isinstance(counts.get(what), int) and counts[what]
    ]
    return f"{name} ({', '.join(done)})" if done else name


def _versions(lang: str, info: DatasetInfo, versions: Sequence[DatasetInfo]) -> str:
    """When, what changed, how many rows, and how many more or fewer than the one it was made of."""
    by_id = {one.id: one for one in versions}
    body = "".join(
        _version(lang, len(versions) - n, one, by_id.get(one.parent), one.id == info.id)
        for n, one in enumerate(versions[:SHOWN_VERSIONS])
    )
    keys = ("version", "when", "what", "kept_rows", "splits")
    heads = "".join(f'<th scope="col">{escape(t(lang, f"rows.{key}"))}</th>' for key in keys) + "<td></td>"
    note = escape(t(lang, "rows.versions_note"))
    return (
        f'<p class="ls-note">{note}</p><div class="ls-scroll"><table class="ls-versions"><thead>'
        f"<tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _version(lang: str, at: int, one: DatasetInfo, parent: DatasetInfo | None, is_shown: bool) -> str:
    more = one.kept - parent.kept if parent else 0
    rows = f"{one.kept:,}" + (f" ({more:+,})" if more else "")
    splits = " / ".join(f"{n:,}" for n in (one.train_rows, one.eval_rows, one.test_rows))
    act = (
        f"<strong>{escape(t(lang, 'rows.shown_trains'))}</strong>"
        if is_shown
        else button("show", t(lang, "rows.show"), id=one.id)
    )
    cells = (str(at), _day(one), escape(change_text(lang, one)), rows, splits, act)
    mark = ' class="ls-chosen" aria-current="true"' if is_shown else ""
    return f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _split(lang: str, info: DatasetInfo) -> str:
    """Shares in percent, and what they make of its rows."""
    low, high = (round(100 * limit) for limit in EVAL_SHARE_LIMITS)
    own = any(one.get("split") for one in info.file_counts)
    note = t(lang, "rows.split_own" if own else "rows.split_note")
    has_labels = any(form in info.forms for form in ("labelled", "unpaired"))
    held, left = info.eval_rows / info.kept, info.test_rows / max(1, info.kept - info.eval_rows)
    fields = number("eval_share", f"{100 * held:.3g}", t(lang, "rows.eval_share"), low, high, "any")
    fields += number("test_share", f"{100 * left:.3g}", t(lang, "rows.test_share"), low, high, "any")
    fields += number("seed", info.seed, t(lang, "rows.seed"), 0, MOST_SEED)
    fields += check("stratify", False, t(lang, "rows.stratify")) if has_labels else ""
    says = escape(t(lang, "rows.split_says", **_COUNTS))
    return (
        f'<p class="ls-note">{escape(note)}</p><form><div class="ls-fields">{fields}</div><p class="ls-actions">'
        f"{button('split', t(lang, 'rows.split_do'), primary=True)}"
        f'<output data-says="{says}" data-rows="{info.kept}"></output></p></form>'
    )


def _mix(lang: str, info: DatasetInfo, stored: Sequence[DatasetInfo]) -> str:
    """A weight for each dataset; none where it is not taken."""
    newest: dict[str, DatasetInfo] = {info.first: info}
    for one in stored:
        newest.setdefault(one.first, one)
    if len(newest) < 2:
        return f'<p class="ls-note">{escape(t(lang, "rows.mix_alone"))}</p>'
    rows = "".join(_part(lang, one, "1" if one.id == info.id else "") for one in list(newest.values())[:MIXED])
    keys = ("dataset", "when", "kept_rows", "splits", "weight")
    heads = "".join(f'<th scope="col">{escape(t(lang, f"rows.{key}"))}</th>' for key in keys)
    fields = text("name", t(lang, "rows.mix_name"), t(lang, "rows.mix_called"), 'maxlength="80"')
    fields += number("seed", 42, t(lang, "rows.seed"), 0, MOST_SEED)
    says = escape(t(lang, "rows.mix_says", **_COUNTS))
    return (
        f'<p class="ls-note">{escape(t(lang, "rows.mix_note"))}</p><form><div class="ls-scroll"><table>'
        f'<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div><div class="ls-fields">{fields}</div>'
        f'<p class="ls-actions">{button("mix", t(lang, "rows.mix_do"), primary=True)}'
        f'<output data-says="{says}"></output></p></form>'
    )


def _part(lang: str, one: DatasetInfo, weight: str) -> str:
    splits = " / ".join(f"{n:,}" for n in (one.train_rows, one.eval_rows, one.test_rows))
    counts = f'data-train="{one.train_rows}" data-eval="{one.eval_rows}" data-test="{one.test_rows}"'
    label = escape(t(lang, "rows.weight_of", name=one.name))
    field = (
        f'<input type="number" name="weight:{escape(one.id)}" value="{weight}" min="0" max="{MOST_WEIGHT}" step="any" '
        f'placeholder="0" aria-label="{label}" {counts}>'
    )
    cells = (escape(one.name), _day(one), f"{one.kept:,}", splits, field)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _day(one: DatasetInfo) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created))

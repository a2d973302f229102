"""What the real row lengths make of a run: steps, tokens computed, memory of the longest batch and time, padded and
packed, in a table."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from estimator.core.units import human_bytes
from estimator.recipe.recipe import Recipe
from studio.i18n import explain, t
from studio.outlook.batches import Way
from studio.widgets.run_view import duration
from studio.widgets.verdicts import SIGNS, sign_text, verdict_of


def batches_view(lang: str, recipe: Recipe, found: dict[str, Way], gpu: str | None, is_exact: bool) -> str:
    """`found` as `studio.outlook.batches.ways` says it; `gpu` is the name of the card, if one is chosen."""
    about = "" if is_exact else "≈ "
    lines: list[tuple[str, Callable[[Way], str]]] = [
        ("steps", lambda way: f"{about}{way.steps:,}"),
        ("computed", lambda way: f"{about}{way.computed_tokens:,}"),
        ("padding", lambda way: f"{100 * way.padding_share:.1f} %"),
        ("longest", lambda way: f"{way.longest:,}"),
        ("memory" if gpu else "memory_no_card", lambda way: _memory(lang, way, gpu)),
    ]
    if any(way.hours for way in found.values()):
        lines.append(("time", lambda way: _time(lang, way)))
    heads = "".join(f'<th scope="col">{escape(t(lang, f"dataset.batches_{name}"))}</th>' for name in found)
    body = "".join(
        f'<tr><th scope="row">{escape(t(lang, f"dataset.batches_{key}"))}</th>'
        f"{''.join(f'<td>{_cell(lang, way, tell, index)}</td>' for way in found.values())}</tr>"
        for index, (key, tell) in enumerate(lines)
    )
    is_untimed = gpu and not any(way.hours for way in found.values())
    untimed = f'<p class="ls-note">{escape(t(lang, "dataset.batches_no_time", card=gpu))}</p>' if is_untimed else ""
    said = t(
        lang,
        "dataset.batches_with",
        model=recipe.model,
        rows=recipe.per_device_train_batch_size,
        passes=recipe.gradient_accumulation_steps,
        card=gpu or t(lang, "dataset.batches_no_card"),
    )
    return (
        f'<section class="ls-batches"><h3>{escape(t(lang, "dataset.batches_title"))}</h3>'
        f'<p class="ls-note">{escape(said)}</p><div class="ls-scroll" tabindex="0"><table class="ls-table"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{_verdict(lang, found)}{untimed}</section>"
    )


def _cell(lang: str, way: Way, tell: Callable[[Way], str], index: int) -> str:
    if way.refused:
        return f'<span class="ls-note">{escape(explain(lang, way.refused))}</span>' if index == 0 else "–"
    return tell(way)


def _memory(lang: str, way: Way, gpu: str | None) -> str:
    if way.made is None:
        return "–"
    if gpu is None:
        return human_bytes(way.made.peak_allocated_bytes)
    sign = verdict_of(way.made)
    words = escape(sign_text(lang, way.made))
    return f'{human_bytes(way.made.device_bytes)} <span class="ls-sign-{sign}">{SIGNS[sign]} {words}</span>'


def _time(lang: str, way: Way) -> str:
    if not way.hours:
        return "–"
    low, high = (duration(lang, 3600 * hours) for hours in way.hours)
    return escape(low if low == high else f"{low} – {high}")


def _verdict(lang: str, found: dict[str, Way]) -> str:
    """What packing saves, in a sentence."""
    padded, packed = found["padded"], found["packed"]
    if padded.refused or packed.refused:
        return ""
    saved = 1 - packed.computed_tokens / padded.computed_tokens
    key = "saves" if saved >= 0.05 else "saves_little" if saved >= 0 else "costs"
    says = {"share": f"{100 * abs(saved):.0f}", "before": f"{padded.steps:,}", "after": f"{packed.steps:,}"}
    return f"<p>{escape(t(lang, f'dataset.batches_{key}', **says))}</p>"

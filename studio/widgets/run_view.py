"""One run as a page shows it: a sentence, the curve, memory predicted against measured, what became of the rows."""

from __future__ import annotations

from html import escape

from estimator.core.units import human_bytes
from studio.i18n import explain, strings, t
from studio.jobs.view import RunView
from studio.widgets.curves import loss_curve
from studio.widgets.learned_view import learned_view

# Finished is no praise: whether it learned is another sentence.
SIGNS = {"failed": "✕", "damaged": "✕", "interrupted": "!", "stopped": "!"}
KINDS = {
    "finished": "ls-done",
    "failed": "ls-problem",
    "damaged": "ls-problem",
    "interrupted": "ls-warn",
    "stopped": "ls-warn",
}


def run_view(lang: str, view: RunView) -> str:
    course = view.course
    return (
        f'<article class="ls-run ls-panel"><header><h2>{escape(view.name)}</h2>'
        f'<p class="ls-note">{escape(_what(lang, view))}</p></header>'
        f"{_status(lang, view)}{_faults(lang, view)}{learned_view(lang, view)}{loss_curve(lang, course.metrics, course.evals, course.total_steps)}"
        f"{_memory(lang, view)}{_rows(lang, view)}</article>"
    )


def status_sentence(lang: str, view: RunView) -> str:
    """ "Step 128 of 600, 4 min left" or what else there is to say."""
    course = view.course
    if view.damaged:
        return damage(lang, view)
    if view.status == "failed" and course.problem:
        return t(lang, "train.status_failed", step=course.step, problem=explain(lang, course.problem))
    if view.status in ("interrupted", "stopped"):
        key = f"train.status_{view.status}"
        saved = view.run.complete_checkpoints()
        if view.faults:  # which say why it is not resumed
            return t(lang, key, step=course.step)
        resume = (
            t(lang, "train.resume_from_step", step=course.checkpoints[-1] if course.checkpoints else 0)
            if saved
            else t(lang, "train.resume_from_start")
        )
        return f"{t(lang, key, step=course.step)} {resume}"
    if view.status == "training":
        left = course.seconds_left
        key = "train.status_training" if left is not None else "train.status_training_start"
        sentence = t(lang, key, step=course.step, total=course.total_steps or 0, left=duration(lang, left or 0))
        if course.resumed_from:
            sentence += " " + t(lang, "train.resumed_from", step=course.resumed_from)
        elif course.attempts > 1:
            sentence += " " + t(lang, "train.resumed_from_start")
        return sentence
    if view.status == "preparing" and (read := course.rows_read):
        left = duration(lang, read.get("seconds_left") or 0)
        return t(lang, "train.status_preparing_rows", done=read["done"], of=read["of"], left=left)
    took = duration(lang, (course.last_time or 0) - (course.started_at or 0))
    return t(lang, f"train.status_{view.status}", step=course.step, total=course.total_steps or 0, took=took)


def damage(lang: str, view: RunView) -> str:
    """What of a damaged run is wrong, and what can be done with the rest."""
    return t(lang, "runs.damaged", reasons=" ".join(explain(lang, fault) for fault in view.faults))


def _faults(lang: str, view: RunView) -> str:
    """What of a run that can be shown is another version's, or could not be read."""
    said = [] if view.damaged else [explain(lang, fault) for fault in view.faults]
    if skipped := view.course.skipped_lines:
        said.append(t(lang, "runs.skipped_lines", count=f"{skipped:,}"))
    return "".join(f'<p class="ls-warn">! {escape(sentence)}</p>' for sentence in said)


def duration(lang: str, seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return t(lang, "train.seconds", n=round(seconds))
    if seconds < 5400:
        return t(lang, "train.minutes", n=round(seconds / 60))
    return t(lang, "train.hours", n=f"{seconds / 3600:.1f}")


def _what(lang: str, view: RunView) -> str:
    recipe = view.recipe
    if recipe is None:
        return " · ".join(filter(None, (view.id, view.dataset_name)))
    method = (
        f"QLoRA {recipe.quantization}"
        if recipe.is_quantized
        else {"lora": "LoRA"}.get(recipe.method, t(lang, "recipe.method_full"))
    )
    rank = f" · r = {recipe.r}" if recipe.has_adapters else ""
    return f"{recipe.model} · {method}{rank} · {view.dataset_name}"


def _status(lang: str, view: RunView) -> str:
    sign = SIGNS.get(view.status, "")
    kind = KINDS.get(view.status, "ls-working")
    total, step = view.course.total_steps, view.course.step
    bar = ""
    if view.active and total:
        bar = f'<progress max="{total}" value="{step}" aria-label="{escape(t(lang, "train.progress"))}"></progress>'
    return f'<p class="ls-status {kind}" role="status">{sign} {escape(status_sentence(lang, view))}</p>{bar}'


def _memory(lang: str, view: RunView) -> str:
    """Two bars on one scale."""
    predicted, measured = view.predicted_bytes, view.course.measured_bytes
    if not predicted and not measured:
        return ""
    high = view.course.predicted_high_bytes if view.course.predicted_bytes else None
    largest = max(predicted or 0, measured or 0, high or 0, 1)
    how = view.course.measured_how or "resident_growth"
    rows = [
        ("train.memory_predicted", predicted, high, "ls-predicted"),
        (f"train.memory_{how}", measured, None, "ls-measured"),
    ]
    bars = "".join(
        f'<div class="ls-pair"><span>{escape(t(lang, key))}</span><span class="ls-track"><span class="ls-fill {kind}" '
        f'style="width:{(bytes or 0) / largest * 100:.1f}%"></span>{_up_to(bytes, upper, largest)}</span>'
        f'<b title="{bytes or 0:,} B">{escape(memory_text(lang, bytes, upper)) if bytes else "–"}</b></div>'
        for key, bytes, upper, kind in rows
    )
    return f'<section class="ls-memory" aria-label="{escape(t(lang, "train.memory"))}"><h3>{escape(t(lang, "train.memory"))}</h3>{bars}</section>'


def memory_text(lang: str, size_bytes: int, high_bytes: int | None) -> str:
    """A size, with the upper end where it is a range."""
    if not high_bytes:
        return human_bytes(size_bytes)
    return t(lang, "train.memory_range", low=human_bytes(size_bytes), high=human_bytes(high_bytes))


def _up_to(size_bytes: int | None, high_bytes: int | None, largest_bytes: int) -> str:
    """The hatched rest of a range."""
    if not size_bytes or not high_bytes:
        return ""
    return (
        f'<span class="ls-fill ls-range" style="width:{(high_bytes - size_bytes) / largest_bytes * 100:.1f}%"></span>'
    )


def _rows(lang: str, view: RunView) -> str:
    lines = []
    for split, data in view.course.data.items():
        reasons = ", ".join(
            f"{strings(lang).get(f'train.reason_{name}', name)}: {count:,}" for name, count in data["reasons"].items()
        )
        key = "train.rows_dropped" if data["dropped"] else "train.rows_kept"
        lines.append(
            t(
                lang,
                key,
                split=t(lang, f"train.split_{split}"),
                kept=f"{data['kept']:,}",
                dropped=f"{data['dropped']:,}",
                reasons=reasons,
                trained=f"{data['trained_tokens']:,}",
            )
        )
        lines += [
            t(
                lang,
                f"train.rows_{what}",
                split=t(lang, f"train.split_{split}"),
                count=f"{data[key]:,}",
                examples=f"{data['examples']:,}",
            )
            for what, key in (("cut", "cut"), ("split", "rows_split"))
            if isinstance(data.get("examples"), int) and isinstance(data.get(key), int) and data[key]
        ]
        lines += [
            t(lang, f"train.note_{note}", split=t(lang, f"train.split_{split}"), count=f"{count:,}")
            for note, count in data.get("notes", {}).items()
        ]
    if dates := sorted({date for data in view.course.data.values() for date in data.get("dates", ())}):
        lines.append(t(lang, "train.note_date", dates=", ".join(dates)))
    return "".join(f'<p class="ls-note">{escape(line)}</p>' for line in lines)

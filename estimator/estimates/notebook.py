"""An estimate in a notebook: as HTML of its own (light and dark), as a pandas frame, as a Plotly figure. No torch.

pandas and Plotly are loaded when they are asked for; an estimate needs neither.
"""

from __future__ import annotations

import importlib
from html import escape
from typing import TYPE_CHECKING, Any

from estimator.core.problems import Problem
from estimator.core.units import GIB, human_bytes

if TYPE_CHECKING:
    from estimator.estimates.estimate import Estimate

COLOURS = {
    "weights": "#0072b2", "quantization_state": "#56b4e9", "adapters": "#009e73", "gradients": "#e69f00",
    "optimizer_states": "#d55e00",
    "activations": "#cc79a7", "logits_and_loss": "#f0e442", "temporary": "#8c6bb1", "workspace": "#7f7f7f",
    "allocator": "#d0d0d0", "context": "#b3b3b3",
}  # fmt: skip
"""Okabe and Ito's set, as the page has it."""
WIDTH, BAR, TOP = 640, 22, 14


def parts(made: Estimate) -> dict[str, int]:
    """Bytes on the device by part; they sum to `device_bytes`.

    Beside the components: `allocator` is reserved and not in use, `context` is CUDA's, with paged optimizer states
    where there are.
    """
    rest = {
        "allocator": made.peak_reserved_bytes - made.peak_allocated_bytes,
        "context": made.device_bytes - made.peak_reserved_bytes,
    }
    return {**made.components, **rest}


def verdict(made: Estimate) -> str:
    """One sentence, in words and a sign."""
    takes = f"takes {human_bytes(made.device_bytes)}"
    if made.fits is None:
        return f"? {made.gpu}: its memory is not known; {takes}" if made.gpu else takes
    word = "fits" if made.fits else "does not fit"
    room = f"{human_bytes(abs(made.headroom_bytes))} {'left' if made.fits else 'missing'}"
    close = ", within the error bar" if made.is_close else ""
    return f"{'!' if made.is_close else '✓' if made.fits else '✕'} {made.gpu}: {word}{close}, {room}; {takes}"


def to_html(made: Estimate) -> str:
    """The verdict, the parts as one bar with the error bar and the card's edge, and the same numbers as a table."""
    bar = made.uncertainty
    counts = f"{made.trainable_parameters:,} of {made.total_parameters:,} parameters train ({made.trainable_parameters / made.total_parameters:.3%})"
    reasons = "".join(f"<li>{escape(str(note))}</li>" for note in (*made.warnings, *bar.why))
    return (
        f'<div style="font-family:system-ui,sans-serif;max-width:{WIDTH}px;color:inherit"><p style="margin:4px 0"><b>{escape(verdict(made))}</b></p>'
        f"{_svg(made)}{_legend(made)}"
        f'<p style="margin:4px 0">At the {escape(made.peak_moment.replace("_", " "))}; {escape(counts)}; '
        f"likely {human_bytes(bar.low_bytes)} to {human_bytes(bar.high_bytes)}.</p>"
        f"<details><summary>Why this range</summary><ul>{reasons}</ul></details></div>"
    )


def _svg(made: Estimate) -> str:
    """Text and lines take the page's own colour, so that both themes can read them."""
    edge = made.edge_bytes
    scale = WIDTH / (1.05 * max(made.uncertainty.high_bytes, edge or 0))
    pieces, left = [], 0.0
    for name, size in parts(made).items():
        title = f"<title>{escape(name.replace('_', ' '))}: {human_bytes(size)}</title>"
        pieces.append(
            f'<rect x="{left:.2f}" y="{TOP}" width="{size * scale:.2f}" height="{BAR}" fill="{COLOURS[name]}">{title}</rect>'
        )
        left += size * scale
    low, high, middle = (
        made.uncertainty.low_bytes * scale,
        made.uncertainty.high_bytes * scale,
        TOP + BAR + 9,
    )  # below the bar, on the page's own ground
    whisker = f"M{low:.2f} {middle - 5}v10M{low:.2f} {middle}H{high:.2f}M{high:.2f} {middle - 5}v10"
    lines = f'<path d="{whisker}" stroke="currentColor" fill="none"/>'
    if edge:
        x, anchor = edge * scale, "end" if edge * scale > WIDTH / 2 else "start"
        lines += (
            f'<path d="M{x:.2f} {TOP - 4}v{BAR + 18}" stroke="currentColor" stroke-width="2" stroke-dasharray="4 2"/>'
        )
        lines += f'<text x="{x:.2f}" y="9" font-size="10" text-anchor="{anchor}" fill="currentColor">{escape(made.gpu)}: {human_bytes(edge)}</text>'
    height = TOP + BAR + 18
    return f'<svg role="img" aria-label="{escape(verdict(made))}" viewBox="0 0 {WIDTH} {height}" width="100%">{"".join(pieces)}{lines}</svg>'


def _legend(made: Estimate) -> str:
    rows = "".join(
        f'<tr><td style="text-align:left"><span style="display:inline-block;width:.8em;height:.8em;background:{COLOURS[name]}"></span> '
        f'{escape(name.replace("_", " "))}</td><td style="text-align:right">{human_bytes(size)}</td></tr>'
        for name, size in parts(made).items()
        if size
    )
    return f'<table style="font-size:.9em;background:transparent;color:inherit"><tbody>{rows}</tbody></table>'


def to_frame(made: Estimate) -> Any:
    """A `pandas.DataFrame`: a row a part, its bytes and its share of what the device shows."""
    pandas = _library("pandas")
    sizes = parts(made)
    frame = pandas.DataFrame(
        {"bytes": sizes.values(), "share": [size / made.device_bytes for size in sizes.values()]}, index=list(sizes)
    )
    return frame.rename_axis("component")


def figure(made: Estimate) -> Any:
    """A `plotly.graph_objects.Figure`: the same bar, to zoom into."""
    plotly = _library("plotly.graph_objects", "plotly")
    drawn = plotly.Figure(
        layout={
            "barmode": "stack",
            "title": verdict(made),
            "xaxis": {"title": "GiB"},
            "yaxis": {"visible": False},
            "height": 260,
        }
    )
    for name, size in parts(made).items():
        if size:
            drawn.add_bar(
                x=[size / GIB], y=[""], orientation="h", name=name.replace("_", " "), marker_color=COLOURS[name]
            )
    bar, size = made.uncertainty, made.device_bytes
    ends = {
        "type": "data",
        "symmetric": False,
        "array": [(bar.high_bytes - size) / GIB],
        "arrayminus": [(size - bar.low_bytes) / GIB],
    }
    drawn.add_scatter(
        x=[size / GIB],
        y=[""],
        mode="markers",
        name="likely range",
        error_x=ends,
        marker={"color": "black", "symbol": "line-ns-open"},
    )
    if edge := made.edge_bytes:
        drawn.add_vline(x=edge / GIB, line_dash="dash", annotation_text=made.gpu)
    return drawn


def _library(module: str, package: str | None = None) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Problem("notebook.missing", value=package or module) from None

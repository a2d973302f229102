"""The views of lengths and of numbers: charts to hover over, and the same as tables."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from studio.i18n import t
from studio.widgets.lengths_view import lengths_table
from studio.widgets.numbers_view import in_words, numbers_note, numbers_tables
from studio.widgets.plots import lengths_figure, names_figure

LENGTHS = ("lengths", "chart", "lengths_table")
NUMBERS = ("numbers", "numbers_chart", "numbers_tables")
"""Each view's parts from top to bottom: words, chart, table."""

REFIT = "() => { requestAnimationFrame(() => window.dispatchEvent(new Event('resize'))); }"
"""A chart that was out of sight while the window or its figure changed takes the width that it has now."""


def column(names: tuple[str, str, str]) -> dict[str, Any]:
    """One view, with nothing in it yet."""
    words, chart, table = names
    return {
        words: gr.HTML(elem_id=f"dataset-{words}"),
        chart: gr.Plot(
            show_label=False, container=False, visible=False, elem_id=f"dataset-{chart}", elem_classes="ls-chart"
        ),
        table: gr.HTML(elem_id=f"dataset-{table}"),
    }


def drawn(figure: dict[str, Any] | None) -> gr.Plot:
    """A figure as Gradio's page takes it. The browser loads Plotly with the first one that is seen."""
    value = PlotData(type="plotly", plot=json.dumps(figure)) if figure else None
    return gr.Plot(value=value, visible=bool(figure))


def charts(lang: str, seen: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """What is drawn of a `preview`, or of `characters` (no `limit`), by the names of the parts; `lengths`, the words,
    are said by whoever knows the unit."""
    unit = t(lang, "dataset.lengths_from" if limit else "dataset.characters")
    numbers = in_words(lang, seen.get("numbers", {}))
    return {
        "chart": drawn(lengths_figure(lang, seen["lengths"], unit, limit)),
        "lengths_table": lengths_table(lang, seen["lengths"], unit),
        "numbers": numbers_note(lang, numbers),
        "numbers_chart": drawn(names_figure(lang, numbers)),
        "numbers_tables": numbers_tables(lang, numbers),
    }


def no_charts() -> dict[str, Any]:
    return dict.fromkeys((*LENGTHS, *NUMBERS), "") | {"chart": drawn(None), "numbers_chart": drawn(None)}

"""Charts to hover over, as Plotly's figures: dicts of JSON, which the browser's Plotly draws. Gradio's page brings that
along and loads it with the first chart that is seen, so no Python package is needed and nothing is fetched from
elsewhere. Text and grid take the theme's colours from `dataset.css`.

What a chart tells on hover stands in a table beside it too. A name may be anyone's text: Plotly reads a few tags, so it
is escaped.
"""

from __future__ import annotations

from html import escape
from typing import Any

from studio.i18n import t

FITS, BEYOND = "#2f7fc1", "#d55e00"
"""Okabe and Ito's blue and vermilion, the blue light enough for a dark ground."""
HATCH = {"shape": "/", "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.75)", "size": 7, "solidity": 0.3}
"""So that what is beyond the limit is not told by colour alone."""
LONGEST_NAME = 24
FONT = 'system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans SC", sans-serif'
BAR_PX, TITLE_PX, AXIS_PX = 24, 32, 48
"""Of the charts of names: a bar, the title above them, the axis below."""
DRAWN = {"role": "characters", "language": "rows", "label": "rows"}
"""What is drawn of each kind of names, and in which order."""

NUMBERS = {"separatethousands": True, "exponentformat": "none"}
"""60,000, not 60k."""

Counts = dict[str, dict[str, int]]


def lengths_figure(lang: str, lengths: dict[str, Any], unit: str, limit: int | None = None) -> dict[str, Any] | None:
    """Rows by length in equal bins; of each bin those longer than `limit` in another colour, and a line there. None
    without rows."""
    counts, top = lengths["counts"], lengths["top"]
    if not sum(counts):
        return None
    over = lengths.get("over") or [0] * len(counts)
    width, rows = top // len(counts), sum(counts)
    inside = [(at * width, count - longer) for at, (count, longer) in enumerate(zip(counts, over, strict=True))]
    outside = [(at * width, longer) for at, longer in enumerate(over)]
    bars = [
        _bars(lang, name if limit else "", marker, width, rows, [one for one in found if one[1]])
        for name, marker, found in (
            ("fits", {"color": FITS}, inside),
            ("beyond", {"color": BEYOND, "pattern": HATCH}, outside),
        )
    ]
    figure = _figure([one for one in bars if one["x"]], 260)
    figure["layout"] |= {
        "barmode": "stack",
        "bargap": 0,
        "xaxis": {**_axis(unit), "range": [0, top]},
        "yaxis": {**_axis(t(lang, "dataset.lengths_rows")), "rangemode": "tozero"},
    }
    if limit is not None and limit < top:
        figure["layout"] |= _line(limit, top, t(lang, "dataset.lengths_cut", limit=f"{limit:,}"))
    return figure


def _bars(
    lang: str, name: str, marker: dict[str, Any], width: int, rows: int, found: list[tuple[int, int]]
) -> dict[str, Any]:
    said = {"low": "%{customdata[0]}", "high": "%{customdata[1]}", "rows": "%{customdata[2]}"}
    hover = t(lang, "dataset.plot_hover", **said, share="%{customdata[3]}")
    hover += f"<br>{t(lang, f'dataset.plot_{name}')}" if name else ""
    return {
        "type": "bar",
        "x": [low + width / 2 for low, _ in found],
        "y": [count for _, count in found],
        "width": width * 0.92,
        "marker": {**marker, "line": {"width": 0}},
        "customdata": [
            [f"{low:,}", f"{low + width - 1:,}", f"{count:,}", f"{100 * count / rows:.1f}"] for low, count in found
        ],
        "hovertemplate": f"{hover}<extra></extra>",
    }


def _line(limit: int, top: int, words: str) -> dict[str, Any]:
    is_right = limit > 0.6 * top
    at = limit + 0.5  # a row of just the limit is on its left
    line = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": BEYOND}}
    note = {"x": at, "y": 1.02, "yref": "paper", "yanchor": "bottom", "text": words, "showarrow": False}
    return {"shapes": [line], "annotations": [note | {"xanchor": "right" if is_right else "left"}]}


def names_figure(lang: str, numbers: dict[str, Counts]) -> dict[str, Any] | None:
    """For roles, languages and labels a row of bars each, the largest on top, one below the other. `numbers` as
    `studio.rendering.tallies.Tally.result` gives them, by the names that a reader knows. None where there are none."""
    kinds = [kind for kind in DRAWN if numbers.get(kind)]
    height = sum(TITLE_PX + BAR_PX * len(numbers[kind]) + AXIS_PX for kind in kinds)
    if not kinds:
        return None
    figure, above = _figure([], height), 0
    figure["layout"] |= {"margin": {"l": 8, "r": 16, "t": 0, "b": 0}, "annotations": [], "bargap": 0.25}
    for index, kind in enumerate(kinds, start=1):
        found, number = numbers[kind], "" if index == 1 else str(index)
        top = 1 - (above + TITLE_PX) / height
        above += TITLE_PX + BAR_PX * len(found) + AXIS_PX
        names = list(found)[::-1]
        places = [f"{kind} {at}" for at in range(len(names))]  # two names may look alike
        figure["data"].append(_named(lang, found, names, places, DRAWN[kind], number))
        unit = t(lang, f"dataset.unit_{DRAWN[kind]}")
        domain = [1 - (above - AXIS_PX) / height, top]
        ticks = {"tickvals": places, "ticktext": [escape(_short(name)) for name in names], "type": "category"}
        figure["layout"] |= {
            f"xaxis{number}": {**_axis(unit), "rangemode": "tozero", "anchor": f"y{number}", "nticks": 6},
            f"yaxis{number}": {**_axis(""), "automargin": True, "domain": domain, "anchor": f"x{number}", **ticks},
        }
        title = {"text": f"<b>{t(lang, f'dataset.numbers_{kind}')}</b>", "showarrow": False, "font": {"size": 14}}
        place = {"x": 0, "xref": "paper", "xanchor": "left", "y": top, "yref": "paper", "yanchor": "bottom"}
        figure["layout"]["annotations"].append(title | place)
    return figure


def _named(lang: str, found: Counts, names: list[str], places: list[str], unit: str, number: str) -> dict[str, Any]:
    whole = sum(counts[unit] for counts in found.values())
    return {
        "type": "bar",
        "orientation": "h",
        "x": [found[name][unit] for name in names],
        "y": places,
        "xaxis": f"x{number}",
        "yaxis": f"y{number}",
        "marker": {"color": FITS, "line": {"width": 0}},
        "customdata": [_told(lang, name, found[name], unit, whole) for name in names],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _told(lang: str, name: str, counts: dict[str, int], unit: str, whole: int) -> str:
    lines = [f"{t(lang, f'dataset.unit_{key}')}: {value:,}" for key, value in counts.items()]
    return "<br>".join([escape(_short(name)), *lines, f"{100 * counts[unit] / whole:.1f} %" if whole else ""])


def _short(name: str) -> str:
    name = " ".join(name.split()) or "–"
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _figure(data: list[dict[str, Any]], height: int) -> dict[str, Any]:
    layout = {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 28, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "font": {"family": FONT, "size": 12},
        "hoverlabel": {"bgcolor": "#17202b", "bordercolor": "#17202b", "font": {"color": "#ffffff"}, "align": "left"},
        "dragmode": False,  # a finger on it scrolls the page
    }
    return {"data": data, "layout": layout, "config": {"displayModeBar": False}}


def _axis(title: str) -> dict[str, Any]:
    return {"title": {"text": title, "standoff": 8}, "zeroline": False, "fixedrange": True, **NUMBERS}

"""An estimate as a notebook shows it."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import pytest

from estimator import Problem, Recipe, estimate
from estimator.core.units import GIB, human_bytes
from estimator.estimates import notebook
from estimator.hardware.cards import gpus

RECIPE = Recipe(model="meta-llama/Llama-3.1-8B", max_length=2048)
CASES = [
    estimate(RECIPE, "RTX 4090"),
    estimate(RECIPE, "RTX 3050 8GB"),
    estimate(RECIPE.replace(method="full"), "RTX 4090"),
    estimate(RECIPE),
]


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of turn, and keeps what was opened."""

    VOID = {"rect", "path"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("made", CASES)
def test_parts_sum_to_what_the_device_shows(made):
    assert sum(notebook.parts(made).values()) == made.device_bytes
    assert set(notebook.parts(made)) == set(notebook.COLOURS)


@pytest.mark.parametrize("made", CASES)
def test_the_picture_stands_alone_and_is_to_scale(made):
    text = made._repr_html_()
    tags = Balanced(text).seen
    assert not {"script", "link", "img", "style"} & {tag for tag, _ in tags} and "http" not in text
    widths = [float(attrs["width"]) for tag, attrs in tags if tag == "rect"]
    sizes = list(notebook.parts(made).values())
    for width, size in zip(widths, sizes, strict=True):
        assert width == pytest.approx(sum(widths) * size / made.device_bytes, abs=0.02)
    assert all(human_bytes(size) in text for size in sizes if size)


@pytest.mark.parametrize("made", CASES)
def test_text_takes_the_themes_colour(made):
    """A colour of its own would vanish in one of the two themes."""
    for tag, attrs in Balanced(made._repr_html_()).seen:
        if tag == "text":
            assert attrs["fill"] == "currentColor"
        assert not re.search(r"(?<![-\w])color:(?!inherit)", attrs.get("style", ""))


def test_the_verdict_is_in_words():
    fits, close_or_not, misses, nowhere = map(notebook.verdict, CASES)
    assert "fits" in fits and human_bytes(CASES[0].headroom_bytes) in fits
    assert "does not fit" in misses and human_bytes(-CASES[2].headroom_bytes) in misses
    assert nowhere == f"takes {human_bytes(CASES[3].device_bytes)}"


def test_the_cards_edge_is_where_the_headroom_ends():
    made = CASES[0]
    assert made.edge_bytes - made.largest_peak.device_bytes == made.headroom_bytes
    assert CASES[3].edge_bytes is None


def test_a_card_whose_memory_is_unknown_says_so():
    unknown = next(gpu for gpu in gpus().values() if gpu.usable_bytes() is None)
    assert "not known" in estimate(RECIPE, unknown)._repr_html_()


def test_a_strangers_name_is_text():
    import dataclasses

    made = dataclasses.replace(CASES[0], gpu="<script>alert(1)</script>")
    assert "<script" not in made._repr_html_()


def test_the_frame_has_every_part():
    frame = CASES[0].to_frame()
    assert frame["bytes"].to_dict() == notebook.parts(CASES[0]) and frame["share"].sum() == pytest.approx(1)


def test_the_figure_stacks_them():
    made = CASES[0]
    drawn = made.figure()
    assert sum(trace.x[0] for trace in drawn.data if trace.type == "bar") == pytest.approx(made.device_bytes / GIB)
    (point,) = (trace for trace in drawn.data if trace.type == "scatter")
    assert (point.x[0] + point.error_x.array[0]) * GIB == pytest.approx(made.uncertainty.high_bytes)


@pytest.mark.parametrize(("ask", "package"), [("to_frame", "pandas"), ("figure", "plotly")])
def test_a_missing_library_is_named(monkeypatch, ask, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Problem) as caught:
        getattr(CASES[0], ask)()
    assert str(caught.value) == f"{package} is not installed. Install it: pip install {package}."

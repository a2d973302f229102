"""Curves and tables: what is drawn is what was given, and nothing of it is markup."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estimator.core.units import human_bytes
from estimator.estimates.estimate import estimate
from estimator.hardware.cards import find_gpu
from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.i18n import LANGUAGES, t
from studio.widgets.bars_svg import HATCHES, bars_svg
from studio.widgets.curves import MOST_POINTS, Line, loss_curve, nice_ticks, picture, smoothed, thinned
from studio.widgets.memory_bar import PARTS, Bar, memory_bars, parts_of

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=3000))
def test_thinning_keeps_ends_and_extremes(values):
    points = list(enumerate(values))
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS + 1 or len(points) <= MOST_POINTS
    assert kept == sorted(set(kept)) and kept[-1] == points[-1]
    assert {min(v for _, v in kept), max(v for _, v in kept)} == {min(values), max(values)}


@example(0.0, 5e-324)  # a number that no division into steps survives
@example(-5e-324, 0.0)
@given(numbers, numbers)
def test_ticks_enclose_what_they_measure(a, b):
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 12


@given(st.floats(0, 100), st.integers(1, 400))
def test_smoothing_leaves_a_flat_curve_flat(value, count):
    points = [(n, value) for n in range(count)]
    assert [y for _, y in smoothed(points)] == pytest.approx([value] * count)


def test_a_curve_without_points_says_so():
    assert "begins with the first step" in loss_curve("en", [], [], None)
    assert "<svg" not in loss_curve("en", [{"step": 1, "loss": None}], [], 10)


def test_names_are_escaped_everywhere():
    evil = "<img src=x onerror=alert(1)>"
    html = picture("en", [Line(evil, [(1, 1.0), (2, 0.5)], "red")])
    assert "<img" not in html and "&lt;img" in html


def test_the_parts_of_a_bar_sum_to_what_the_device_shows():
    answer = estimate(Recipe(model="meta-llama/Llama-3.1-8B"), find_gpu("RTX 4090"))
    assert sum(parts_of(answer).values()) == answer.device_bytes
    assert answer.edge_bytes - answer.device_bytes == answer.headroom_bytes
    html = memory_bars("en", [Bar("QLoRA", answer)], 0, "RTX 4090")
    widths = [float(width) for width in re.findall(r'<i class="ls-part [^"]*" style="width:([\d.]+)%', html)]
    edge = float(re.search(r"--at:([\d.]+)", html).group(1))
    assert sum(widths) / 100 / edge == pytest.approx(answer.device_bytes / answer.edge_bytes, rel=1e-3)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_part_of_a_bar_has_a_name_a_size_and_a_hatching_of_its_own(lang):
    answer = estimate(Recipe(model="meta-llama/Llama-3.1-8B"), find_gpu("RTX 4090"))
    html = memory_bars(lang, [Bar("QLoRA", answer)], 0, "RTX 4090")
    said = {part: f"{t(lang, f'estimate.{part}')} {human_bytes(size)}" for part, size in parts_of(answer).items()}
    assert dict(re.findall(r'<i class="ls-part ls-part-(\w+)"[^>]* title="([^"]*)"', html)) == said
    sheet = (shipped.theme() / "estimate.css").read_text()
    hatched = {
        part: style.replace(f"var(--ls-{part})", "")
        for part, style in re.findall(r"\.ls-part-(\w+) { background: ([^}]*); }", sheet)
    }
    assert set(hatched) == set(HATCHES) == set(PARTS)
    assert len(set(hatched.values())) == len(set(HATCHES.values())) == len(PARTS)
    file = bars_svg(lang, [Bar("QLoRA", answer)], "title")
    assert all(f'<pattern id="{part}"' in file and f'fill="url(#{part})"' in file for part in PARTS)


def test_both_languages_draw():
    answer = estimate(Recipe(model="meta-llama/Llama-3.1-8B"), find_gpu("RTX 4090"))
    assert "权重" in memory_bars("zh-CN", [Bar("QLoRA", answer)], 0, "RTX 4090")
    assert "训练损失" in loss_curve("zh-CN", [{"step": 1, "loss": 1.0}], [], 10)

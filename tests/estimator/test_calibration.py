"""Calibration: the bar follows what was measured, the figures do not."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator import Recipe, estimate
from estimator.estimates.calibration import (
    CONTEXT,
    CPU,
    RESERVED,
    RESIDENT_GROWTH,
    Calibration,
    interval,
    narrowed,
    note,
    record_of,
)
from estimator.estimates.parts import cpu_growth

CARD = "GeForce RTX 4090"
RECIPE = Recipe(model="Qwen/Qwen2.5-0.5B")
ratios = st.lists(st.floats(0.5, 2.0), min_size=3, max_size=40)


def _noted(path: Path, *shares: float, recipe: Recipe = RECIPE, **changes: str) -> Calibration:
    made = estimate(recipe)
    settings = {"engine": made.engine} | changes
    note(
        [
            record_of(
                recipe, CARD, RESERVED, made.peak_reserved_bytes, round(made.peak_reserved_bytes * share), **settings
            )
            for share in shares
        ],
        path,
    )
    return Calibration.of(CARD, path)


def test_the_bar_narrows_and_the_figures_stay(tmp_path: Path) -> None:
    plain = estimate(RECIPE, CARD)
    known = estimate(RECIPE, CARD, calibration=_noted(tmp_path / "c", 0.99, 1.0, 1.01, 1.0, 1.005))
    assert (
        plain.uncertainty.low_bytes
        < known.uncertainty.low_bytes
        <= known.device_bytes
        <= known.uncertainty.high_bytes
        < plain.uncertainty.high_bytes
    )
    assert {k: v for k, v in known.to_dict().items() if k != "uncertainty"} == {
        k: v for k, v in plain.to_dict().items() if k != "uncertainty"
    }
    assert "5 like runs on this card measured 0.99 to 1.01" in str([str(why) for why in known.uncertainty.why])


def test_a_run_outside_the_bar_widens_it(tmp_path: Path) -> None:
    plain = estimate(RECIPE, CARD)
    known = estimate(RECIPE, CARD, calibration=_noted(tmp_path / "c", 1.0, 1.0, 1.5))
    assert known.uncertainty.high_bytes > plain.uncertainty.high_bytes
    assert known.uncertainty.high_bytes >= 1.5 * plain.peak_reserved_bytes


@pytest.mark.parametrize(
    "other",
    [
        {"engine": "trace"},
        {"loop": "trainer"},
        {"recipe": RECIPE.replace(method="lora")},
        {"recipe": RECIPE.replace(attn_implementation="eager")},
    ],
)
def test_other_kinds_of_runs_say_nothing(tmp_path: Path, other: dict) -> None:
    known = estimate(RECIPE, CARD, calibration=_noted(tmp_path / "c", 1.0, 1.0, 1.0, **other))
    assert known.to_dict() == estimate(RECIPE, CARD).to_dict()


def test_a_measured_context_takes_the_place_of_the_table(tmp_path: Path) -> None:
    note([record_of(RECIPE, CARD, CONTEXT, size, size, engine="") for size in (400 << 20, 420 << 20)], tmp_path / "c")
    plain, known = estimate(RECIPE, CARD), estimate(RECIPE, CARD, calibration=Calibration.of(CARD, tmp_path / "c"))
    width = lambda made: made.uncertainty.high_bytes - made.uncertainty.low_bytes  # noqa: E731
    assert width(plain) > width(known)
    assert known.device_bytes == plain.device_bytes


def test_broken_lines_are_counted_and_other_cards_left_out(tmp_path: Path) -> None:
    path = tmp_path / "c"
    _noted(path, 1.0)
    path.write_text(path.read_text() + '\n{"device": "half a li\n[]\n{"device": "x"}\n')
    known = Calibration.of(CARD, path)
    assert (len(known.records), known.unread) == (1, 3)
    whole = json.loads(path.read_text().splitlines()[1])
    for broken in (
        {"measured_bytes": 10**400},
        {"measured_bytes": float("nan")},
        {"estimated_bytes": 0},
        {"estimated_bytes": "x"},
        {"estimated_bytes": 1e300},
        {"of_another_version": 1},
    ):
        path.write_text("\n".join(map(json.dumps, (whole, {**whole, **broken}))) + "\n" + "[" * 100_000)
        known = Calibration.of(CARD, path)
        assert (len(known.records), known.unread) == (1, 2), broken
    assert not Calibration.of("Tesla T4", path).records
    assert not Calibration.of(CARD, tmp_path / "none").records


def test_a_broken_line_does_not_swallow_the_next_record(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text('{"device": "cut off')
    assert len(_noted(path, 1.0, 1.1).records) == 2
    assert all(json.loads(line) for line in path.read_text().splitlines()[1:])


@given(ratios)
def test_the_bar_holds_the_figure_and_every_measured_run(shares: list[float]) -> None:
    low, high = narrowed(0.9e10, 1.2e10, 1e10, shares)
    assert low <= 1e10 * (1 + 1e-9) and high >= 1e10 * (1 - 1e-9)
    assert low <= 1e10 * min(shares) * (1 + 1e-9) and high >= 1e10 * max(shares) * (1 - 1e-9)


def test_the_interval_holds_the_next_of_95_in_100() -> None:
    draw, held, rounds = random.Random(1), 0, 4000
    for _ in range(rounds):
        *seen, following = (math.exp(draw.gauss(0.03, 0.02)) for _ in range(7))
        low, high = interval(seen)
        held += low <= following <= high
    assert abs(held / rounds - 0.95) < 4 * math.sqrt(0.95 * 0.05 / rounds)


def test_two_runs_are_too_few(tmp_path: Path) -> None:
    assert interval([1.0, 1.0]) is None
    assert narrowed(1, 3, 2, [1.0, 1.0]) == (1, 3)


def test_growth_on_a_cpu(tmp_path: Path) -> None:
    plain = cpu_growth(RECIPE)
    size, small = plain.growth_bytes, plain.growth_bytes // 100
    shares = [(size, 1.08), (size, 1.1), (size, 1.09), (2 * size, 1.11), (small, 9), (small, 10), (small, 11)]
    note(
        [
            record_of(RECIPE, CPU, RESIDENT_GROWTH, made, round(made * share), engine=plain.engine)
            for made, share in shares
        ],
        tmp_path / "c",
    )
    known = cpu_growth(RECIPE, known=Calibration.of(CPU, tmp_path / "c"))
    assert known.growth_bytes == plain.growth_bytes
    assert plain.low_bytes < known.low_bytes <= known.growth_bytes < known.high_bytes < plain.high_bytes

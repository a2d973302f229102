"""The peak of a law is that of all its rows, each split and rounded, though only those that can be it are split."""

import random

import pytest

from estimator import Recipe
from estimator.advice import advise as advice
from estimator.core.same import Same
from estimator.estimates.parts import law_of
from estimator.law.law import DYNAMIC, PHI, STATIC, Law, Point, Row

MODEL = "meta-llama/Llama-3.1-8B"


def slowly(point: Point) -> tuple[Row, dict[str, int]]:
    return max(((row, point.components(row)) for row in point.law.rows), key=lambda one: sum(one[1].values()))


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("rows, length, rank", [(1, 8, 1), (2, 1024, 16), (64, 131_072, 4096), (7, 333, 5)])
def test_of_a_shipped_law(method, rows, length, rank):
    recipe = Recipe(model=MODEL, method=method, per_device_train_batch_size=rows, max_length=length, r=rank)
    point = law_of(recipe).at(recipe)
    assert point.peak == slowly(point)


@pytest.mark.parametrize("seed", range(20))
def test_of_rows_that_lie_within_a_byte_of_each_other(seed):
    draw = random.Random(seed)
    static = {name: draw.randrange(10**9) for name in STATIC}
    near = {name: tuple(draw.uniform(0, 10) for _ in PHI) for name in DYNAMIC}
    rows = []
    for n in range(12):
        moved = {name: (terms[0] + draw.uniform(-1, 1), *terms[1:]) for name, terms in near.items()}
        own = {"gradients": (float(static["gradients"]), *(0.0,) * (len(PHI) - 1))} if n % 3 == 0 else {}
        rows.append(Row(f"moment_{n}", moved | own, {"weights": 0.5} if n % 4 == 3 else {}, n % 5 == 4))
    point = Point(Law(tuple(rows), 4096, "traced", 0.0), 3, 700, 9, static, draw.randrange(3), 0.7)
    assert point.peak == slowly(point)


def test_the_largest_is_looked_for_when_it_is_asked_for_and_once(monkeypatch):
    looked = []
    monkeypatch.setattr(advice, "largest_of", lambda judge: looked.append(judge) or "the largest")
    made = advice.advise(Recipe(model=MODEL), "RTX 4090")
    assert looked == []
    assert (made.largest, made.largest, len(looked)) == ("the largest", "the largest", 1)


def test_same_is_equal_to_the_very_same_object_alone():
    one, other = {"a": [1]}, {"a": [1]}
    assert Same(one) == Same(one) != Same(other) and len({Same(one), Same(one), Same(other)}) == 2
    assert Same(one) != one

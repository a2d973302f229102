"""The forms of one question mean the same: a command line, Python and a query give the recipe back."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator import Problem, Recipe, estimate
from estimator.cli import cli
from estimator.estimates.take_away import command_line, from_query, neutral, python_code, query, to_csv

CARD = "GeForce RTX 4090"
names = st.text("abcdefghijklmnop_", min_size=1, max_size=8)
recipes = st.builds(
    Recipe,
    model=st.just("Qwen/Qwen2.5-0.5B"),
    method=st.sampled_from(["full", "lora", "qlora"]),
    r=st.integers(1, 512),
    lora_dropout=st.sampled_from([0.0, 0.05]),
    target_modules=st.one_of(
        st.just("all-linear"),
        st.just(None),
        st.just(r".*\.q_proj|it's"),
        st.lists(names, min_size=1, max_size=3).map(tuple),
    ),
    rank_pattern=st.one_of(st.none(), st.dictionaries(names, st.integers(1, 64), min_size=1, max_size=2)),
    layers_to_transform=st.one_of(st.none(), st.lists(st.integers(0, 23), min_size=1, max_size=3).map(tuple)),
    bias=st.sampled_from(["none", "all"]),
    gradient_checkpointing=st.booleans(),
    max_length=st.integers(8, 100_000),
    learning_rate=st.sampled_from([2e-4, 1e-5]),
)


def _read(line: str) -> tuple[Recipe, str | None]:
    words = shlex.split(line)
    assert words[:2] == ["lora-studio", "estimate"]
    options = vars(cli.build_parser().parse_args(words[2:]))
    return Recipe.from_dict(cli.flags_of(options)), options["gpu"]


@settings(deadline=None)
@given(recipes)
def test_a_command_line_reads_back(recipe: Recipe) -> None:
    assert _read(command_line(recipe, CARD)) == (recipe, CARD)


@settings(deadline=None)
@given(recipes)
def test_a_query_reads_back(recipe: Recipe) -> None:
    fields, gpu = from_query("?tab=estimate&" + query(recipe, CARD))
    assert (Recipe.from_dict(fields), gpu) == (recipe, CARD)


def test_python_prints_the_estimate() -> None:
    recipe, out = Recipe(model="Qwen/Qwen2.5-0.5B", r=8, target_modules=("q_proj",), max_length=512), io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(python_code(recipe, CARD), {})
    said, made = json.loads(out.getvalue()), estimate(recipe, CARD)
    assert (
        said["trainable_parameters"] == made.trainable_parameters and said["total_parameters"] == made.total_parameters
    )


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_cells_that_begin_like_formulas_are_text(cell: str) -> None:
    assert neutral(cell) == "'" + cell
    assert neutral(-5) == -5 and neutral("LoRA") == "LoRA"


def test_a_table_holds_every_component() -> None:
    made = estimate(Recipe(model="Qwen/Qwen2.5-0.5B"), CARD)
    lines = dict(line.split(",") for line in to_csv([("=cmd|x", made)]).splitlines())
    assert lines["figure"] == "'=cmd|x"
    assert {name: int(lines[name]) for name in made.components} == made.components
    assert lines["fits"] == "yes" and int(lines["device_bytes"]) == made.device_bytes


def test_a_table_says_why_a_method_has_no_figures() -> None:
    made = estimate(Recipe(model="Qwen/Qwen2.5-0.5B"), CARD)
    rows = {
        row[0]: row[1:]
        for row in csv.reader(
            io.StringIO(
                to_csv(
                    [
                        ("a", made),
                        (
                            "b",
                            Problem(
                                "recipe.conflict", field="quantization", value="int8", other="fsdp", allowed="Use nf4"
                            ),
                        ),
                    ]
                )
            )
        )
    }
    assert rows["figure"] == ["a", "b"] and rows["device_bytes"] == [str(made.device_bytes), ""]
    assert rows["refused"][0] == "" and "int8 cannot be combined with fsdp" in rows["refused"][1]

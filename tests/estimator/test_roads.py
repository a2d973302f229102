"""Every field survives every road: what leaves as a link, a file, JSON, a command or a program comes back as the same
recipe."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from estimator import Recipe
from estimator.cli import cli
from estimator.core.field_text import parsed_box, spelled
from estimator.core.fields import FieldInfo
from estimator.core.problems import Problem
from estimator.estimates.take_away import command_line, from_query, python_code, query, recipe_toml
from estimator.recipe.recipe import FIELDS
from estimator.recipe.recipe_file import read_recipe
from tests.estimator.recipes import RECIPES, one_of_each

CARD = "GeForce RTX 4090"


PARSER = cli.build_parser()


def by_command(recipe: Recipe, folder: Path) -> Recipe:
    words = shlex.split(command_line(recipe, CARD))
    options = vars(PARSER.parse_args(words[2:]))
    assert options["gpu"] == CARD
    return Recipe.from_dict(cli.flags_of(options))


def by_link(recipe: Recipe, folder: Path) -> Recipe:
    fields, card = from_query("?tab=estimate&" + query(recipe, CARD))
    assert card == CARD
    return Recipe.from_dict(fields)


def by_file(text: str, file: Path) -> Recipe:
    file.write_text(text, encoding="utf-8")
    return Recipe.from_dict({name: value for name, value in read_recipe(str(file)).items() if name in FIELDS})


def by_toml(recipe: Recipe, folder: Path) -> Recipe:
    return by_file(recipe_toml(recipe, CARD), folder / "recipe.toml")


def by_json(recipe: Recipe, folder: Path) -> Recipe:
    return by_file(recipe.to_json(), folder / "recipe.json")


def by_program(recipe: Recipe, folder: Path) -> Recipe:
    names: dict = {}
    exec(python_code(recipe, CARD).rpartition("print(")[0], names)
    return names["recipe"]


def by_boxes(recipe: Recipe, folder: Path) -> Recipe:
    return Recipe(
        **{
            name: value
            if isinstance(value, (bool, int, float))
            else parsed_box(FIELDS[name], spelled(FIELDS[name], value))
            for name, value in recipe.to_dict().items()
        }
    )


ROADS = [by_command, by_link, by_toml, by_json, by_program, by_boxes]


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__)
def test_each_field_alone_comes_back(road: Callable[[Recipe, Path], Recipe], tmp_path: Path) -> None:
    walked = one_of_each()
    assert {name for name, _ in walked} == set(FIELDS)
    for name, recipe in walked:
        assert road(recipe, tmp_path) == recipe, name


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=RECIPES)
def test_fields_together_come_back(tmp_path: Path, recipe: Recipe) -> None:
    for road in ROADS:
        assert road(recipe, tmp_path) == recipe, road.__name__


def test_the_samples_leave_every_default() -> None:
    """The walk above would pass a road that drops a field if the field stood at its default."""
    for name, recipe in one_of_each():
        assert getattr(recipe, name) != FIELDS[name].default


def test_a_change_says_nothing_by_the_same_word_as_a_file() -> None:
    recipe = Recipe(model="org/m")
    assert (
        recipe.replace(target_modules="default")
        == recipe.replace(target_modules=None)
        == Recipe(model="org/m", target_modules=["default"])
    )


def test_a_flag_can_take_back_what_a_file_says(tmp_path: Path) -> None:
    """An empty text is nothing, of every field that may be nothing."""
    optional: list[FieldInfo] = [info for info in FIELDS.values() if type(None) in info.kinds and info.default is None]
    flags = [word for info in optional for word in ("--" + info.name.replace("_", "-"), "")]
    found = cli.flags_of(vars(PARSER.parse_args(flags)))
    assert len(optional) > 8 and found == {info.name: None for info in optional}


def test_a_run_is_a_file_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """What the folder of a run holds goes to `--recipe`; broken JSON is said as such."""
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(Recipe(model="Qwen/Qwen2.5-0.5B", method="lora", r=5).to_dict()))
    assert cli.main(["estimate", "--recipe", str(file)]) == 0 and "lora" in capsys.readouterr().out
    file.write_text("[1]")
    assert cli.main(["estimate", "--recipe", str(file)]) == 2 and "not valid JSON" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb", "a\0b"])
def test_text_that_no_road_can_carry_is_refused_by_name(text: str) -> None:
    kinds = {
        "model": text,
        "target_modules": [text],
        "exclude_modules": text,
        "rank_pattern": {text: 8},
        "trainable_token_indices": {text: [1]},
    }
    for name, value in kinds.items():
        with pytest.raises(Problem) as caught:
            Recipe(**{"model": "org/m", name: value})
        assert caught.value.field == name and str(caught.value).encode("utf-8")


def test_a_record_of_a_newer_format_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A run's `recipe.json` has a number; a file without one is of format 1."""
    file, fields = tmp_path / "recipe.json", Recipe(model="Qwen/Qwen2.5-0.5B", r=5).to_dict()
    file.write_text(json.dumps({"format": 1, **fields}))
    assert read_recipe(str(file)) == fields
    file.write_text(json.dumps({"format": 2, "rank": 5, **fields}))
    assert cli.main(["estimate", "--recipe", str(file)]) == 2
    said = capsys.readouterr().err
    assert (
        "its format is 2" in said
        and "reads format 1" in said
        and "version that wrote it" in said
        and "rank" not in said
    )

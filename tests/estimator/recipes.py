"""Recipes at random: every field away from its default in every kind of value it takes, so that a new field is drawn
the day it is added."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from estimator.core.fields import FieldInfo
from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe

TEXTS = st.one_of(
    st.sampled_from(
        ["lm_head", "all-linear", "null", "true", "5", "[1]", '"q"', "a,b", "a b", "-x", "--r", "k=1", "模块、乙，丙"]
    ),
    st.sampled_from([r".*\.(q|v)_proj", "[qk]_proj", "{0}", "'", "\x7f", "默认", "default"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
        str.strip
    ),
)
MODEL = "Qwen/Qwen2.5-0.5B"


def values(info: FieldInfo) -> st.SearchStrategy[Any]:
    """What a field takes, edges among it, as JSON has it."""
    return st.one_of([_of(info, kind) for kind in info.kinds])


def _of(info: FieldInfo, kind: Any) -> st.SearchStrategy[Any]:
    origin, inner = getattr(kind, "__origin__", kind), getattr(kind, "__args__", ())
    limits = info.limits
    if origin is type(None):
        return st.none()
    if origin is bool:
        return st.booleans()
    if choices := limits.get("choices"):
        return st.sampled_from([*choices, "pissa_niter_4"] if limits.get("pattern") else choices)
    if origin is int:
        return st.integers(limits.get("low", 1), limits.get("high", 100))
    if origin is float:
        above = limits.get("above")
        return st.floats(limits["low"] if above is None else above, limits["high"], exclude_min=above is not None)
    if origin is str:
        return st.just(MODEL) if info.name == "model" else TEXTS.map(str.strip)
    if origin is tuple:
        entries = st.integers(0, 10**6) if inner[0] is int else TEXTS
        return st.lists(entries, min_size=0 if limits.get("may_be_empty") else 1, max_size=3, unique=True)
    if origin is dict:
        whole = (
            st.integers(1, 64) if inner[1] is int else st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True)
        )
        return st.dictionaries(TEXTS, whole, max_size=2)
    raise AssertionError(f"{info.name}: no values for {kind}; say how they are drawn")


def _recipe(fields: dict[str, Any]) -> Recipe:
    """The fields in their order, but for those that do not go with the ones before."""
    made = Recipe(model=MODEL)
    for name, value in fields.items():
        try:
            made = made.replace(**{name: value})
        except Problem as problem:
            assert problem.code == "recipe.conflict", problem
    return made


RECIPES = (
    st.lists(st.sampled_from(list(FIELDS)), max_size=10, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: values(FIELDS[name]) for name in names}))
    .map(_recipe)
)
"""Up to ten fields drawn, in any order."""


def one_of_each() -> list[tuple[str, Recipe]]:
    """For every field recipes with nothing but it (and what it needs beside) away from its default."""
    made = []
    for name, info in FIELDS.items():
        for value in SAMPLES.get(name, ()) or _samples(info):
            made.append((name, Recipe(model=MODEL).replace(**BESIDE.get(name, {}), **{name: value})))
    return made


BESIDE: dict[str, dict[str, Any]] = {
    "lora_bias": {"method": "lora"},
    "init_lora_weights": {"method": "lora"},
    "distributed_type": {"num_processes": 2},
    "offload_optimizer_device": {"num_processes": 2, "distributed_type": "zero2"},
    "offload_param_device": {"num_processes": 2, "distributed_type": "fsdp"},
}
"""What a value away from the default needs beside it."""
SAMPLES: dict[str, list[Any]] = {
    "model": ["org/other", "./a folder/模型"],
    "method": ["full", "lora"],
    "target_modules": [
        None,
        [],
        ["q_proj"],
        ["all-linear"],
        ["a,b", " c"],
        ["-x", "--r"],
        "lm_head",
        "null",
        "5",
        "a,b",
        r".*\.(q|v)_proj",
        "[qk]_proj",
        "-x",
    ],
    "distributed_type": ["zero2", "fsdp"],
    "offload_optimizer_device": ["cpu"],
    "offload_param_device": ["cpu"],
}


def _samples(info: FieldInfo) -> list[Any]:
    """Values other than the default, of every kind."""
    limits, made = info.limits, []
    if bool in info.kinds:
        return [not info.default]
    if choices := limits.get("choices"):
        return [choice for choice in choices if choice != info.default]
    if limits.get("high") is not None:
        low = limits["low"] if limits.get("above") is None else limits["high"] / 3
        return [value for value in (low, limits["high"]) if value != info.default]
    for kind in info.kinds:
        origin, inner = getattr(kind, "__origin__", kind), getattr(kind, "__args__", ())
        if origin is str:
            made += ["lm_head", r"layers\.\d", "null", "a,b"]
        elif origin is tuple:
            made += [[0, 3]] if inner[0] is int else [["lm_head"], ["a,b", "c"], ["null", "5"]]
        elif origin is dict:
            made += [{"q_proj": 8, r".*\.v_proj$": 64, "a=b": 1}, {}] if inner[1] is int else [{"embed_tokens": [0, 3]}]
    assert made, f"{info.name}: say what it may be"
    return made

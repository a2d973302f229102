"""Configurations from anywhere: counted as Transformers builds them, or refused by name; nothing of theirs runs."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from estimator.model.inventory import Inventory, Module, Parameter, compress, fold_numbers, unfold
from estimator.model.spec import ModelSpec, read_config
from tests.estimator import small

names = st.lists(
    st.tuples(st.sampled_from(("layers", "experts", "block")), st.integers(0, 12),
        st.sampled_from(("q", "k.1.w", "norm"))),
    min_size=1, max_size=60, unique=True,
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True)
@given(parts=names)
def test_folding_loses_and_adds_no_module(parts):
    modules = [Module(f"m.{a}.{i}.{b}", "Linear", (Parameter("weight", (2, 3)),)) for a, i, b in parts]
    folded = compress(modules)
    assert sorted(name for group in folded for name in group.names) == sorted(m.name for m in modules)


def test_fold_and_unfold():
    assert fold_numbers([5, 0, 1, 2]) == "0-2,5"
    assert list(unfold("a.{0-2,5}.b.{0-1}")) == [f"a.{i}.b.{j}" for i in (0, 1, 2, 5) for j in (0, 1)]


@pytest.mark.parametrize("name", small.CONFIGS)
def test_the_inventory_counts_what_the_model_has(name):
    model, inventory = small.build(name), small.inventory(name)
    assert inventory.total_parameters == model.num_parameters()
    assert Inventory.from_json(json.loads(json.dumps(inventory.to_json()))).to_json() == inventory.to_json()
    owners = {n for n, m in model.named_modules() if list(m.parameters(recurse=False))}
    assert set(inventory.by_name) == owners


def test_code_and_kernels_in_a_config_are_ignored_and_said(tmp_path):
    from estimator.trace import meta_model

    marker = tmp_path / "ran"
    (tmp_path / "modeling.py").write_text(f"open({str(marker)!r}, 'w')")
    config = small.CONFIGS["llama"] | {
        "auto_map": {"AutoModelForCausalLM": "modeling.Model"},
        "attn_implementation": "kernels/flash",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    inventory = meta_model.derive(read_config(tmp_path))
    assert inventory.total_parameters == small.inventory("llama").total_parameters
    assert ModelSpec.from_file(tmp_path).ignored == ("auto_map", "attn_implementation")
    assert not marker.exists()


HOSTILE = [
    ({"hidden_size": 10**12}, "hidden_size is 1,000,000,000,000. Allowed: 1 to"),
    ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1,000,000"),
    ({"hidden_size": 262_144, "num_hidden_layers": 2048, "intermediate_size": 10**6}, "at least"),
    ({"vocab_size": -1}, "vocab_size is -1"),
    ({"hidden_size": "64"}, "hidden_size is 64. Allowed: a whole number"),
    ({"num_attention_heads": 4.5}, "num_attention_heads is 4.5"),
    ({"num_attention_heads": True}, "num_attention_heads is True"),
    ({"num_key_value_heads": 3}, "num_key_value_heads 3 does not go with num_attention_heads 4"),
    ({"num_experts": 2, "num_experts_per_tok": 3}, "num_experts_per_tok 3"),
    ({"hidden_size": None}, "the key hidden_size"),
    ({"model_type": None}, "the key model_type is missing"),
    ({"model_type": "no-such-architecture"}, "cannot build no-such-architecture"),
]


@pytest.mark.parametrize(("change", "words"), HOSTILE, ids=[words for _, words in HOSTILE])
def test_a_hostile_or_broken_config_is_refused_by_name_and_at_once(change, words):
    from estimator.trace import meta_model

    started = time.monotonic()
    with pytest.raises(Problem) as caught:
        meta_model.derive(small.CONFIGS["llama"] | change)
    assert words in str(caught.value)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "model.bad_json"),
        (b"[1]", "model.not_object"),
        (b"\xff\xfe", "model.bad_json"),
        (b"[" * 100_000, "model.bad_json"),
        (None, "model.no_config"),
    ],
)
def test_a_file_that_is_no_config_is_said(tmp_path, content, code):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(Problem) as caught:
        read_config(tmp_path)
    assert caught.value.code == code

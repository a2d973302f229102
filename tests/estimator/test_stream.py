"""A step written down from two shallow traces is, at any depth and sizes, the step that is traced whole; and reserved
memory by it."""

import json

import pytest

from estimator import Recipe, estimate
from estimator.hardware.platforms import Platform
from estimator.hub.sources import model_from_config
from estimator.law.law import Law
from estimator.law.question import Question
from estimator.law.untraced import NotLinear
from estimator.memory.recorded import HEAD
from estimator.memory.stream import StaticTerms, Stream
from estimator.model.catalog import load_preset, models
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS
from estimator.shelf import laws, streams
from estimator.trace.step import Sizes, trace_step
from estimator.trace.stream_trace import course, derive_stream
from tests.estimator.small import CONFIGS

DEEP = {
    name: CONFIGS[name] | {"num_hidden_layers": 7}
    for name in ("llama", "qwen2-bias", "gemma-tied", "phi3-fused", "opt-bias", "qwen3-moe")
}
DEEP["gpt2-conv1d"] = CONFIGS["gpt2-conv1d"] | {"n_layer": 7}
STRUCTURES = [
    ("llama", "trl", {}),
    ("llama", "plain", {"method": "lora", "gradient_checkpointing": False, "attn_implementation": "eager"}),
    ("llama", "trainer", {"method": "full", "dtype": "bfloat16"}),
    ("llama", "trl", {"lora_dropout": 0.1, "use_dora": True}),
    ("llama", "plain", {"quantization": "int8", "r": 5}),
    ("llama", "trl", {"use_reentrant": True, "per_device_train_batch_size": 1}),
    ("qwen2-bias", "plain", {"bias": "all"}),
    ("gemma-tied", "trl", {"modules_to_save": ("lm_head",), "method": "lora"}),
    ("phi3-fused", "trl", {"target_modules": "all-linear"}),
    ("opt-bias", "trainer", {"method": "lora"}),
    ("qwen3-moe", "trl", {"attn_implementation": "eager"}),
    ("gpt2-conv1d", "trainer", {"method": "lora", "target_modules": ("c_attn",)}),
]


def recipe_of(name, changed):
    given = {"target_modules": ("q_proj", "v_proj")} if name not in ("phi3-fused", "gpt2-conv1d") else {}
    return Recipe(**({"model": name, "max_length": 48, "per_device_train_batch_size": 3, "r": 4} | given | changed))


@pytest.mark.parametrize(("name", "loop", "changed"), STRUCTURES, ids=str)
def test_the_repeated_step_is_the_one_traced_whole(name, loop, changed):
    recipe, config = recipe_of(name, changed), DEEP[name]
    stream = derive_stream(recipe, config, loop, Platform(), None, Batches())
    stream = Stream.from_dict(json.loads(json.dumps(stream.to_dict())))
    batch, length = shape(recipe)
    law = Law((), laws.tile_tokens(loop), "", 0.0)
    kept, events = stream.at(law.phi(batch, length, recipe.r), recipe.r)
    tile = min(law.tile_tokens, batch * (length - 1)) if law.tile_tokens else batch * (length - 1)
    whole = trace_step(recipe, config, LOOPS[loop], Sizes(batch, length, recipe.r, tile, batch * (length - 1)), None)
    assert stream.layers < stream.total == whole.layers
    assert kept == whole.kept
    assert list(course(events)) == list(course(whole.events))


def test_layers_that_a_recipe_tells_apart_have_no_stream():
    with pytest.raises(NotLinear):
        derive_stream(
            recipe_of("llama", {"layers_to_transform": (1,)}), DEEP["llama"], "trl", Platform(), None, Batches()
        )


def test_by_hand_a_layer_in_the_middle_is_repeated_and_frees_what_the_one_before_it_made():
    # Three layers: each makes one block of 8 B bytes and frees the one before's; the head takes 1 byte and frees the
    # last layer's.
    sizes = ((0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    events = (0, 0, -2, 0, -3, 1, -3)
    runs = (("forward", 0, 1), ("forward", 1, 2), ("forward", 2, 2), ("loss", HEAD, 2))
    kept = (
        StaticTerms("h.{}.a", 0, (2,), 2, True, True, (1, 2), "float32", (0,)),
        StaticTerms("h.{}.a", 1, (2,), 2, True, True, (1, 2), "float32", (0,)),
        StaticTerms("top", -1, (6,), 6, False, False, (3,), "float16"),
    )
    stream = Stream(sizes, events, runs, (), kept, start=1, period=1, layers=3, total=5)
    made, step = stream.at(Law((), 0, "", 0.0).phi(4, 7, 5), 5)
    assert [(static.name, static.parts_bytes, static.shape) for static in made] == [
        *((f"h.{n}.a", (10,), (5, 2)) for n in range(4)),
        ("top", (6,), (3,)),
    ]
    assert step.delta_bytes == [32, *[32, -32] * 4, 1, -32]
    assert step.storage == [1, 2, 1, 3, 2, 4, 3, 5, 4, 6, 5]
    assert step.place == [
        ("forward", 0),
        *(("forward", n) for n in (1, 2, 3, 4) for _ in range(2)),
        *[("loss", HEAD)] * 2,
    ]


def test_reserved_memory_by_the_stream_is_that_of_the_whole_trace_and_is_kept(tmp_path):
    model, recipe = (
        model_from_config(DEEP["llama"] | {"architectures": ["LlamaForCausalLM"]}, "mine", tmp_path),
        recipe_of("llama", {"max_length": 4096}),
    )
    asked = {"model": model, "cache_dir": tmp_path}
    by_law = estimate(recipe, derive=True, **asked)
    assert by_law.engine == "traced" and by_law.uncertainty.why[0].code == "why.replay"
    assert estimate(recipe, **asked).peak_reserved_bytes == by_law.peak_reserved_bytes
    assert estimate(recipe, engine="trace", derive=True, **asked).peak_reserved_bytes == by_law.peak_reserved_bytes
    assert len(list((tmp_path / "streams").iterdir())) == 1


def test_a_model_without_a_stream_keeps_the_range_of_the_law_and_is_tried_once(tmp_path, monkeypatch):
    model = model_from_config(DEEP["llama"] | {"architectures": ["LlamaForCausalLM"]}, "mine", tmp_path)
    recipe = recipe_of("llama", {"layers_to_transform": (1,)})
    assert estimate(recipe, model=model, cache_dir=tmp_path, derive=True).uncertainty.why[0].code == "why.traced"
    monkeypatch.setattr(streams, "_traced", lambda *_: pytest.fail("tried again"))
    estimate(recipe, model=model, cache_dir=tmp_path, derive=True)


def test_beside_a_shipped_law_nothing_is_traced(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_traced", lambda *_: pytest.fail("torch is asked for"))
    recipe = Recipe(model="Qwen/Qwen2.5-0.5B")
    assert (
        laws.is_shipped(load_preset(recipe.model), laws.key_of(Question(recipe, load_preset(recipe.model))))
        and recipe.model in models()
    )
    assert estimate(recipe, derive=True, cache_dir=tmp_path).uncertainty.why[0].code == "why.traced"

"""How rows fill a batch: packed, padded, partly trained. The law against the full trace, and both against what TRL,
Transformers and torch really do on the CPU."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from estimator import estimate
from estimator.adapters.adapters import trainables
from estimator.core.problems import Problem
from estimator.hardware.platforms import Platform
from estimator.law.law import PHI, WORK, Law
from estimator.law.layer_bytes import layer_bytes, stream_widths
from estimator.law.padding import ERROR_PADDED, padding_bytes, with_padding
from estimator.law.question import Question
from estimator.model.catalog import load_preset, models
from estimator.model.spec import ModelSpec
from estimator.program import loading, program
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws
from estimator.trace.fit import tile_of
from estimator.trace.step import Sizes, trace_step
from tests.estimator.test_analytic import ROWS, SIZES, TOKENS, made, saved_bytes
from tests.studio.chat_models import make_base

ID = "HuggingFaceTB/SmolLM2-135M"
SHIPPED = load_preset(ID)
MODEL = replace(SHIPPED, config={**SHIPPED.config, "num_hidden_layers": 6})
DYNAMIC = ("gradients", "activations", "logits_and_loss", "temporary")
PADDED, SOME = Batches(padded=True), Batches(trained_share=0.3)
CASES = {
    "padded": ({}, PADDED),
    "padded-kept": ({"gradient_checkpointing": False}, PADDED),
    "padded-eager": ({"attn_implementation": "eager"}, PADDED),
    "padded-flash": ({"attn_implementation": "flash_attention_2"}, PADDED),
    "some-trained": ({"method": "full"}, SOME),
    "some-trained-padded": ({"gradient_checkpointing": False}, Batches(0.3, True)),
    "packed": ({"packing": True}, Batches()),
    "packed-flash": ({"packing": True, "attn_implementation": "flash_attention_2"}, SOME),
    "packed-eager": ({"packing": True, "packing_strategy": "bfd_split", "attn_implementation": "eager"}, Batches()),
    "reentrant": ({"use_reentrant": True}, Batches()),
    "reentrant-autocast": ({"use_reentrant": True, "mixed_precision": "bf16", "dtype": "float32"}, Batches()),
    "half-adapters": ({"autocast_adapter_dtype": False, "use_dora": True}, Batches()),
    "int8": ({"method": "qlora", "quantization": "int8"}, Batches()),
    "int8-dora": ({"method": "qlora", "quantization": "int8", "use_dora": True}, Batches()),
    "qdora": ({"method": "qlora", "use_dora": True, "gradient_checkpointing": False}, Batches()),
}


def law_peak(law: Law, recipe: Recipe, batches: Batches) -> int:
    phi = law.phi(*shape(recipe), recipe.r if recipe.has_adapters else 0, batches.trained_share)
    rows = [row for row in law.rows if row.moment != "optimizer_step"]
    return max(
        round(sum(sum(c * x for c, x in zip(row.coefficients.get(name, ()), phi)) for name in DYNAMIC)) for row in rows
    )


def traced_peak(recipe: Recipe, batches: Batches = Batches()) -> int:
    sizes = Sizes(*shape(recipe), recipe.r, tile_of(recipe, "trl", batches), batches.trained_tokens(recipe))
    made = trace_step(recipe, MODEL.config, LOOPS["trl"], sizes, None, Platform(), MODEL.inventory.class_name, batches)
    components, _ = made.events.peak()
    return sum(components.values())


@pytest.mark.parametrize("case", CASES)
def test_law_equals_full_trace_on_unseen_sizes(case):
    fields, batches = CASES[case]
    recipe = Recipe(model=ID, r=24, per_device_train_batch_size=3, max_length=1640, **{"method": "lora", **fields})
    law = laws.traced(Question(recipe, MODEL, batches=batches))
    assert law_peak(law, recipe, batches) == pytest.approx(traced_peak(recipe, batches), rel=1e-3)


def test_what_is_the_default_keeps_its_key_and_what_changes_the_step_has_its_own():
    recipe = Recipe(model=ID)
    plain = laws.key_of(Question(recipe, MODEL))
    assert plain in laws.shipped(models()[ID].stem)
    keys = {
        laws.key_of(Question(recipe.replace(**fields), MODEL, batches=batches)) for fields, batches in CASES.values()
    }
    assert len(keys | {plain}) == len(CASES) + 1
    assert (
        laws.key_of(Question(recipe.replace(packing=True, packing_strategy="wrapped"), MODEL)) == plain
    )  # rows stay rows
    one_row = recipe.replace(per_device_train_batch_size=1)
    assert laws.key_of(Question(one_row, MODEL, batches=PADDED)) == laws.key_of(Question(one_row, MODEL))


def test_a_law_made_before_the_share_was_known_reads_as_one_that_trains_all():
    law = laws.traced(Question(Recipe(model=ID), MODEL))
    old = law.to_dict()
    assert old["phi"][-2:] == ("trained", "chunks") and not any(
        any(c[-2:]) for row in old["rows"] for c in row["coefficients"].values()
    )
    for known in (len(PHI) - 2, len(PHI) - 1):
        rows = [
            row | {"coefficients": {name: c[:known] for name, c in row["coefficients"].items()}} for row in old["rows"]
        ]
        work = {name: {key: values[:known] for key, values in old[name].items()} for name in WORK}
        assert Law.from_dict(old | work | {"phi": PHI[:known], "rows": rows}) == law
    with pytest.raises(ValueError, match="format"):
        Law.from_dict(old | {"phi": PHI[:-3]})


def test_fewer_trained_tokens_take_less_and_padding_takes_what_its_masks_take():
    recipe = Recipe(
        model=ID, method="lora", gradient_checkpointing=False, per_device_train_batch_size=2, max_length=512
    )
    assert traced_peak(recipe, SOME) < traced_peak(recipe)
    spec = replace(SHIPPED.spec, num_hidden_layers=6)
    assert traced_peak(recipe, PADDED) - traced_peak(recipe) == pytest.approx(
        padding_bytes(recipe, spec, Platform()), rel=0.05
    )


@pytest.mark.parametrize("fields", [{"method": "full"}, {"method": "lora", "gradient_checkpointing": False}], ids=str)
def test_masks_added_to_the_law_of_full_rows_are_those_of_the_trace(fields):
    model = replace(MODEL, spec=replace(SHIPPED.spec, num_hidden_layers=6))
    for length in (512, 4096):
        recipe = Recipe(model=ID, per_device_train_batch_size=2, max_length=length, **fields)
        added = with_padding(laws.traced(Question(recipe, model)), recipe, model.spec)
        traced = law_peak(laws.traced(Question(recipe, model, batches=PADDED)), recipe, PADDED)
        assert traced * 0.999 <= law_peak(added, recipe, PADDED) <= traced * (1 + ERROR_PADDED)


def test_padding_adds_only_where_full_rows_have_no_scores_and_no_mask():
    recipe, spec = Recipe(model=ID, per_device_train_batch_size=4), SHIPPED.spec
    assert spec.num_key_value_heads < spec.num_attention_heads and padding_bytes(recipe, spec, Platform())
    assert (
        padding_bytes(recipe, spec, Platform(7.5)) == 0
    )  # the math path keeps every score of full rows, grouped heads
    for fields in (
        {"attn_implementation": "eager"},
        {"attn_implementation": "flash_attention_2"},
        {"packing": True},
        {"per_device_train_batch_size": 1},
    ):
        assert padding_bytes(recipe.replace(**fields), spec, Platform()) == 0
    padded = estimate(recipe, padded=True)
    assert padded.engine == "traced" and padded.peak_allocated_bytes > estimate(recipe).peak_allocated_bytes


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(Problem) as caught:
        estimate(Recipe(model=ID), trained_share=share)
    assert caught.value.field == "trained_share"


def test_a_batch_that_may_be_padded_says_so_in_its_bar():
    recipe = Recipe(model=ID, per_device_train_batch_size=8, max_length=4096)
    told, asked, single = (
        estimate(recipe, padded=True),
        estimate(recipe),
        estimate(recipe.replace(per_device_train_batch_size=1)),
    )
    codes = [[why.code for why in made.uncertainty.why] for made in (told, asked, single)]
    assert [("why.padding" in one) for one in codes] == [False, True, False]
    assert asked.uncertainty.high_bytes - asked.device_bytes > padding_bytes(recipe, SHIPPED.spec, Platform())


def test_without_a_law_that_knows_the_share_the_full_one_bounds_it(tmp_path):
    recipe = Recipe(model=ID, max_length=2048, per_device_train_batch_size=4)
    bound, plain = estimate(recipe, trained_share=0.2, cache_dir=tmp_path), estimate(recipe)
    assert bound.engine == "traced" and "why.trained_share" in [why.code for why in bound.uncertainty.why]
    assert bound.uncertainty.low_bytes < plain.uncertainty.low_bytes
    exact = estimate(recipe, trained_share=0.2, derive=True, cache_dir=tmp_path)
    assert (
        bound.uncertainty.low_bytes <= exact.device_bytes and exact.peak_allocated_bytes <= bound.peak_allocated_bytes
    )


# Against the real libraries


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


def first_batch(recipe: Recipe, base, folder) -> tuple[dict, torch.nn.Module]:
    """What the worker's trainer hands to the model in its first step, and the model after it."""
    from datasets import Dataset

    from studio.rendering import rendering

    tokenizer = rendering.load_tokenizer(base)
    rows = Dataset.from_list(
        [{"input_ids": [5] * n, "labels": [-100] + [5] * (n - 1)} for n in (3, 9, 14, 20, 7, 30, 12, 5)]
    )
    args = program.sft_config(recipe, folder, device="cpu", evaluates=False)
    model = loading.load_base(recipe, base, training=True)
    trainer = program.make_trainer(recipe, model, tokenizer, rows, None, args, rendering.collator(tokenizer), [])
    inner, seen = trainer.model.get_base_model().model, []
    forward = inner.forward
    inner.forward = lambda **given: seen.append(given) or forward(**given)
    trainer.train()
    return seen[0], trainer.model


def small(base, **fields) -> Recipe:
    fields = {
        "method": "lora",
        "dtype": "float32",
        "per_device_train_batch_size": 2,
        "max_length": 32,
        "max_steps": 1,
        "save_steps": 0,
        **fields,
    }
    return Recipe(model=str(base), **fields)


def test_packed_rows_reach_the_model_as_the_trace_makes_them(base, tmp_path):
    from transformers.masking_utils import create_causal_mask

    from estimator.trace.on_cuda import _examples
    from estimator.trace.step import _inputs

    given, model = first_batch(small(base, packing=True), base, tmp_path)
    rows, tokens = given["input_ids"].shape
    assert rows == 1 and 32 < tokens <= 64 and given["attention_mask"] is None
    ours = _inputs(Sizes(rows, tokens, 8, 8), flat=True)
    theirs = {name: value for name, value in given.items() if torch.is_tensor(value) and value.dim() == 2}
    assert {n: (v.shape, v.dtype) for n, v in ours.items() if n != "labels"} == {
        n: (v.shape, v.dtype) for n, v in theirs.items()
    }
    embeds = torch.zeros(1, tokens, 8)
    mask = create_causal_mask(model.get_base_model().config, embeds, None, None, given["position_ids"])
    assert mask.dtype is torch.bool and mask.shape == (1, 1, tokens, tokens)
    assert _examples(given["position_ids"])[0, -1] == (given["position_ids"] == 0).sum() - 1


def test_cut_rows_are_full_and_padded_ones_get_a_mask(base, tmp_path):
    from transformers.masking_utils import create_causal_mask

    given, model = first_batch(small(base, packing=True, packing_strategy="wrapped"), base, tmp_path)
    assert given["input_ids"].shape == (2, 32) and "position_ids" not in given
    config, embeds = model.get_base_model().config, torch.zeros(2, 32, 8)
    assert create_causal_mask(config, embeds, torch.ones(2, 32, dtype=torch.long), None) is None
    padded, _ = first_batch(small(base), base, tmp_path)
    length = padded["input_ids"].shape[1]
    mask = create_causal_mask(config, torch.zeros(2, length, 8), padded["attention_mask"], None)
    assert mask.shape == (2, 1, length, length) and mask.dtype is torch.bool


def test_the_worker_makes_adapters_and_checkpoints_as_the_recipe_says(base, tmp_path):
    _, model = first_batch(
        small(base, dtype="bfloat16", autocast_adapter_dtype=False, use_reentrant=True), base, tmp_path
    )
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.bfloat16}
    layer = model.get_base_model().model.layers[0]
    assert layer._gradient_checkpointing_func.keywords["use_reentrant"] is True
    _, model = first_batch(small(base, dtype="bfloat16"), base, tmp_path)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.parametrize(
    "fields", [{"method": "full"}, {"method": "lora"}, {"method": "lora", "autocast_adapter_dtype": False}], ids=str
)
def test_a_padded_layer_saves_what_the_law_says(fields):
    """k and v at the query heads, and a mask of numbers for each layer, on the real sdpa kernel of the CPU."""
    warnings.simplefilter("ignore")
    recipe = Recipe(model="small", r=8, **fields)
    mask = torch.ones(ROWS, TOKENS, dtype=torch.long)
    mask[0, TOKENS // 2 :] = 0
    real = saved_bytes(made("llama", 3, recipe, "plain"), mask) - saved_bytes(made("llama", 2, recipe, "plain"), mask)
    from estimator.trace import meta_model

    config = SIZES | {"model_type": "llama", "num_hidden_layers": 3}
    inventory = meta_model.derive(config)
    known = (
        recipe,
        inventory,
        ModelSpec.from_config(config),
        trainables(recipe, inventory),
        stream_widths(recipe, LOOPS["plain"]),
        "cpu",
    )
    phi = {"1": 1, "BS": ROWS * TOKENS, "BSr": ROWS * TOKENS * recipe.r, "BSS": ROWS * TOKENS * TOKENS, "r": recipe.r}
    assert sum(coefficient * phi[name] for name, coefficient in layer_bytes(*known, masked=True).saved.items()) == real


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_layer_keeps_on_meta_what_it_keeps_on_the_cpu(reentrant):
    """Bytes alive after the forward pass, a layer: its input, by torch's own checkpointing of either kind."""
    from estimator.trace.on_cuda import as_on_cuda
    from estimator.trace.prepared import prepared
    from estimator.trace.recorder import Recorder

    recipe = Recipe(model="small", method="lora", dtype="bfloat16", r=8, use_reentrant=reentrant)

    def kept(layers: int, device: str) -> int:
        if device == "cpu":
            model = made("llama", layers, recipe, "plain")
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        else:
            model = prepared(recipe, SIZES | {"model_type": "llama", "num_hidden_layers": layers}, LOOPS["plain"], None)
        ids = torch.zeros(ROWS, TOKENS, dtype=torch.long, device=device)
        recorder = Recorder(recipe.r, device=device)
        recorder.ignore(*model.parameters(), *model.buffers(), ids)
        with recorder:
            out = model(input_ids=ids, use_cache=False).logits
        assert out.requires_grad
        return sum(recorder.finish().delta_bytes)

    warnings.simplefilter("ignore")
    with as_on_cuda(Platform(), recipe, Batches()):
        on_meta = kept(4, "meta") - kept(3, "meta")
    assert on_meta == kept(4, "cpu") - kept(3, "cpu") == ROWS * TOKENS * SIZES["hidden_size"] * 2

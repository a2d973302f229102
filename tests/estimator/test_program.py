"""The program that is trained: evaluation does no harm, and a machine is not asked for kernels it has not."""

from __future__ import annotations

import bitsandbytes.nn.modules as bnb_modules
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from datasets import Dataset
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Gemma2Config, LlamaConfig

from estimator.core.problems import Problem
from estimator.hardware import devices
from estimator.program import loading, program
from estimator.recipe.recipe import Recipe
from tests.processors import believe, is_packed, processor  # noqa: F401  (a fixture among them)
from tests.studio.chat_models import make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


IDS = torch.tensor([[1, 5, 9, 20, 31, 7]])


def gradients(model) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def evaluate(model) -> None:
    model.eval()
    with torch.no_grad():
        model(input_ids=IDS)


def layers(model) -> list[Linear4bit]:
    return [module for module in model.modules() if isinstance(module, Linear4bit)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_after_an_evaluation_are_those_before_it(base, processor, dtype):
    recipe = Recipe(model=str(base), dtype=dtype, r=8)
    model = loading.load_base(recipe, base, training=True)
    assert len(layers(model)) == 14
    model = get_peft_model(model, program.lora_config(recipe))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)  # at zero, A would have no gradient to compare
    weights = [layer.weight.data.clone() for layer in layers(model)]
    before = gradients(model)
    evaluate(model)
    after = gradients(model)
    assert before and before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(a, b.weight.data) for a, b in zip(weights, layers(model), strict=True))


def test_without_the_guard_an_evaluation_repacks_the_weights(base, monkeypatch):
    """The proof that the tests around can fail: the trap is real in the installed bitsandbytes."""
    believe(monkeypatch, "avx512bf16")
    model = loading.load_base(Recipe(model=str(base), dtype="bfloat16"), base, training=False)
    layer = layers(model)[0]
    assert layer.support_avx512bf16_for_cpu
    packed, state = bnb_modules._convert_weight_packed_for_cpu(layer.weight.data.clone(), layer.weight.quant_state)
    assert state.packing_format_for_cpu and not torch.equal(packed.flatten(), layer.weight.data.flatten())


def saved(model, folder) -> dict[str, torch.Tensor]:
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def test_saving_and_merging_after_an_answer_are_those_before_it(base, processor, tmp_path):
    """Repacked weights are saved and merged as if they were not: another model."""
    recipe = Recipe(model=str(base), dtype="float32", r=8, init_lora_weights="false")
    model = loading.load_base(recipe, base, training=True)
    before = saved(model, tmp_path / "before")
    torch.manual_seed(0)
    adapted = get_peft_model(model, program.lora_config(recipe))
    adapted.eval()
    deltas = {
        name: module.get_delta_weight("default")
        for name, module in adapted.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    weights = {name: dequantized(module) + deltas[name] for name, module in adapted.named_modules() if name in deltas}
    evaluate(adapted)
    assert not is_packed(adapted)
    adapted.merge_adapter()
    merged = {name: dequantized(module) for name, module in adapted.named_modules() if name in deltas}
    error = max(((merged[name] - weights[name]).norm() / weights[name].norm()).item() for name in deltas)
    assert error < 0.15  # 4 bits round; of scrambled weights it would be above 1
    again = loading.load_base(recipe, base, training=True)
    evaluate(again)
    after = saved(again, tmp_path / "after")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def dequantized(module) -> torch.Tensor:
    weight = module.get_base_layer().weight
    return dequantize_4bit(weight.data, weight.quant_state)


def test_norms_of_dora_after_an_answer_are_those_before_it(base, processor):
    recipe = Recipe(model=str(base), dtype="float32", r=8, use_dora=True)
    norms = []
    for answers_first in (False, True):
        model = loading.load_base(recipe, base, training=True)
        if answers_first:
            evaluate(model)
        adapted = get_peft_model(model, program.lora_config(recipe))
        norms.append([p.detach() for name, p in adapted.named_parameters() if "magnitude" in name])
    assert len(norms[0]) == 14 and all(torch.equal(a, b) for a, b in zip(*norms, strict=True))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mixed_precision": "fp16"}, "mixed_precision"),
        ({"attn_implementation": "flash_attention_2"}, "attn_implementation"),
        ({"quantization": "int8", "use_dora": True}, "use_dora"),
    ],
)
def test_what_a_cpu_has_no_kernels_for_is_refused_by_name(change, field):
    recipe = Recipe(model="m", **change)
    with pytest.raises(Problem) as caught:
        devices.check_machine(recipe, "cpu")
    assert caught.value.field == field and str(getattr(recipe, field)) in str(caught.value)
    devices.check_machine(recipe, "cuda")


def test_optimizers_of_bitsandbytes_step_on_a_cpu_and_not_on_mps():
    for optim in ("lion_8bit", "paged_adamw_32bit", "adamw_bnb_8bit"):
        devices.check_machine(Recipe(model="m", optim=optim), "cpu")  # what test_states.py steps with
        with pytest.raises(Problem) as caught:
            devices.check_machine(Recipe(model="m", method="lora", optim=optim), "mps")
        assert caught.value.field == "optim"


def test_a_start_that_rewrites_the_shared_base_is_estimated_but_not_trained_here():
    with pytest.raises(Problem) as caught:
        devices.check_machine(Recipe(model="m", method="lora", init_lora_weights="pissa_niter_4"), "cuda")
    assert caught.value.field == "init_lora_weights" and "pissa_niter_4" in str(caught.value)


def test_every_lora_field_of_the_recipe_reaches_peft():
    recipe = Recipe(
        model="m", r=4, lora_alpha=7, lora_dropout=0.2, target_modules=("q_proj",), exclude_modules=("v_proj",),
        layers_to_transform=(0,),
        layers_pattern="layers", rank_pattern={"q": 2}, alpha_pattern={"q": 3}, modules_to_save=("lm_head",),
        bias="all",
        use_dora=True, use_rslora=True, init_lora_weights="gaussian", target_parameters=("experts.down_proj",),
        trainable_token_indices={"embed_tokens": (1, 2)},
    )  # fmt: skip
    config = program.lora_config(recipe)
    for name in (*program._LORA_FIELDS, "init_lora_weights"):
        said, got = recipe.to_dict()[name], getattr(config, name)
        assert (set(said) if isinstance(said, list) else said) == (set(got) if isinstance(got, (list, set)) else got), (
            name
        )
    assert program.lora_config(Recipe(model="m", lora_bias=True)).lora_bias is True
    assert program.lora_config(Recipe(model="m", target_modules=(), target_parameters=("a.b",))).target_modules == set()
    assert program.lora_config(Recipe(model="m", target_modules=None)).target_modules is None
    assert [
        program.lora_config(Recipe(model="m", init_lora_weights=w)).init_lora_weights
        for w in ("true", "false", "olora")
    ] == [True, False, "olora"]


def test_the_adapter_names_the_model_not_a_path_of_this_machine(base):
    recipe = Recipe(model=str(base), method="lora", dtype="float32")
    model = loading.load_base(recipe.replace(model=str(base)), base, training=True)
    assert model.name_or_path == recipe.model


@pytest.mark.parametrize(("config", "kernel"), [(LlamaConfig, "sdpa"), (Gemma2Config, "eager")])
def test_a_class_without_the_fused_kernel_computes_eagerly(tmp_path, config, kernel):
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 64,
    }
    AutoModelForCausalLM.from_config(config(**sizes)).save_pretrained(tmp_path)
    model = loading.load_base(Recipe(model=str(tmp_path), method="lora", dtype="float32"), tmp_path, training=True)
    assert model.config._attn_implementation == kernel


def test_the_loss_of_an_evaluation_is_a_mean_per_token_whatever_the_batch(base, tmp_path):
    """Transformers' own counts a row alone in its batch as much as several together."""
    rows = [[1, 5, 9, 20, 31, 7, 8, 12, 30], [1, 40, 2], [3, 9], [1, 7, 7, 7]]
    tokenizer = AutoTokenizer.from_pretrained(base, pad_token="<|text_end|>")
    data = Dataset.from_list([{"input_ids": ids, "labels": [-100, *ids[1:]]} for ids in rows])
    losses = []
    for batch in (1, 3, 4):
        recipe = Recipe(model=str(base), method="lora", dtype="float32", per_device_eval_batch_size=batch)
        model = loading.load_base(recipe, base, training=True)
        args = program.sft_config(recipe, tmp_path, device="cpu", evaluates=True)
        collator = DataCollatorForSeq2Seq(tokenizer)
        losses.append(
            program.make_trainer(recipe, model, tokenizer, data, data, args, collator, []).evaluate()["eval_loss"]
        )
    plain = loading.load_base(recipe, base, training=False)
    with torch.no_grad():
        means = [
            (plain(input_ids=ids, labels=ids).loss.item(), len(row) - 1)
            for row in rows
            for ids in [torch.tensor([row])]
        ]
    wanted = sum(mean * count for mean, count in means) / sum(count for _, count in means)
    assert losses == pytest.approx([wanted] * 3, rel=1e-5)

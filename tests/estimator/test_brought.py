"""Recipes of other tools: their names and defaults become ours, what is not used is named, what cannot be is
refused."""

import json

import pytest

from estimator import Problem, Recipe
from estimator.recipe.recipe import FIELDS
from estimator.recipe.recipe_file import read_recipe

FACTORY = """
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
quantization_bit: 4
trust_remote_code: true
### method
stage: sft
finetuning_type: lora
lora_target: all
### dataset
dataset: identity,alpaca_en_demo
template: llama3
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1e-4
num_train_epochs: 3.0
warmup_ratio: 0.1
bf16: true
optim: adamw_8bit
resume_from_checkpoint: null
"""
UNSLOTH = {
    "model_name": "unsloth/llama-3-8b-bnb-4bit",
    "max_seq_length": 4096,
    "r": 32,
    "random_state": 3407,
    "dataset": "x",
}


def read(tmp_path, text, name="sft.yaml"):
    file, said = tmp_path / name, []
    file.write_text(text, encoding="utf-8")
    fields = read_recipe(str(file), said.append)
    loop = fields.pop("loop", None)
    return Recipe.from_dict({name: value for name, value in fields.items() if name in FIELDS}), loop, said


def test_a_file_of_llama_factory_is_read_with_its_own_defaults_and_what_is_unused_is_named(tmp_path):
    recipe, loop, (note,) = read(tmp_path, FACTORY)
    assert recipe == Recipe(
        model="meta-llama/Meta-Llama-3-8B-Instruct", method="qlora", quantization="nf4", r=8, lora_alpha=16,
        max_length=2048,
        per_device_train_batch_size=1, gradient_accumulation_steps=8, learning_rate=1e-4, num_train_epochs=3,
        warmup_steps=0.1,
        dtype="bfloat16", mixed_precision="bf16", optim="adamw_bnb_8bit", use_reentrant=True, logging_steps=500,
        save_steps=500,
    )  # fmt: skip
    assert loop == "trainer-no-upcast" and note.code == "recipe.brought"
    assert note.params["unused"] == "trust_remote_code, dataset, template, resume_from_checkpoint"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("finetuning_type: full\nbf16: true", {"method": "full", "dtype": "float32", "mixed_precision": "bf16"}),
        ("finetuning_type: full\npure_bf16: true", {"method": "full", "dtype": "bfloat16", "mixed_precision": "no"}),
        ("finetuning_type: lora\nfp16: true", {"method": "lora", "dtype": "float16", "mixed_precision": "fp16"}),
        ("lora_target: q_proj,v_proj", {"target_modules": ("q_proj", "v_proj")}),
        ("lora_rank: 64", {"r": 64, "lora_alpha": 128}),
        ("lora_rank: 64\nlora_alpha: 16", {"r": 64, "lora_alpha": 16}),
        ("quantization_bit: 8", {"method": "qlora", "quantization": "int8"}),
        ("flash_attn: fa2\nbf16: true", {"attn_implementation": "flash_attention_2"}),
        ("disable_gradient_checkpointing: true", {"gradient_checkpointing": False}),
        ("additional_target: embed_tokens,lm_head", {"modules_to_save": ("embed_tokens", "lm_head")}),
        ("cutoff_len: 8192\npacking: true", {"max_length": 8192, "packing": True}),
    ],
)
def test_a_setting_of_llama_factory_is_the_field_that_means_it(line, fields, tmp_path):
    recipe, _, _ = read(tmp_path, f"model_name_or_path: Qwen/Qwen2.5-7B-Instruct\n{line}\n")
    assert {name: getattr(recipe, name) for name in fields} == fields


def test_names_of_unsloth_are_read_from_json_too(tmp_path):
    recipe, loop, (note,) = read(tmp_path, json.dumps(UNSLOTH), "unsloth.json")
    assert (recipe.model, recipe.max_length, recipe.r, recipe.seed) == ("unsloth/llama-3-8b-bnb-4bit", 4096, 32, 3407)
    assert recipe.method == "qlora" and "down_proj" in recipe.target_modules and loop is None
    assert note.params["tool"] == "Unsloth" and note.params["unused"] == "dataset"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stage: dpo", "stage: dpo is not one of the choices. Allowed: sft, pt"),
        ("finetuning_type: freeze", "finetuning_type: freeze"),
        ("quantization_bit: 3", "quantization_bit: 3"),
        ("quantization_bit: 4\nquantization_method: hqq", "quantization_method: hqq"),
        ("optim: galore_adamw", "Nearest: adamw_torch"),
        ("lora_rank: many", "r: many"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_not_trained_here_is_refused_by_the_files_own_word(line, said, tmp_path):
    with pytest.raises(Problem, match=".") as raised:
        read(tmp_path, f"model_name_or_path: Qwen/Qwen2.5-7B-Instruct\n{line}\n")
    assert said in str(raised.value)


def test_a_recipe_of_ours_is_read_as_before(tmp_path):
    recipe, _, said = read(tmp_path, 'model = "Qwen/Qwen3-8B"\nr = 4\n', "mine.toml")
    assert recipe.r == 4 and not said
    assert read(tmp_path, "model: Qwen/Qwen3-8B\nr: 4\n", "mine.yaml")[0] == recipe


AXOLOTL = """
base_model: NousResearch/Meta-Llama-3-8B
load_in_4bit: true
adapter: qlora
sequence_len: 4096
sample_packing: true
lora_r: 32
lora_target_linear: true
micro_batch_size: 2
num_epochs: 2
optimizer: paged_adamw_32bit
learning_rate: 0.0002
bf16: auto
gradient_checkpointing: true
flash_attention: true
warmup_steps:
datasets:
  - path: tatsu-lab/alpaca
"""


def test_a_file_of_axolotl_is_read_as_one(tmp_path):
    recipe, loop, (note,) = read(tmp_path, AXOLOTL, "qlora.yml")
    assert recipe == Recipe(
        model="NousResearch/Meta-Llama-3-8B", method="qlora", max_length=4096, packing=True, r=32, lora_alpha=16,
        per_device_train_batch_size=2, num_train_epochs=2, optim="paged_adamw_32bit", lr_scheduler_type="cosine",
        use_reentrant=True, mixed_precision="bf16", attn_implementation="flash_attention_2",
    )  # fmt: skip
    assert note.params["tool"] == "Axolotl" and note.params["unused"] == "datasets" and loop == "trainer-no-upcast"


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (
            "adapter: lora",
            {"method": "lora", "target_modules": None, "max_length": 512, "gradient_checkpointing": False},
        ),
        ("adapter: lora\nload_in_8bit: true", {"method": "qlora", "quantization": "int8"}),
        ("adapter:\nbf16: true", {"method": "full", "dtype": "bfloat16"}),
        ("adapter: lora\nlora_target_modules: [q_proj, v_proj]", {"target_modules": ("q_proj", "v_proj")}),
    ],
)
def test_a_setting_of_axolotl_is_the_field_that_means_it(lines, fields, tmp_path):
    recipe, _, _ = read(tmp_path, f"base_model: Qwen/Qwen2.5-7B\n{lines}\n")
    assert {name: getattr(recipe, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model_name_or_path: Qwen/Qwen2.5-7B\ndeepspeed: ds_z2_config.json", "--distributed-type zero2"),
        ("base_model: Qwen/Qwen2.5-7B\nfsdp: [full_shard]", "--distributed-type fsdp"),
        ("base_model: Qwen/Qwen2.5-7B\ngradient_checkpointing: offload", "host memory"),
        ("model_name_or_path: Qwen/Qwen2.5-7B\nuse_unsloth: true", "Unsloth's own kernels"),
        ("model_name_or_path: Qwen/Qwen2.5-7B\nenable_liger_kernel: true", "--loop trl"),
        ("model_name: Qwen/Qwen2.5-7B\nuse_gradient_checkpointing: unsloth", "host memory"),
    ],
)
def test_what_changes_the_memory_and_is_not_counted_is_said_with_what_it_does(file, said, tmp_path):
    _, _, notes = read(tmp_path, file + "\n")
    assert len(notes) == 2 and said in str(notes[1])
    assert not [note for note in read(tmp_path, file.partition("\n")[0] + "\n")[2][1:]]


@pytest.mark.parametrize(
    ("name", "text", "written"),
    [
        ("a.yaml", "a: [", "in YAML a field is written as r: 16"),
        ("a.toml", "r 16", "in TOML a field is written as r = 16"),
        ("a.json", "{r", 'in JSON a field is written as {"r": 16}'),
    ],
)
def test_a_broken_file_is_told_in_its_own_language(name, text, written, tmp_path):
    with pytest.raises(Problem, match="not valid") as raised:
        read(tmp_path, text, name)
    assert written in str(raised.value)

"""Peaks beside the step, against the libraries themselves: caches, checkpoints, evaluation, merging, loading."""

import functools
import math
import os

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from estimator import Problem, Recipe, estimate
from estimator.estimates.disk import disk_of, model_bytes
from estimator.estimates.parts import parts_of
from estimator.estimates.peaks import RUN
from estimator.law.law import DYNAMIC, STATIC
from estimator.law.question import Question
from estimator.memory.kv_cache import KvCache
from estimator.memory.load_events import base_statics, loading
from estimator.memory.states import base_weights
from estimator.model.catalog import Model, load_preset
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec
from estimator.program import program
from estimator.recipe.loop import LOOPS
from estimator.shelf import caches, evaluations
from estimator.trace import fit, step
from tests.estimator.small import CONFIGS, inventory

LLAMA = "meta-llama/Llama-3.1-8B"
_SMALL = CONFIGS["llama"]
_MLA = _SMALL | {
    "model_type": "deepseek_v3", "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 24, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "head_dim": 8, "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "moe_intermediate_size": 32,
}  # fmt: skip
_HYBRID = _SMALL | {
    "model_type": "qwen3_next", "num_hidden_layers": 4, "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
}  # fmt: skip
_SLIDING = {
    "model_type": "gemma3_text",
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "sliding_window": 16,
}
FAMILIES = {
    "grouped": _SMALL,
    "one head": _SMALL | {"num_key_value_heads": 1},
    "every head": CONFIGS["gpt2-conv1d"],
    "latent": _MLA,
    "sliding": _SMALL | _SLIDING,
    "hybrid": _HYBRID,
    "state space": CONFIGS["mamba"],
    "experts": CONFIGS["qwen3-moe"],
}


def real(config, dtype=torch.bfloat16):
    from transformers import AutoConfig

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=dtype).eval()


@functools.cache
def derived(name):
    from estimator.trace import cache_trace

    return cache_trace.derive(FAMILIES[name])


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_generated_answer_leaves_the_cache_that_was_counted(name, rows):
    """32 tokens of a prompt, 8 of an answer, of which the last is never read."""
    from estimator.trace.cache_trace import cached_tensors

    made = real(FAMILIES[name]).generate(
        torch.ones((rows, 32), dtype=torch.int64), attention_mask=torch.ones((rows, 32), dtype=torch.int64),
        return_dict_in_generate=True,
        generation_config=GenerationConfig(max_new_tokens=8, min_new_tokens=8, do_sample=False, pad_token_id=0),
    )  # fmt: skip
    cache = made.get("past_key_values") or made.cache_params
    held = sum(tensor.untyped_storage().nbytes() for layer in cache.layers for tensor in cached_tensors(layer))
    assert derived(name).bytes(rows, 39, "bfloat16") == held


def test_a_prompt_fills_the_sliding_layers_whole():
    from estimator.trace.cache_trace import cached_tensors

    cache = real(FAMILIES["sliding"])(torch.ones((1, 40), dtype=torch.int64), use_cache=True).past_key_values
    held = sum(tensor.untyped_storage().nbytes() for layer in cache.layers for tensor in cached_tensors(layer))
    assert (
        derived("sliding").bytes(1, 40, "bfloat16", while_reading=True)
        == held
        > derived("sliding").bytes(1, 40, "bfloat16")
    )


def test_published_sizes_of_caches():
    """32 layers x 8 heads x 128 x 2 x 2 B; DeepSeek's latent 512 + 64 numbers a layer (arXiv 2405.04434, 2.1)."""
    assert caches.find(load_preset(LLAMA)).bytes(1, 1000, "bfloat16") == 1000 * 131_072
    assert caches.find(load_preset("deepseek-ai/DeepSeek-V2-Lite")).bytes(1, 1000, "bfloat16") == 1000 * 27 * 576 * 2


def parts(name, **fields):
    model = Model("small", inventory(name), ModelSpec.from_config(CONFIGS[name]), config=CONFIGS[name])
    recipe = Recipe(model="small", max_length=32, **fields)
    return recipe, parts_of(Question(recipe, model))


@pytest.mark.parametrize(
    "fields", [{}, {"use_dora": True}, {"r": 5, "dtype": "float32"}, {"modules_to_save": ("lm_head",)}, {"bias": "all"}]
)
@pytest.mark.parametrize("name", ["llama", "qwen2-bias"])
def test_an_adapters_file_to_the_byte(name, fields, tmp_path):
    from peft import get_peft_model

    recipe, made = parts(name, **{"method": "lora", "dtype": "float32"} | fields)
    get_peft_model(real(CONFIGS[name], torch.float32), program.lora_config(recipe)).save_pretrained(tmp_path)
    assert disk_of(recipe, made).weights_bytes == os.path.getsize(tmp_path / "adapter_model.safetensors")


EMBEDDINGS = [
    ("embed_tokens", "q_proj"),
    ("lm_head",),
    ("embed_tokens", "lm_head", "v_proj"),
    ("model.embed_tokens", "q_proj"),  # PEFT compares names as they stand, and writes no embedding here
    r".*(embed_tokens|q_proj)",
    r".*\.embed_tok.*",
    "all-linear",
]


@pytest.mark.parametrize(
    "fields",
    [{}, {"trainable_token_indices": (1, 2)}, {"exclude_modules": ("embed_tokens",)}, {"dtype": "bfloat16"}],
    ids=str,
)
@pytest.mark.parametrize("targets", EMBEDDINGS, ids=str)
@pytest.mark.parametrize("name", ["llama", "gemma-tied"])
def test_embeddings_among_the_targets_are_written_whole_to_the_byte(name, targets, fields, tmp_path):
    """The file, and the checkpoint, hold what PEFT's `save_embedding_layers="auto"` adds to the adapters."""
    from peft import get_peft_model

    try:
        recipe, made = parts(name, **{"method": "lora", "dtype": "float32", "target_modules": targets} | fields)
    except Problem:  # nothing is left to adapt, or rows of a layer under an adapter
        return
    get_peft_model(real(CONFIGS[name], getattr(torch, recipe.dtype)), program.lora_config(recipe)).save_pretrained(
        tmp_path
    )
    disk = disk_of(recipe, made)
    assert disk.weights_bytes == os.path.getsize(tmp_path / "adapter_model.safetensors")
    assert disk.checkpoint_bytes > disk.weights_bytes


@pytest.mark.parametrize("name", ["llama", "gemma-tied", "gpt2-conv1d"])
def test_a_whole_models_file_to_the_byte(name, tmp_path):
    real(CONFIGS[name]).save_pretrained(tmp_path)
    assert model_bytes(inventory(name), "bfloat16") == os.path.getsize(tmp_path / "model.safetensors")


def test_a_checkpoints_optimizer_is_its_states_and_the_wrapping_of_torch_save(tmp_path):
    """`torch.save` adds a zip entry, 64-byte alignment and a pickle record to each tensor: under 700 bytes of it
    each."""
    recipe, made = parts("llama", method="lora", dtype="float32")
    tensors = [torch.nn.Parameter(torch.zeros(shape)) for shape, count in made.trained.lora for _ in range(count)]
    optimizer = torch.optim.AdamW(tensors)
    for tensor in tensors:
        tensor.grad = torch.ones_like(tensor)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    disk = disk_of(recipe, made)
    rest = os.path.getsize(tmp_path / "optimizer.pt") - (disk.checkpoint_bytes - disk.weights_bytes)
    assert 0 < rest < 700 * 3 * len(tensors)


def test_disk_holds_the_checkpoints_that_are_kept_and_the_one_being_written():
    made = estimate(Recipe(model=LLAMA, save_total_limit=3)).disk
    assert made.total_bytes == 4 * made.checkpoint_bytes + made.weights_bytes
    assert estimate(Recipe(model=LLAMA, save_steps=0)).disk.total_bytes == made.weights_bytes


@pytest.mark.parametrize("loop", ["trl", "trainer"])
@pytest.mark.parametrize(
    "fields", [{"method": "qlora"}, {"method": "full"}, {"method": "lora", "attn_implementation": "eager"}]
)
@pytest.mark.parametrize("name", ["llama", "gemma-tied", "qwen3-moe"])
def test_the_law_of_an_evaluation_is_a_trace_of_it(name, fields, loop):
    """At sizes that the law was not made from, at full depth."""
    if name == "qwen3-moe" and loop == "trainer" and fields["method"] == "qlora":
        pytest.skip("an fp32 stream has no grouped product (torch._grouped_mm)")
    recipe = Recipe(model="small", max_length=48, per_device_train_batch_size=2, **fields)
    law = fit.derive_law(recipe, CONFIGS[name], LOOPS[loop], tile_tokens=64, evaluates=True)
    sizes = step.Sizes(3, 48, 16, 64, 144)
    made = step.trace_step(
        recipe.replace(per_device_train_batch_size=3), CONFIGS[name], LOOPS[loop], sizes, evaluates=True
    )
    components, _ = made.events.peak()
    assert law.dynamic_bytes(3, 48, 16) == pytest.approx(sum(components.values()), abs=len(components))
    _, row = law.evaluate(3, 48, 16, dict.fromkeys(STATIC, 0), 0)
    assert sum(row[part] for part in DYNAMIC) == pytest.approx(law.dynamic_bytes(3, 48, 16), abs=len(DYNAMIC))


def test_a_shipped_law_of_an_evaluation_is_the_one_traced_now():
    recipe = Recipe(model="Qwen/Qwen3-0.6B")
    model = load_preset(recipe.model)
    shipped = evaluations.find(Question(recipe, model))
    assert shipped.to_dict()["rows"] == evaluations.traced(Question(recipe, model)).to_dict()["rows"]


def test_an_evaluation_makes_no_whole_logits_with_trl_and_does_with_the_trainer():
    recipe, config = Recipe(model="small", max_length=48, method="lora"), CONFIGS["llama"] | {"vocab_size": 4096}
    fused, whole = (
        fit.derive_law(recipe, config, LOOPS[loop], tile_tokens=64, evaluates=True) for loop in ("trl", "trainer")
    )
    logits = [max(row.coefficients.get("logits_and_loss", (0,) * 10)[3] for row in law.rows) for law in (fused, whole)]
    assert logits[0] < 2 * 4096 < logits[1]  # bytes a token: a whole vocabulary in half precision


def test_what_does_not_change_an_evaluation_has_the_same_law():
    recipe = Recipe(model=LLAMA)
    model = load_preset(LLAMA)
    key = evaluations.key_of(Question(recipe, model))
    same = recipe.replace(
        gradient_checkpointing=False, per_device_train_batch_size=1, gradient_accumulation_steps=4, lora_dropout=0.1
    )
    assert (
        evaluations.key_of(Question(same, model))
        == key
        != evaluations.key_of(Question(recipe.replace(method="lora"), model))
    )


def test_the_worker_evaluates_with_the_recipes_batch(tmp_path):
    recipe = Recipe(model="small", per_device_train_batch_size=4)
    assert program.sft_config(recipe, tmp_path, device="cpu", evaluates=True).per_device_eval_batch_size == 4
    own = recipe.replace(per_device_eval_batch_size=7)
    args = program.sft_config(own, tmp_path, device="cpu", evaluates=True)
    assert (args.per_device_eval_batch_size, args.per_device_train_batch_size) == (7, 4)


def test_an_evaluation_with_many_rows_is_the_largest_peak_and_decides():
    recipe = Recipe(model=LLAMA, max_length=4096, per_device_train_batch_size=1)
    small, large = (estimate(recipe.replace(per_device_eval_batch_size=rows), "RTX 4090") for rows in (1, 64))
    assert small.largest_peak.name == "training_step" and small.fits
    assert large.largest_peak.name == "evaluation" and not large.fits
    assert large.headroom_bytes < 0 < small.headroom_bytes and large.device_bytes == small.device_bytes


def test_every_moment_is_named_and_only_the_run_decides():
    made = estimate(Recipe(model=LLAMA, max_length=512, method="lora"), "RTX 4090")
    assert [peak.name for peak in made.peaks] == [*RUN, "generation", "merging", "chat"]
    run = [peak.device_bytes for peak in made.peaks if peak.name in RUN]
    assert made.largest_peak.device_bytes == max(run)
    assert made.fits == (max(run) - made.device_bytes + made.peak_reserved_bytes <= made.usable_bytes)
    told = made.to_dict()
    assert told["largest_peak"] == made.largest_peak.name and [peak["name"] for peak in told["peaks"]] == [
        peak.name for peak in made.peaks
    ]


@pytest.mark.parametrize("quantization", [None, "nf4", "int8"])
def test_loading_holds_what_is_packed_and_one_layer_in_16_bits(quantization):
    """Tensor after tensor by name: what came before is packed, the one at hand is there in 16 bits and packed, with two
    copies of its scales in fp32 while those are quantized themselves; or the warm-up block, as large as all packed
    weights."""
    counted = load_preset("Qwen/Qwen3-8B").inventory
    held, tensors = loading(counted, "bfloat16", quantization, True, LOOPS["trl"])
    weights = base_weights(counted, "bfloat16", quantization, True, "none")
    assert tensors == weights.weights_bytes + weights.quantization_state_bytes - counted.buffer_bytes
    before, highest, warm_up = 0, 0, 0
    by_name = lambda static: [
        (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in static.name.split(".")
    ]  # noqa: E731
    for static in sorted(base_statics(counted, "bfloat16", quantization, True, "none"), key=by_name):
        before, warm_up = before + sum(static.parts_bytes), warm_up + static.parts_bytes[0]
        beside = [
            2 * math.prod(static.shape) + (2 * 4 * scales if quantization == "nf4" else 0)
            for scales in static.parts_bytes[1:2]
        ]
        highest = max(highest, before + sum(beside))
    rounding = held.allocated_bytes - tensors
    assert max(highest, warm_up) <= held.peak_allocated_bytes <= max(highest, warm_up) + rounding + 2**20
    assert held.reserved_bytes >= held.peak_allocated_bytes


@pytest.mark.parametrize("name", ["llama", "qwen2-bias"])
def test_merging_holds_two_copies_of_the_largest_difference(name):
    """PEFT's own merge, recorded on the meta device."""
    from peft import get_peft_model

    from estimator.trace.meta_model import build_on_meta
    from estimator.trace.recorder import Recorder

    recipe, made = parts(name, method="lora")
    model = get_peft_model(
        build_on_meta(CONFIGS[name], dtype=torch.bfloat16), program.lora_config(recipe), low_cpu_mem_usage=True
    )
    recorder = Recorder(rank=1)
    recorder.ignore(*model.parameters(), *model.buffers())
    with recorder:
        model.merge_adapter()
    highest, _ = recorder.finish().peak()
    assert sum(highest.values()) == max(
        2 * 4 * group.in_features * group.out_features for group in made.trained.adapters
    )


def test_a_model_whose_cache_nobody_knows_leaves_the_chat_unknown():
    model = Model("no such", inventory("llama"), ModelSpec.from_config(CONFIGS["llama"]))
    chat = {
        peak.name: peak.device_bytes for peak in estimate(Recipe(model="no such", max_length=32), model=model).peaks
    }
    assert chat["chat"] is None and chat["generation"] is None and chat["evaluation"]
    with pytest.raises(Problem) as caught:
        caches.of(
            Model(
                "bert",
                inventory("bert-encoder"),
                ModelSpec.from_config(CONFIGS["bert-encoder"]),
                config=CONFIGS["bert-encoder"],
            )
        )
    assert caught.value.code == "serving.cache_unknown"


def test_a_cache_survives_json():
    made = derived("hybrid")
    assert KvCache.from_list(made.to_list()) == made and isinstance(inventory("llama"), Inventory)

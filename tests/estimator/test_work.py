"""Operations and bytes of the traced step: torch's own counter on real models, full traces on unseen sizes, and by
hand."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from estimator.law.law import PHI, TRL_TILE_TOKENS, WORK, Law
from estimator.recipe.batches import Batches
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.trace.attention import FusedAttention
from estimator.trace.fit import derive_law
from estimator.trace.recorder import Recorder
from estimator.trace.step import Sizes, trace_step
from estimator.trace.work import Work
from tests.estimator.small import CONFIGS

DEEP = CONFIGS["llama"] | {"num_hidden_layers": 6}
EXPERTS = CONFIGS["qwen3-moe"] | {"num_hidden_layers": 6, "tie_word_embeddings": False}
CASES = {
    "full": (DEEP, {"method": "full"}, "trl"),
    "qlora": (DEEP, {"method": "qlora"}, "trl"),
    "eager-autocast": (
        DEEP,
        {"method": "lora", "attn_implementation": "eager", "mixed_precision": "bf16", "dtype": "float32"},
        "trainer",
    ),
    "experts": (EXPERTS, {"method": "lora", "target_modules": ["q_proj", "v_proj"]}, "trl"),
}


@functools.cache
def law_of(loop: str = "trl", **fields: Any) -> Law:
    return derive_law(Recipe(model="small", **fields), DEEP, LOOPS[loop], tile_tokens=TRL_TILE_TOKENS)


def of_law(law: Law, name: str, batch: int, sequence: int, rank: int, phase: str = "") -> float:
    phi = law.phi(batch, sequence, rank)
    return sum(
        c * x for key, row in getattr(law, name).items() if key.startswith(phase) for c, x in zip(row, phi, strict=True)
    )


def of_trace(work: Work, name: str, phase: str = "") -> float:
    return sum(
        amount * times
        for key, amounts in getattr(work, name).items()
        if key.startswith(phase)
        for amount, times in amounts.items()
    )


def counted_by_torch(recipe: Recipe, batch: int, sequence: int) -> int:
    """A real forward and backward on the CPU under torch's counter."""
    config = transformers.AutoConfig.for_model(**DEEP)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.has_adapters:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=recipe.r, target_modules="all-linear", use_dora=recipe.use_dora, task_type="CAUSAL_LM")
        )
    if recipe.gradient_checkpointing:
        model.enable_input_require_grads()
    ids = torch.randint(0, 128, (batch, sequence))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("fields", "checkpointing"),
    [({"method": "full"}, True), ({"method": "lora"}, False), ({"method": "lora", "use_dora": True}, True)],
    ids=("full-recomputed", "lora-kept", "dora-recomputed"),
)
def test_operations_equal_torchs_counter_on_a_real_model(fields, checkpointing):
    batch, sequence, rank = 3, 24, 5
    recipe = Recipe(
        model="small", r=rank, dtype="float32", attn_implementation="eager", per_device_train_batch_size=batch,
        max_length=sequence, gradient_checkpointing=checkpointing, **fields,
    )  # fmt: skip
    law = derive_law(recipe, DEEP, LOOPS["trainer"], tile_tokens=0)
    assert of_law(law, "flops", batch, sequence, rank) == counted_by_torch(recipe, batch, sequence)
    assert (of_law(law, "flops", batch, sequence, rank, "recompute") > 0) is checkpointing


@pytest.mark.parametrize("case", CASES)
def test_a_law_equals_the_whole_trace_on_unseen_sizes(case):
    config, fields, loop = CASES[case]
    batch, sequence, rank = 3, 640, 24
    recipe = Recipe(model="small", r=rank, per_device_train_batch_size=batch, max_length=sequence, **fields)
    law = derive_law(recipe, config, LOOPS[loop], tile_tokens=TRL_TILE_TOKENS)
    step = trace_step(recipe, config, LOOPS[loop], Sizes(batch, sequence, rank, batch * (sequence - 1)))
    for phase in ("forward", "backward", "recompute"):
        assert of_law(law, "flops", batch, sequence, rank, phase) == of_trace(step.work, "flops", phase) > 0
        # a tensor of S + 1 labels is no term of a law: 8 bytes a token of 10,000
        moved = of_trace(step.work, "moved_bytes", phase)
        assert of_law(law, "moved_bytes", batch, sequence, rank, phase) == pytest.approx(
            moved, rel=1e-3 if loop == "trainer" else 1e-9
        )


def test_one_row_is_the_same_law_of_work():
    """A law of batch 1 is traced at another size; what it says is linear in tokens all the same."""
    one, more = (law_of(per_device_train_batch_size=rows) for rows in (1, 2))
    assert of_law(one, "flops", 1, 777, 16) == pytest.approx(of_law(more, "flops", 1, 777, 16), rel=1e-9)


def test_frozen_weights_have_no_products_of_their_own():
    """Of a linear layer's product, training takes two more backward, and a frozen layer one (the gradient of its
    input)."""
    sizes = (1, 0.001, 0)  # as good as no tokens, so that attention counts nothing; rank 0 leaves the adapters out
    full, lora = (law_of("trainer", method=method) for method in ("full", "lora"))
    forward = of_law(full, "flops", *sizes, "forward.matrix")
    assert of_law(lora, "flops", *sizes, "forward.matrix") == forward
    assert of_law(full, "flops", *sizes, "backward.matrix") == pytest.approx(2 * forward, rel=1e-4)
    assert of_law(lora, "flops", *sizes, "backward.matrix") == pytest.approx(forward, rel=1e-4)


def test_causal_attention_is_half():
    query, key = (
        torch.empty(2, heads, 16, 64, device="meta", dtype=torch.bfloat16, requires_grad=True) for heads in (8, 2)
    )
    product = 2 * 2 * 8 * 16 * 16 * 64  # 2 operations over batch, heads, S x S and d
    for causal, share in ((True, 0.5), (False, 1.0)):
        recorder = Recorder(rank=211)
        with recorder:
            out = FusedAttention.apply(query, key, key, causal)
            recorder.work.phase = "backward"
            out.sum().backward()
        assert of_trace(recorder.work, "flops", "forward") == share * 2 * product
        assert of_trace(recorder.work, "flops", "backward") == share * 5 * product


def test_a_four_bit_weight_is_read_written_in_16_bits_and_read_again():
    pytest.importorskip("bitsandbytes")
    make = functools.partial(torch.empty, device="meta")
    hidden, packed, scales = (
        make(10, 256, dtype=torch.bfloat16),
        make(256 * 512 // 2, 1, dtype=torch.uint8),
        make(256 * 512 // 64),
    )
    with Recorder(rank=211) as recorder:
        torch.ops.bitsandbytes.gemm_4bit(hidden, packed, (512, 256), scales, 64, "nf4")
    assert of_trace(recorder.work, "flops") == 2 * 10 * 256 * 512
    weight = 256 * 512
    assert (
        of_trace(recorder.work, "moved_bytes")
        == 2 * 10 * (256 + 512) + weight // 2 + 2 * 2 * weight + 3 * 4 * weight // 64
    )


def test_views_and_empty_tensors_move_nothing():
    tensor = torch.empty(8, 4, device="meta")
    with Recorder(rank=211) as recorder:
        torch.empty_like(tensor).view(-1)[:3].t()
        assert not recorder.work.moved_bytes
        tensor[:, :1].expand(8, 4) + tensor
    assert of_trace(recorder.work, "moved_bytes") == 4 * (8 + 32 + 32) and not recorder.work.flops


def test_a_law_without_work_stays_valid():
    law = law_of()
    assert Law.from_dict(json.loads(json.dumps(law.to_dict()))) == law
    read = Law.from_dict({name: value for name, value in law.to_dict().items() if name not in WORK})
    assert read.flops is None and read.moved_bytes is None and read.rows == law.rows


def test_eight_bit_products_are_a_type_of_their_own_and_a_mask_costs_every_score():
    pytest.importorskip("bitsandbytes")
    law = law_of(method="qlora", quantization="int8", target_modules=("q_proj",))
    linear = 6 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96)
    assert sum(row[PHI.index("BS")] for key, row in law.flops.items() if key == "forward.matrix.int8") == 2 * linear
    masked, plain = (
        derive_law(
            Recipe(model="small"), DEEP, LOOPS["trl"], tile_tokens=TRL_TILE_TOKENS, batches=Batches(padded=padded)
        )
        for padded in (True, False)
    )
    pairs = [sum(row[PHI.index("BSS")] for row in law.flops.values()) for law in (masked, plain)]
    assert pairs[0] == 2 * pairs[1] > 0

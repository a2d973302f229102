"""What the replay adds to the allocator: how weights come to the card, are packed and cast, and what an optimizer step holds."""

import pytest

from estimator.allocator import CachingAllocator
from estimator.catalog import load_preset
from estimator.law import LOOPS
from estimator.recipe import Recipe
from estimator.recorded import Events
from estimator.replay import Static, _load, base_statics, block_rounding_bytes, replay_run
from estimator.states import base_weights

MIB = 2**20
PLAIN, TRL = LOOPS["plain"], LOOPS["trl"]


def loaded(statics, loop=PLAIN, quantized=False):
    allocator = CachingAllocator()
    _load(allocator, statics, loop, quantized)
    return allocator.reserved_bytes // MIB, allocator.allocated_bytes // MIB


def tensor(name, kept_mib, loaded_mib=None, new=False, trained=False, shape=(1,)):
    return Static(name, (kept_mib * MIB,), (loaded_mib or kept_mib) * MIB, trained, new, shape, "float32")


def test_a_cast_needs_both_copies_and_leaves_the_old_one_in_the_cache():
    assert loaded([tensor("embed", 40, 20)]) == (60, 40)
    assert loaded([tensor("embed", 40, 20), tensor("later", 20, new=True)]) == (60, 60)


def test_the_cache_is_emptied_after_the_upcast_of_a_quantized_model_only():
    from dataclasses import replace

    statics = [tensor("embed", 40, 20)]
    assert loaded(statics, PLAIN, quantized=True) == (40, 40)
    assert loaded(statics, replace(PLAIN, empties_cache=False), quantized=True) == (60, 40)
    assert loaded(statics, TRL, quantized=True) == (60, 40)


def test_weights_that_are_packed_pass_through_one_by_one():
    def packed(name):
        return Static(name, (10 * MIB, 2 * MIB, 64), 40 * MIB, False, False, (1,), "uint8")

    # 20 for the packed weights ahead, 40 for the one on its way and 20 for the second's scales and weight.
    reserved, allocated = loaded([packed("a.weight"), packed("b.weight")], quantized=True)
    assert allocated == 24 and reserved < 2 * 40 + 24


@pytest.mark.parametrize("loop", [PLAIN, TRL], ids=lambda loop: loop.name)
@pytest.mark.parametrize("double", [True, False])
def test_the_base_statics_are_the_weights_that_are_counted(loop, double):
    inventory = load_preset("HuggingFaceTB/SmolLM2-135M").inventory
    for quantization in (None, "nf4", "int8"):
        counted = base_weights(inventory, "bfloat16", quantization, double, loop.upcasts)
        kept = base_statics(inventory, "bfloat16", quantization, double, loop.upcasts)
        total = counted.weights_bytes + counted.quantization_state_bytes - inventory.buffer_bytes
        assert sum(sum(static.parts_bytes) for static in kept) == total
        assert len({static.name for static in kept}) == len(kept)
        assert 0 <= block_rounding_bytes(inventory, "bfloat16", quantization, double, loop) < len(kept) * MIB


def test_multi_tensor_adamw_holds_one_small_block_a_tensor():
    kept = [tensor(str(n), 1, new=True, trained=True, shape=(MIB // 4,)) for n in range(8)]
    run = lambda optim: replay_run(Recipe(model="x", optim=optim), PLAIN, kept, Events(), 0, step_temporary_bytes=8 * MIB)  # noqa: E731
    # Weights, two moments and a temporary of 1 MiB each, in segments of 2 MiB; SGD here holds its 8 MiB in one large block.
    assert run("adamw_torch").peak_reserved_bytes == 4 * 8 * MIB
    assert run("sgd").peak_reserved_bytes == (8 + 20) * MIB

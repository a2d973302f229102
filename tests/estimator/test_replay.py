"""What the replay adds to the allocator: how weights come to the card, are packed and cast, and what an optimizer step
holds."""

import random
from dataclasses import replace

import pytest

from estimator.memory.allocator import FREE, CachingAllocator
from estimator.memory.load_events import RACES, Static, _loaded, _raced, base_statics, block_rounding_bytes, load
from estimator.memory.recorded import Events
from estimator.memory.replay import replay_run
from estimator.memory.states import base_weights
from estimator.model.catalog import load_preset
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe

MIB = 2**20
PLAIN, TRL = LOOPS["plain"], LOOPS["trl"]


def loaded(statics, loop=PLAIN, quantized=False):
    allocator = CachingAllocator()
    load(allocator, statics, loop, quantized)
    return allocator.reserved_bytes // MIB, allocator.allocated_bytes // MIB


def tensor(name, kept_mib, loaded_mib=None, new=False, trained=False, shape=(1,)):
    return Static(name, (kept_mib * MIB,), (loaded_mib or kept_mib) * MIB, trained, new, shape, "float32")


def test_a_cast_needs_both_copies_and_leaves_the_old_one_in_the_cache():
    assert loaded([tensor("embed", 40, 20)]) == (60, 40)
    assert loaded([tensor("embed", 40, 20), tensor("later", 20, new=True)]) == (60, 60)


def test_the_cache_is_emptied_after_the_upcast_of_a_quantized_model_only():
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
    run = lambda optim: replay_run(
        Recipe(model="x", optim=optim), PLAIN, kept, Events(), 0, step_temporary_bytes=8 * MIB
    )  # noqa: E731
    # Weights, two moments and a temporary of 1 MiB each, in segments of 2 MiB; SGD here holds its 8 MiB in one large
    # block.
    assert run("adamw_torch").peak_reserved_bytes == 4 * 8 * MIB
    assert run("sgd").peak_reserved_bytes == (8 + 20) * MIB


class Even:
    """Copies that take what their bytes take: what `random.Random` gives in the mean."""

    def expovariate(self, rate):
        return 1 / rate


def packed(name, loaded_mib):
    return Static(name, (loaded_mib * MIB // 4, 64), loaded_mib * MIB, False, False, (1,), "uint8")


def loads(events):
    return [name for (what, name, *_), size in events if what == "loaded" and size != FREE]


def test_threads_bring_weights_while_the_first_one_is_still_on_its_way():
    # Two threads: while 8 MiB of embedding come, so do a, b, c and d of 2 each at the same speed; nothing is packed
    # before.
    ordered = [tensor("embed", 8), *(packed(name, 2) for name in "abcde")]
    events = list(_raced(ordered, 2, Even()))
    first_freed = next(n for n, (_, size) in enumerate(events) if size == FREE)
    assert [name for (what, name, *_), _ in events[:first_freed] if what == "loaded"] == ["embed", "a", "b", "c", "d"]
    assert [name for (_, name, *_), size in events if size == FREE] == list("abcde")


@pytest.mark.parametrize("seed", range(5))
def test_one_thread_loads_one_by_one_and_more_never_hold_more_on_their_way(seed):
    ordered = [tensor("embed", 8), *(packed(name, 2 + ord(name) % 3) for name in "abcdefgh")]
    one_by_one = [event for static in ordered for event in _loaded(static)]
    assert list(_raced(ordered, 1, random.Random(seed))) == one_by_one
    raced = list(_raced(ordered, 3, random.Random(seed)))
    assert sorted(map(str, raced)) == sorted(map(str, one_by_one)) and loads(raced) == loads(one_by_one)


def test_a_race_is_replayed_in_several_courses_and_the_middle_one_answers():
    kept = [tensor("embed", 40), *(packed(name, 16) for name in "abcdefghij")]
    loop = replace(PLAIN, reads_ahead=4)
    run = lambda loop: replay_run(Recipe(model="x", method="qlora"), loop, kept, Events(), 0).peak_reserved_bytes  # noqa: E731
    reserved = sorted(one(loop, kept, seed) for seed in range(RACES))
    assert run(loop) == reserved[RACES // 2] > run(PLAIN)
    assert replay_run(Recipe(model="x", method="lora"), loop, kept, Events(), 0) == replay_run(
        Recipe(model="x", method="lora"), PLAIN, kept, Events(), 0
    )


def one(loop, kept, seed):
    allocator = CachingAllocator()
    load(allocator, kept, loop, True, seed)
    return allocator.reserved_bytes

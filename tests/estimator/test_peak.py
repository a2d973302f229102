"""The law's peak against a real training step on the CPU, counted tensor by tensor: inside the stated bar."""

import weakref

import pytest

from estimator.estimates.parts import law_of
from estimator.model.catalog import Model
from estimator.model.spec import ModelSpec
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from tests.estimator.test_analytic import ROWS, SIZES, made

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

TOKENS, LAYERS = 64, 3


class LiveBytes(TorchDispatchMode):
    """Counts bytes of storages made under it and still alive; `peak` is their highest sum."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known, self.live, self.now, self.peak = known, {}, 0, 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        out = op(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage) -> None:
        key = storage._cdata
        if key in self.live or storage.data_ptr() in self.known or not storage.nbytes():
            return
        size = storage.nbytes()

        def freed(_, key=key, size=size):
            del self.live[key]
            self.now -= size

        self.live[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def real_peak(recipe: Recipe, loop: str) -> int:
    """Highest bytes of a second step (states exist), beside weights and optimizer states."""
    model = made("llama", LAYERS, recipe, loop)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    fused = {}
    if LOOPS[loop].fused_loss:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(
            model.get_base_model() if recipe.has_adapters else model, outputs=("log_probs", "entropy", "is_top1")
        )
        fused = {"fused_lm_head": True}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    ids = torch.randint(0, SIZES["vocab_size"], (ROWS, TOKENS))

    def step() -> None:
        outputs = model(input_ids=ids, labels=ids, use_cache=False, **fused)
        outputs.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    states = (value for state in optimizer.state.values() for value in state.values())
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), *states, ids)}
    with LiveBytes(known) as counter:
        step()
    return counter.peak


@pytest.mark.parametrize(
    ("loop", "fields"),
    [
        ("trl", {"method": "lora", "gradient_checkpointing": True}),
        ("trl", {"method": "qlora", "gradient_checkpointing": True}),
        ("trl", {"method": "full", "dtype": "float32", "gradient_checkpointing": False}),
        ("plain", {"method": "lora", "attn_implementation": "eager", "gradient_checkpointing": True}),
        ("plain", {"method": "qlora", "target_modules": ("q_proj", "v_proj"), "gradient_checkpointing": False}),
    ],
    ids=str,
)
def test_a_real_step_peaks_inside_the_bar(loop, fields, monkeypatch):
    import trl.trainer.utils

    from estimator.trace import meta_model

    # Columns of TRL's buffer that no logit is written to never become resident: leave them out of the count.
    monkeypatch.setattr(trl.trainer.utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", SIZES["vocab_size"])
    recipe = Recipe(model="small", r=8, per_device_train_batch_size=ROWS, max_length=TOKENS, **fields)
    config = SIZES | {"model_type": "llama", "num_hidden_layers": LAYERS}
    model = Model("small", meta_model.derive(config), ModelSpec.from_config(config))
    parts = law_of(recipe, model=model, loop=loop, device="cpu")
    static = parts.static | {"weights": 0, "quantization_state": 0, "adapters": 0, "optimizer_states": 0}
    _, components = parts.law.evaluate(ROWS, TOKENS, recipe.r, static, parts.training.step_temporary_bytes)
    ours, real = sum(components.values()), real_peak(recipe, loop)
    assert abs(ours - real) <= parts.law.relative_error * real

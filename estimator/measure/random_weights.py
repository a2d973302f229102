"""A base model of the real architecture with random weights, loaded as a checkpoint would be; nothing is downloaded.

Transformers' own loading takes it in, warm-up block, threads and quantization included: it is given a checkpoint whose
tensors come to be on the device at the moment they are read. So a quantized model holds one layer in 16 bits at a time,
and no copy passes through the host. Imports torch inside the functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimator.law.untraced import no_config
from estimator.model.catalog import Model
from estimator.program import program
from estimator.recipe.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

SPREAD = 0.02
"""Standard deviation of the weights; the `initializer_range` of most configurations."""


@dataclass(frozen=True)
class Unread:
    """A tensor of the checkpoint before it is read: `[...]` makes it, as a safetensors slice is read (transformers
    core_model_loading `_materialize_copy`, the same in 5.17 and 5.23)."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: str
    value: float | None
    """None: random; else the one number that fills it."""

    def __getitem__(self, index: Any) -> torch.Tensor:
        import torch

        made = torch.empty(self.shape, dtype=self.dtype, device=self.device)
        return made.normal_(std=SPREAD) if self.value is None else made.fill_(self.value)


def random_base(recipe: Recipe, model: Model, *, device: str) -> PreTrainedModel:
    """What `loading.load_base` gives for training, without files. Raises `Problem` where Transformers cannot build
    it."""
    import transformers

    from estimator.model.spec import without_code
    from estimator.trace import meta_model

    if not model.config:
        raise no_config(model.id)
    skeleton = meta_model.build_on_meta(model.config, model.inventory.class_name, dtype=program.dtype(recipe))
    config = transformers.AutoConfig.for_model(**without_code(model.config))
    with quiet():
        base = type(skeleton).from_pretrained(
            None,
            config=config,
            state_dict=_checkpoint(skeleton, device),
            dtype=program.dtype(recipe),
            quantization_config=program.quantization_config(recipe),
            attn_implementation=program.attention(recipe, type(skeleton)),
            device_map={"": device},
        )
    base.name_or_path = recipe.model
    program.keep_gradients(base)
    return base


def _checkpoint(skeleton: Any, device: str) -> dict[str, Unread]:
    """Every tensor of a checkpoint: tied ones once, as they are saved. Norms start as the identity, biases at zero."""
    tied = set(getattr(skeleton, "all_tied_weights_keys", None) or {})
    tensors = {name: tensor for name, tensor in skeleton.state_dict().items() if name not in tied}
    return {
        name: Unread(tuple(tensor.shape), tensor.dtype, device, _value(name, tensor))
        for name, tensor in tensors.items()
    }


def _value(name: str, tensor: torch.Tensor) -> float | None:
    if tensor.dim() > 1:
        return None if tensor.is_floating_point() else 0.0
    return 0.0 if name.endswith("bias") else 1.0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from the libraries: the table is what was asked for."""
    import warnings

    import transformers

    logging = transformers.logging
    before, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if had_bars:
            logging.enable_progress_bar()

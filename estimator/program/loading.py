"""A base model from its folder: the weights that are stored there and no others, in the way the recipe stores them.

What a repository says of its own storage is followed. FP8 and MXFP4 are unpacked to the recipe's type, and quantized
from there where the recipe says so; bitsandbytes' weights stay as they are. A tensor that is missing, that has no place
or another shape is a `Problem`: Transformers draws what is missing at random and says so in a log. Imports torch inside
the functions.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from estimator.core.problems import Problem
from estimator.memory import stored
from estimator.memory.stored import Storage
from estimator.model.headers import is_prediction_layer, is_table
from estimator.model.spec import read_config
from estimator.program import program
from estimator.recipe.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

SHOWN_TENSORS = 3
_TOWER = re.compile(
    r"(^|\.)(vision|visual|audio|image|video|speech|multi_modal|mm_|embed_vision|embed_audio|connector|aligner)"
)


def load_base(recipe: Recipe, folder: Path, *, training: bool, device: str = "cpu") -> PreTrainedModel:
    """The base model of `folder` as the recipe stores it, on `device`; safetensors only, no code from the repository.
    Raises `Problem` `base.other_tensors` and `base.broken` where the folder's weights are not those of its config,
    `model.stored_*` for what cannot be trained as it is stored; out of memory as torch says it.

    With `training`, quantized layers keep to kernels that have a gradient (see `program.keep_gradients`).
    """
    model = _load(recipe, folder, device)
    model.name_or_path = recipe.model  # PEFT writes it into the adapter: a name others know, not a path of this machine
    if training:
        program.keep_gradients(model)
    else:
        model.eval()
    return model


def _load(recipe: Recipe, folder: Path, device: str) -> PreTrainedModel:
    import torch

    try:
        config = read_config(folder)
        recipe, storage = stored.as_loaded(recipe, config), stored.storage_of(config)
        if storage and storage.is_dequantized:
            return _unpacked(recipe, folder, storage, device)
        if storage:
            return _with_types(_from_folder(recipe, folder, None, device), recipe)
        return _from_folder(recipe, folder, program.quantization_config(recipe), device)
    except (ValueError, RuntimeError, KeyError, OSError, TypeError, ImportError, AttributeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise Problem("base.broken", field="model", value=recipe.model, reason=reason) from error


def _from_folder(recipe: Recipe, folder: Path, quantization: Any, device: str) -> PreTrainedModel:
    """Transformers' loading, safetensors only, no code from the repository, and nothing lost or made up in silence."""
    import transformers
    from transformers import AutoConfig

    maker = getattr(transformers, recipe.task.auto_class)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model, info = maker.from_pretrained(
        folder,
        dtype=program.dtype(recipe),
        attn_implementation=program.attention(recipe, _class_of(maker, config)),
        device_map={"": device},
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # so that they are named below
        output_loading_info=True,
        # A None that is written out makes the Auto classes drop the repository's own record.
        **({"quantization_config": quantization} if quantization is not None else {}),
    )
    _check_tensors(recipe.model, model, config, info)
    return model


def _class_of(maker: Any, config: PretrainedConfig) -> type[PreTrainedModel]:
    """What an Auto class of transformers makes of a config."""
    from transformers import PreTrainedModel

    found = maker._model_mapping.get(type(config), PreTrainedModel)
    return found[0] if isinstance(found, tuple) else found


def _check_tensors(name: str, model: PreTrainedModel, config: PretrainedConfig, info: dict[str, Any]) -> None:
    """Refuse weights that are not those of the model: `info` is Transformers' own account, with its own exceptions
    taken out.

    No fault are tables that a model makes itself, scales of activations and caches (they belong to 8-bit kernels),
    layers for multi-token prediction that the config states, and towers for images or sound where the text model alone
    was built.
    """
    text = config.get_text_config()
    layers = getattr(text, "num_hidden_layers", 0) or 0
    predicts = bool(getattr(text, "num_nextn_predict_layers", 0))
    text_alone = hasattr(model, "config") and type(model.config) is not type(config)

    def is_extra(key: str) -> bool:
        return (
            is_table(key)
            or (predicts and is_prediction_layer(key, layers))
            or (text_alone and bool(_TOWER.search(key)))
        )

    missing = sorted(key for key in info["missing_keys"] if not is_table(key))
    unexpected = sorted(key for key in info["unexpected_keys"] if not is_extra(key))
    reshaped = sorted({key for key, *_ in info["mismatched_keys"]} | set(_of_another_shape(model)))
    if found := missing + unexpected + reshaped:
        raise other_tensors("base.other_tensors", name, missing, unexpected, reshaped, found)


def _of_another_shape(model: PreTrainedModel) -> Iterator[str]:
    """Layers of bitsandbytes whose packed weight is not as wide and tall as the layer: Transformers compares shapes
    before packing only where a tensor is not packed (5.23)."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None:
            continue
        sides = (getattr(module, "out_features", None), getattr(module, "in_features", None))
        state = getattr(weight, "quant_state", None)
        is_int8 = hasattr(weight, "SCB")
        if (state is not None and tuple(state.shape) != sides) or (is_int8 and tuple(weight.shape) != sides):
            yield f"{name}.weight"


def other_tensors(
    code: str, name: str, missing: list[str], unexpected: list[str], reshaped: list[str], found: list[str]
) -> Problem:
    """The counts, and the names of the first few."""
    shown = ", ".join(key[:120] for key in found[:SHOWN_TENSORS]) + (", ..." if len(found) > SHOWN_TENSORS else "")
    counts = {"missing": len(missing), "unexpected": len(unexpected), "reshaped": len(reshaped)}
    return Problem(code, field="model", value=name, tensors=shown, **counts)


def _unpacked(recipe: Recipe, folder: Path, storage: Storage, device: str) -> PreTrainedModel:
    """A repository in 8 or 4 bits that have no gradient, in the recipe's type; quantized by bitsandbytes from there, as
    the same weights published in 16 bits would be. What is quantized waits on the host meanwhile."""
    from transformers import FineGrainedFP8Config, Mxfp4Config

    settings = (
        Mxfp4Config(dequantize=True)
        if storage.method == "mxfp4"
        else FineGrainedFP8Config(dequantize=True, quant_method=storage.method)
    )
    with _whole_blocks():
        model = _with_types(_from_folder(recipe, folder, settings, "cpu" if recipe.is_quantized else device), recipe)
    if not recipe.is_quantized:
        return model
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    made = type(model).from_pretrained(
        None,
        config=model.config,
        state_dict={name: tensor for name, tensor in model.state_dict().items() if name not in tied},
        dtype=program.dtype(recipe),
        quantization_config=program.quantization_config(recipe),
        attn_implementation=model.config._attn_implementation,
        device_map={"": device},
    )
    made.generation_config = model.generation_config
    return made


@contextlib.contextmanager
def _whole_blocks() -> Iterator[None]:
    """Let Transformers unpack FP8 weights whose sides are no multiple of the block.

    It takes a block's size for side / number of scales (5.23, `Fp8Dequantize._dequantize_one`): a side of 192 with two
    scales for blocks of 128 comes out as two blocks of 96, silently wrong, and DeepSeek's 576 with five scales raises.
    Filled up to whole blocks, the division is right.
    """
    import torch
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    original = Fp8Dequantize._dequantize_one

    def filled_up(
        self: Any, quantized: torch.Tensor, scales: torch.Tensor, output_dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        block = self.hf_quantizer.quantization_config.weight_block_size
        rows, columns = quantized.shape[-2:]
        grid = (-(-rows // block[0]), -(-columns // block[1])) if block else None
        if grid is None or tuple(scales.shape[-2:]) != grid or not (rows % block[0] or columns % block[1]):
            return original(self, quantized, scales, output_dtype)
        whole = torch.zeros(
            *quantized.shape[:-2],
            grid[0] * block[0],
            grid[1] * block[1],
            dtype=quantized.dtype,
            device=quantized.device,
        )
        whole[..., :rows, :columns] = quantized
        return original(self, whole, scales, output_dtype)[..., :rows, :columns].contiguous()

    with mock.patch.object(Fp8Dequantize, "_dequantize_one", filled_up):
        yield


def _with_types(model: PreTrainedModel, recipe: Recipe) -> PreTrainedModel:
    """Of a repository that was saved quantized, Transformers leaves the other weights in the type they were saved in,
    and computes in the type of the repository's record; both become the recipe's. Packed weights and what is kept in
    fp32 stay."""
    plan, wanted = model._get_dtype_plan(program.dtype(recipe)), program.dtype(recipe)
    kept = [re.compile(pattern) for pattern in plan]
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not any(pattern.search(name) for pattern in kept):
            parameter.data = parameter.data.to(wanted)
    for module in model.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype, module.compute_type_is_set = wanted, True
    return model

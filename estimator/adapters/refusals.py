"""What PEFT 0.21 cannot adapt, said before anything is built: each check names the source of the refusal.

A few cases that PEFT lets through are refused too, because they fail later or train what nobody asked for:
rows of a layer under an adapter and `modules_to_save` that overlap (their forward raises); `olora` on GPT-2's Conv1D
(the matrices come out transposed and the forward raises); starts that read the base's weight on single tensors;
convolutions in groups (their adapters cannot be merged).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from estimator.core.problems import Problem
from estimator.model.inventory import LINEAR_KINDS, Inventory, Module, converted
from estimator.recipe.recipe import Recipe

if TYPE_CHECKING:
    from estimator.adapters.adapters import AdapterGroup

ADAPTABLE_KINDS = (*LINEAR_KINDS, "Embedding", "Conv")
RANDOM_STARTS = ("true", "false", "gaussian")
# peft.tuners.tuners_utils._check_lora_target_modules_mamba
MAMBA_TYPES = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
MAMBA_LEAVES = ("out_proj", "conv1d")


@dataclass(frozen=True)
class Selection:
    """All of a recipe's LoRA fields that decide which tensors exist, but `r` and `lora_alpha`; hashable."""

    targets: str | tuple[str, ...] | None
    tensors: tuple[str, ...] | None
    exclude: str | tuple[str, ...] | None
    layers: tuple[int, ...] | None
    layers_pattern: str | tuple[str, ...] | None
    ranks: tuple[tuple[str, int], ...]
    alphas: tuple[tuple[str, int], ...]
    modules_to_save: tuple[str, ...] | None
    rows: tuple[tuple[str | None, tuple[int, ...]], ...]
    bias: str
    lora_bias: bool
    use_dora: bool
    has_dropout: bool
    init: str
    is_quantized: bool

    @classmethod
    def of(cls, recipe: Recipe) -> Selection:
        rows = recipe.trainable_token_indices or {}
        return cls(
            recipe.target_modules, recipe.target_parameters, recipe.exclude_modules, recipe.layers_to_transform,
            recipe.layers_pattern, tuple((recipe.rank_pattern or {}).items()),
            tuple((recipe.alpha_pattern or {}).items()),
            recipe.modules_to_save, tuple(rows.items()) if isinstance(rows, dict) else ((None, rows),), recipe.bias,
            recipe.lora_bias, recipe.use_dora, recipe.lora_dropout > 0, recipe.init_lora_weights, recipe.is_quantized,
        )  # fmt: skip


def check_modules(inventory: Inventory, names: tuple[str, ...], s: Selection) -> None:
    """Containers, odd layers, and layers that one of the fields leaves out (`LoraModel._create_new_module`)."""
    for name in names:
        module = inventory.by_name.get(name)
        kind = module.kind if module else "container" if name in inventory.module_names else "module without weights"
        if module is None or kind not in ADAPTABLE_KINDS or module.parameter("weight") is None:
            allowed = ", ".join(inventory.leaf_names()[:40])
            raise Problem("estimator.not_adaptable", field="target_modules", value=name, kind=kind, allowed=allowed)
        _check_mamba(inventory, "target_modules", name, name)
        if kind == "Embedding" and s.lora_bias:  # lora.Embedding.update_layer
            raise _conflict("lora_bias", "true", f"target_modules {name}", "Leave it off, or leave the embedding out")
        unknown = kind == "Conv" and s.init not in RANDOM_STARTS or kind == "Conv1D" and s.init == "olora"
        if unknown:  # LoraLayer.reset_lora_parameters; olora: see above
            raise _conflict("init_lora_weights", s.init, f"target_modules {name}", "Use true or gaussian")


def check_tensors(
    inventory: Inventory, stacked: list[tuple[str, Module, str]], names: tuple[str, ...], s: Selection
) -> None:
    """Single tensors: `lora.ParamWrapper` and `BaseTuner._inject_parameters`."""
    field = "target_parameters" if s.tensors else "target_modules"
    takes_conv1d = any(inventory.by_name[name].kind == "Conv1D" for name in names)  # sets fan_in_fan_out for all
    for name, module, short in stacked:
        holder = name.rpartition(".")[0]
        if not holder or len(module.shape(short)) not in (2, 3):
            what = {"kind": "tensor of this shape", "allowed": "tensors of 2 or 3 dimensions inside a module"}
            raise Problem("estimator.not_adaptable", field=field, value=name, **what)
        _check_mamba(inventory, field, name, holder)
        if holder in names or takes_conv1d:
            raise _conflict(
                field, name, f"target_modules {', '.join(names[:3])}", "Give target_modules as an empty list"
            )
        packed = s.is_quantized and short == "weight" and module.kind in ("Linear", "Conv1D")
        if packed and converted(holder, inventory.not_quantized):  # packed into bytes, its shape is gone
            raise _conflict(field, name, "method qlora", "Name the module in target_modules")
        forbidden = (
            ("use_dora", "on", s.use_dora),
            ("lora_dropout", "on", s.has_dropout),
            ("lora_bias", "on", s.lora_bias),
            ("init_lora_weights", s.init, s.init not in RANDOM_STARTS),
        )
        for other, value, on in forbidden:
            if on:
                raise _conflict(
                    other, value, f"{field} {name}", "Leave it off, or leave the experts out of target_modules"
                )


def check_saved(inventory: Inventory, names: list[str], wanted: tuple[str, ...]) -> None:
    """Lists of modules have no forward to wrap (`AuxiliaryTrainingWrapper.check_module`)."""
    for name in names:
        if name in inventory.list_names:
            allowed = ", ".join(sorted({leaf.rpartition(".")[2] for leaf in inventory.by_name}))
            raise Problem(
                "estimator.no_match",
                field="modules_to_save",
                value=f"{', '.join(wanted)}: {name}, a list",
                allowed=allowed,
            )


def check_head(targets: tuple[str, ...], inventory: Inventory, fused_loss: bool) -> None:
    """TRL's fused head multiplies by the head's weight directly, and SFTTrainer refuses an adapter on it (1.16,
    `__init__`)."""
    head = inventory.output_embedding
    if fused_loss and head and _is_among(head, targets):
        raise Problem("estimator.head_adapted", field="target_modules", value=head)


@functools.lru_cache(maxsize=256)
def _is_among(module: str, names: tuple[str, ...]) -> bool:
    """Whether a module or a part of it is named."""
    return any(name == module or name.startswith(f"{module}.") for name in names)


def fitted(group: AdapterGroup, init: str) -> AdapterGroup:
    """The group as its start leaves it. Raises `Problem` where the rank does not go with the start.

    `pissa`, `pissa_niter_N` and `olora` cut A and B out of a factorization with min(in, out) vectors, so a higher rank
    makes no more; `mica` refuses it; `orthogonal` pairs the ranks. Embeddings start as ever, but under `mica`.
    """
    if init in RANDOM_STARTS or group.kind == "Embedding" and init != "mica":
        return group
    most = min(group.in_features, group.out_features)
    if init == "orthogonal":
        if group.r % 2:
            raise _rank_problem(group, init, "an even rank")
        return group
    if init != "mica":
        return replace(group, r=min(group.r, most))
    if group.r > most:
        raise _rank_problem(group, init, f"up to {most:,}")
    return group


def _rank_problem(group: AdapterGroup, init: str, allowed: str) -> Problem:
    return Problem("estimator.init_rank", field="r", value=group.r, other=init, module=group.leaf, allowed=allowed)


def _check_mamba(inventory: Inventory, field: str, name: str, module: str) -> None:
    if inventory.model_type in MAMBA_TYPES and module.rpartition(".")[2] in MAMBA_LEAVES:
        allowed = ", ".join(leaf for leaf in inventory.leaf_names()[:40] if leaf not in MAMBA_LEAVES)
        kind = "Mamba layer"
        raise Problem("estimator.not_adaptable", field=field, value=name, kind=kind, allowed=allowed)


def _conflict(field: str, value: object, other: str, allowed: str) -> Problem:
    return Problem("recipe.conflict", field=field, value=value, other=other, allowed=allowed)

"""Which tensors a recipe trains, as PEFT makes them, without torch.

The shapes follow PEFT's layers (`peft.tuners.lora.layer`) and `_set_trainable` (PEFT 0.21); property-tested against
`get_peft_model` in tests/estimator/test_adapters.py. Which modules are meant is decided in `estimator.matching`.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Iterable

from estimator.inventory import LINEAR_KINDS, Inventory, Module
from estimator.matching import Rules, check_fields, expert_hits, pattern_value, refuse_nothing, regex, resolve
from estimator.problems import Problem
from estimator.recipe import Recipe

ADAPTABLE_KINDS = (*LINEAR_KINDS, "Embedding", "Conv")


Tensors = tuple[tuple[tuple[int, ...], int], ...]
"""(shape, how many) of equal tensors."""


def numel(tensors: Tensors) -> int:
    return sum(math.prod(shape) * count for shape, count in tensors)


@dataclass(frozen=True)
class AdapterGroup:
    """`count` equal adapters: A (r x in_features) and B (out_features x r), with `experts` ranks stacked."""

    kind: str
    leaf: str
    in_features: int
    out_features: int
    r: int
    alpha: int
    count: int
    experts: int = 1
    dora_size: int = 0

    @property
    def tensors(self) -> Tensors:
        """Shapes of A and B (a Conv's kernel folded into `in`), and how many of each; DoRA's magnitudes apart."""
        rank = self.r * self.experts
        return ((rank, self.in_features), self.count), ((self.out_features, rank), self.count)

    @property
    def parameters(self) -> int:
        return numel(self.tensors) + self.dora_size * self.count


@dataclass(frozen=True)
class Trainables:
    """Everything that gets a gradient.

    `adapters` and `copies` (of `modules_to_save`) are new tensors beside the model; `unfrozen` are the model's own.
    """

    adapters: tuple[AdapterGroup, ...] = ()
    copies: Tensors = ()
    unfrozen: Tensors = ()
    warnings: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    targets: tuple[str, ...] = ()
    """Names of the adapted modules (and `module.parameter` for adapted expert tensors)."""

    @functools.cached_property
    def adapter_parameters(self) -> int:
        return sum(group.parameters for group in self.adapters)

    @functools.cached_property
    def copied_parameters(self) -> int:
        return numel(self.copies)

    @functools.cached_property
    def unfrozen_parameters(self) -> int:
        return numel(self.unfrozen)

    @property
    def parameters(self) -> int:
        return self.adapter_parameters + self.copied_parameters + self.unfrozen_parameters

    @functools.cached_property
    def lora(self) -> Tensors:
        """A and B of every adapter."""
        return tuple(tensor for group in self.adapters for tensor in group.tensors)

    @functools.cached_property
    def magnitudes(self) -> Tensors:
        """DoRA's vectors, one an adapter."""
        return tuple(((group.dora_size,), group.count) for group in self.adapters if group.dora_size)


def trainables(recipe: Recipe, inventory: Inventory) -> Trainables:
    """The tensors `recipe` trains in the model of `inventory`. Raises `Problem` where PEFT refuses."""
    if not recipe.has_adapters:
        return _everything(inventory)
    ranks, alphas = (tuple((patterns or {}).items()) for patterns in (recipe.rank_pattern, recipe.alpha_pattern))
    matched = _matched(
        inventory, recipe.target_modules, recipe.exclude_modules, recipe.layers_to_transform, recipe.layers_pattern,
        ranks, alphas, recipe.modules_to_save, recipe.bias, recipe.use_dora, recipe.lora_dropout > 0,
    )  # fmt: skip
    groups = tuple(
        replace(g, r=g.r or recipe.r * g.fused, alpha=g.alpha or recipe.lora_alpha * g.fused).plain() for g in matched.adapters
    )
    return replace(matched, adapters=groups, warnings=matched.warnings + _rank_warnings(groups))


@functools.lru_cache(maxsize=64)
def _everything(inventory: Inventory) -> Trainables:
    sizes: Counter[tuple[int, ...]] = Counter()
    for group in inventory.groups:
        for parameter in group.parameters:
            if parameter.tied is None:
                sizes[parameter.shape] += group.count
    return Trainables(unfrozen=tuple(sizes.items()))


@dataclass(frozen=True)
class _Open(AdapterGroup):
    """An adapter whose rank is the recipe's `r` (stored as 0) times `fused`, unless a pattern sets it."""

    fused: int = 1

    def plain(self) -> AdapterGroup:
        values = {name: getattr(self, name) for name in AdapterGroup.__dataclass_fields__}
        return AdapterGroup(**values)


@functools.lru_cache(maxsize=256)
def _matched(
    inventory: Inventory,
    target_modules: str | tuple[str, ...],
    exclude: str | tuple[str, ...] | None,
    layers: tuple[int, ...] | None,
    layers_pattern: str | tuple[str, ...] | None,
    rank_pattern: tuple[tuple[str, int], ...],
    alpha_pattern: tuple[tuple[str, int], ...],
    modules_to_save: tuple[str, ...] | None,
    bias: str,
    use_dora: bool,
    has_dropout: bool,
) -> Trainables:
    """All that does not depend on `r`, so that moving the rank slider matches nothing anew."""
    check_fields(target_modules, layers, layers_pattern)
    rules = Rules(exclude, layers, layers_pattern, modules_to_save)
    targets, expert_targets, fused = resolve(inventory, target_modules, rules)
    names = [name for name in inventory.module_names if rules.hits(name, targets)]
    stacked = list(expert_hits(inventory, expert_targets))
    if not names and not stacked:
        refuse_nothing(inventory, target_modules, rules)
    _check_kinds(inventory, names, stacked, use_dora, has_dropout)
    ranks = dict(rank_pattern) | {rf".*\.{re.escape(name)}": -times for name, times in fused.items()}
    counts: Counter[_Open] = Counter()
    for name in names:
        counts[_adapter(inventory.by_name[name], name, ranks, dict(alpha_pattern), use_dora)] += 1
    for name, module, parameter in stacked:
        counts[_expert_adapter(module, parameter, name, ranks, dict(alpha_pattern))] += 1
    copies, saved = _copies(inventory, modules_to_save, names)
    return Trainables(
        adapters=tuple(replace(group, count=count) for group, count in counts.items()),
        copies=copies,
        unfrozen=_biases(inventory, bias, set(names), saved),
        targets=tuple(names) + tuple(name for name, _, _ in stacked),
        warnings=_pattern_warnings(rank_pattern, alpha_pattern, names + [n for n, _, _ in stacked]),
    )


def _check_kinds(inventory: Inventory, names: list[str], stacked: list[Any], use_dora: bool, has_dropout: bool) -> None:
    """What PEFT cannot wrap: containers and odd layers, and expert tensors under DoRA or dropout."""
    for name in names:
        module = inventory.by_name.get(name)
        kind = module.kind if module else "container"
        if kind not in ADAPTABLE_KINDS or module.parameter("weight") is None:
            allowed = ", ".join(inventory.leaf_names()[:40])
            raise Problem("estimator.not_adaptable", field="target_modules", value=name, kind=kind, allowed=allowed)
    for name, module, short in stacked:
        if len(module.parameter(short).shape) not in (2, 3):
            what = {"kind": "tensor", "allowed": "tensors of 2 or 3 dimensions"}
            raise Problem("estimator.not_adaptable", field="target_modules", value=name, **what)
        for field, on in (("use_dora", use_dora), ("lora_dropout", has_dropout)):
            if on:
                what = {"other": f"target_modules {name}", "allowed": "Leave it off, or leave the experts out of target_modules"}
                raise Problem("recipe.conflict", field=field, value="on", **what)


def _adapter(module: Module, name: str, ranks: dict[str, int], alphas: dict[str, int], use_dora: bool) -> _Open:
    first, second = module.in_out
    dora = (second if use_dora else 0)
    rank, alpha = pattern_value(ranks, name, "rank_pattern"), pattern_value(alphas, name, "alpha_pattern")
    return _Open(module.kind, name.rpartition(".")[2], first, second, max(rank, 0), alpha, 0, dora_size=dora, fused=max(-rank, 1))


def _expert_adapter(module: Module, short: str, name: str, ranks: dict[str, int], alphas: dict[str, int]) -> _Open:
    """A stacked tensor gets one pair of matrices with `experts` ranks side by side (PEFT's `ParamWrapper`)."""
    shape = module.parameter(short).shape
    experts, out, inner = shape if len(shape) == 3 else (1, *shape)
    if len(shape) == 3 and module.layout == "experts,in,out":
        out, inner = inner, out
    rank, alpha = pattern_value(ranks, name, "rank_pattern"), pattern_value(alphas, name, "alpha_pattern")
    return _Open("Experts", short, inner, out, max(rank, 0), alpha, 0, experts=experts, fused=max(-rank, 1))


def _copies(inventory: Inventory, wanted: tuple[str, ...] | None, adapted: list[str]) -> tuple[Tensors, set[str]]:
    """Trainable copies of `modules_to_save`. PEFT matches plain endings here, without a dot: `norm` takes every layernorm."""
    if not wanted:
        return (), set()
    names = [name for name in inventory.module_names if name.endswith(wanted)]
    if not names:
        allowed = ", ".join(sorted({name.rpartition(".")[2] for name in inventory.by_name}))
        raise Problem("estimator.no_match", field="modules_to_save", value=", ".join(wanted), allowed=allowed)
    roots = {name for name in names if not any(name.startswith(other + ".") for other in names if other != name)}
    clash = next((name for name in adapted if any(name == r or name.startswith(r + ".") for r in roots)), None)
    if clash or len(roots) < len(names):
        raise Problem("estimator.saved_clash", field="modules_to_save", value=", ".join(wanted), other=clash or min(set(names) - roots))
    covered = {leaf for leaf in inventory.by_name if any(leaf == root or leaf.startswith(root + ".") for root in roots)}
    sizes = Counter(p.shape for leaf in covered for p in inventory.by_name[leaf].parameters)
    return tuple(sizes.items()), covered


def _biases(inventory: Inventory, bias: str, adapted: set[str], saved: set[str]) -> Tensors:
    """`all`: every tensor named bias; `lora_only`: those of the adapted layers."""
    if bias == "none":
        return ()
    sizes: Counter[tuple[int, ...]] = Counter()
    for name, group in inventory.by_name.items():
        parameter = group.parameter("bias")
        if parameter is not None and name not in saved and (bias == "all" or name in adapted):
            sizes[parameter.shape] += 1
    return tuple(sizes.items())


def _pattern_warnings(ranks: Any, alphas: Any, names: list[str]) -> tuple[Any, ...]:
    found = []
    for field, patterns in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
        for key, _ in patterns:
            if not any(regex(field, rf"(.*\.)?({key})$").match(name) for name in names):
                found.append(("estimator.pattern_unused", (("field", field), ("value", key))))
    return tuple(found)


def _rank_warnings(groups: Iterable[AdapterGroup]) -> tuple[Any, ...]:
    """A rank above the layer's smaller side adds parameters that no update can use."""
    over = {g.leaf: (g.r, min(g.in_features, g.out_features)) for g in groups if g.r > min(g.in_features, g.out_features)}
    return tuple(
        ("estimator.rank_over_layer", (("field", "r"), ("value", r), ("module", leaf), ("allowed", limit)))
        for leaf, (r, limit) in over.items()
    )

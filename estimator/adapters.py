"""Which tensors train: PEFT's matching rules restated on the inventory, without torch.

Restates `peft.tuners.tuners_utils.check_target_module_exists`, `_maybe_include_all_linear_layers`,
`_find_minimal_target_modules`, `_set_trainable` and the expert renaming of `peft.utils.transformers_weight_conversion`
(PEFT 0.21); property-tested against `get_peft_model` in tests/estimator/test_adapters.py.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Iterable

from estimator.inventory import LINEAR_KINDS, Inventory, Module
from estimator.problems import Problem
from estimator.recipe import Recipe

ALL_LINEAR = "all-linear"
ADAPTABLE_KINDS = (*LINEAR_KINDS, "Embedding", "Conv")
# PEFT condenses a list of targets this long to suffixes (peft.utils.constants); the condensed form meets other rules.
MIN_TARGETS_TO_CONDENSE = 20


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
    _check_fields(target_modules, layers, layers_pattern)
    rules = _Rules(exclude, layers, layers_pattern, modules_to_save)
    targets, expert_targets, fused = _resolve(inventory, target_modules, rules)
    names = [name for name in inventory.module_names if rules.hits(name, targets)]
    stacked = list(_expert_hits(inventory, expert_targets))
    if not names and not stacked:
        _refuse_nothing(inventory, target_modules, rules)
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


@dataclass(frozen=True)
class _Rules:
    exclude: str | tuple[str, ...] | None
    layers: tuple[int, ...] | None
    layers_pattern: str | tuple[str, ...] | None
    modules_to_save: tuple[str, ...] | None

    def excluded(self, key: str) -> bool:
        if isinstance(self.exclude, str):
            if _regex("exclude_modules", self.exclude).fullmatch(key):
                return True
        elif self.exclude and (key in self.exclude or key.endswith(tuple("." + name for name in self.exclude))):
            return True
        return any(_regex("modules_to_save", rf"(^|.*\.){m}($|\..*)").match(key) for m in self.modules_to_save or ())

    def hits(self, key: str, targets: str | frozenset[str]) -> bool:
        if self.excluded(key):
            return False
        if isinstance(targets, str):
            return _regex("target_modules", targets).fullmatch(key) is not None
        if key in targets:
            return True
        if not any(key.endswith("." + target) for target in targets):
            return False
        return not self.layers or self._layer(key) in self.layers

    def _layer(self, key: str) -> int | None:
        """The first numbered part of a name: the layer, not an expert inside it."""
        patterns = (self.layers_pattern,) if isinstance(self.layers_pattern, str) else self.layers_pattern or ()
        expressions = [rf"(?:^|.*?\.){p}\.(?P<idx>\d+)\." for p in patterns] or [r".*?\.[^.]*\.(?P<idx>\d+)\."]
        for expression in expressions:
            if found := _regex("layers_pattern", expression).match(key):
                return int(found["idx"])
        return None


@functools.lru_cache(maxsize=512)
def _regex(field: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise Problem("estimator.regex", field=field, value=expression, reason=str(error)) from None


def _check_fields(targets: Any, layers: Any, layers_pattern: Any) -> None:
    """`LoraConfig.__post_init__` refuses the same combinations."""
    if isinstance(targets, str) and layers is not None:
        raise Problem("recipe.conflict", field="layers_to_transform", value=list(layers), other=f"target_modules {targets}", allowed="Give target_modules as a list of names")
    if isinstance(targets, str) and layers_pattern is not None:
        raise Problem("recipe.conflict", field="layers_pattern", value=layers_pattern, other=f"target_modules {targets}", allowed="Give target_modules as a list of names")
    if layers_pattern and not layers:
        raise Problem("recipe.conflict", field="layers_pattern", value=layers_pattern, other="no layers_to_transform", allowed="Give layers_to_transform too")


def _resolve(inventory: Inventory, targets: Any, rules: _Rules) -> tuple[str | frozenset[str], frozenset[str], dict[str, int]]:
    """(module targets, expert-tensor targets, expert tensor -> how many old projections it fuses)."""
    experts: frozenset[str] = frozenset()
    fused: dict[str, int] = {}
    if inventory.expert_names:
        targets, experts, fused = _rename_experts(inventory, targets, rules)
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        targets = inventory.linear_names
    if not isinstance(targets, str):
        targets = frozenset(targets)
        if len(targets) >= MIN_TARGETS_TO_CONDENSE:
            targets = _condensed(targets, inventory.module_names)
    return targets, experts, fused


def _rename_experts(inventory: Inventory, targets: Any, rules: _Rules) -> tuple[Any, frozenset[str], dict[str, int]]:
    """PEFT's `_convert_peft_config_moe`: names of separate expert layers become targets inside the stacked tensors."""
    renamed, fused = inventory.expert_names["renamed"], inventory.expert_names["fused"]
    if isinstance(targets, str):
        resolved = _leaf_targets(inventory, targets, rules, renamed)
        if not resolved:
            return targets, frozenset(), {}
        targets = resolved
    old = {name: next((o for o in renamed if name == o or name.endswith("." + o)), None) for name in targets}
    present = {new: {o for o in old.values() if o and renamed[o] == new} for new in fused}
    for new, parts in fused.items():
        if 0 < len(present[new]) < len(parts):
            raise Problem("estimator.fused_targets", field="target_modules", value=", ".join(sorted(present[new])), missing=", ".join(sorted(set(parts) - present[new])), other=new)
    experts = frozenset(renamed[o] for o in old.values() if o)
    return [n for n, o in old.items() if o is None], experts, {new: len(p) for new, p in fused.items() if new in experts and len(p) > 1}


def _leaf_targets(inventory: Inventory, targets: str, rules: _Rules, renamed: dict[str, str]) -> set[str]:
    if targets.lower() == ALL_LINEAR:
        return {name.rpartition(".")[2] for name in inventory.linear_names} | set(renamed)
    parameters = [f"{name}.{p.name}" for name, group in inventory.by_name.items() for p in group.parameters]
    found = {key.rpartition(".")[2] for key in (*inventory.module_names, *parameters) if rules.hits(key, targets)}
    holders: dict[str, set[str]] = {}
    for key in parameters:
        holder, _, leaf = key.rpartition(".")
        holders.setdefault(leaf, set()).add(holder)
    for old, new in renamed.items():
        if any(rules.hits(f"{holder}.{old}", targets) for holder in holders.get(new, ())):
            found.add(old)
    return found


def _condensed(targets: frozenset[str], names: Iterable[str]) -> frozenset[str]:
    """PEFT's `_find_minimal_target_modules`: the shortest suffixes that set the targets apart from all other modules."""
    endings = tuple("." + target for target in targets)
    others = (name for name in names if name not in targets and not name.endswith(endings))
    taken = {suffix for name in others for suffix in _suffixes(name)}
    required: set[str] = set()
    for target in sorted(targets, key=_suffixes):
        for suffix in _suffixes(target):
            if suffix in required or suffix in taken:
                continue
            if not any(target.endswith("." + have) for have in required):
                required.add(suffix)
                break
    return frozenset(required) if required and len(required) < len(targets) else targets


def _suffixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))][::-1]


def _expert_hits(inventory: Inventory, targets: frozenset[str]) -> Iterable[tuple[str, Module, str]]:
    """(full name, module, parameter) of every tensor PEFT wraps for `target_parameters`."""
    for name, group in inventory.by_name.items() if targets else ():
        for parameter in group.parameters:
            key = f"{name}.{parameter.name}"
            if key in targets or any(key.endswith("." + target) for target in targets):
                yield key, group, parameter.name


def _refuse_nothing(inventory: Inventory, targets: Any, rules: _Rules) -> None:
    shown = targets if isinstance(targets, str) else ", ".join(targets)
    blocked = rules.exclude or rules.modules_to_save or rules.layers
    code = "estimator.all_excluded" if blocked and _hit_without(inventory, targets, rules) else "estimator.no_match"
    raise Problem(code, field="target_modules", value=shown, allowed=", ".join([ALL_LINEAR, *inventory.leaf_names()[:40]]))


def _hit_without(inventory: Inventory, targets: Any, rules: _Rules) -> bool:
    open_rules = _Rules(None, None, None, None)
    resolved = _resolve(inventory, targets, open_rules)[0]
    return any(open_rules.hits(name, resolved) for name in inventory.module_names)


def _check_kinds(inventory: Inventory, names: list[str], stacked: list[Any], use_dora: bool, has_dropout: bool) -> None:
    """What PEFT cannot wrap: containers and odd layers, and expert tensors under DoRA or dropout."""
    for name in names:
        module = inventory.by_name.get(name)
        kind = module.kind if module else "container"
        if kind not in ADAPTABLE_KINDS or module.parameter("weight") is None:
            raise Problem("estimator.not_adaptable", field="target_modules", value=name, kind=kind, allowed=", ".join(inventory.leaf_names()[:40]))
    for name, module, short in stacked:
        if len(module.parameter(short).shape) not in (2, 3):
            raise Problem("estimator.not_adaptable", field="target_modules", value=name, kind="tensor", allowed="tensors of 2 or 3 dimensions")
        for field, on in (("use_dora", use_dora), ("lora_dropout", has_dropout)):
            if on:
                raise Problem("recipe.conflict", field=field, value="on", other=f"target_modules {name}", allowed="Leave it off, or leave the experts out of target_modules")


def _pattern(patterns: dict[str, int], name: str, field: str) -> int:
    """PEFT's `get_pattern_key`: the first pattern that ends the name; 0 where none does."""
    return next((value for key, value in patterns.items() if _regex(field, rf"(.*\.)?({key})$").match(name)), 0)


def _adapter(module: Module, name: str, ranks: dict[str, int], alphas: dict[str, int], use_dora: bool) -> _Open:
    first, second = module.in_out
    dora = (second if use_dora else 0)
    rank, alpha = _pattern(ranks, name, "rank_pattern"), _pattern(alphas, name, "alpha_pattern")
    return _Open(module.kind, name.rpartition(".")[2], first, second, max(rank, 0), alpha, 0, dora_size=dora, fused=max(-rank, 1))


def _expert_adapter(module: Module, short: str, name: str, ranks: dict[str, int], alphas: dict[str, int]) -> _Open:
    """A stacked tensor gets one pair of matrices with `experts` ranks side by side (PEFT's `ParamWrapper`)."""
    shape = module.parameter(short).shape
    experts, out, inner = shape if len(shape) == 3 else (1, *shape)
    if len(shape) == 3 and module.layout == "experts,in,out":
        out, inner = inner, out
    rank, alpha = _pattern(ranks, name, "rank_pattern"), _pattern(alphas, name, "alpha_pattern")
    return _Open("Experts", short, inner, out, max(rank, 0), alpha, 0, experts=experts, fused=max(-rank, 1))


def _copies(inventory: Inventory, wanted: tuple[str, ...] | None, adapted: list[str]) -> tuple[Tensors, set[str]]:
    """Trainable copies of `modules_to_save`. PEFT matches plain endings here, without a dot: `norm` takes every layernorm."""
    if not wanted:
        return (), set()
    names = [name for name in inventory.module_names if name.endswith(wanted)]
    if not names:
        raise Problem("estimator.no_match", field="modules_to_save", value=", ".join(wanted), allowed=", ".join(sorted({n.rpartition(".")[2] for n in inventory.by_name})))
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
            if not any(_regex(field, rf"(.*\.)?({key})$").match(name) for name in names):
                found.append(("estimator.pattern_unused", (("field", field), ("value", key))))
    return tuple(found)


def _rank_warnings(groups: Iterable[AdapterGroup]) -> tuple[Any, ...]:
    """A rank above the layer's smaller side adds parameters that no update can use."""
    over = {g.leaf: (g.r, min(g.in_features, g.out_features)) for g in groups if g.r > min(g.in_features, g.out_features)}
    return tuple(
        ("estimator.rank_over_layer", (("field", "r"), ("value", r), ("module", leaf), ("allowed", limit)))
        for leaf, (r, limit) in over.items()
    )

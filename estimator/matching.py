"""Which modules a LoRA recipe names: PEFT's matching rules restated on the inventory, without torch.

Restates `peft.tuners.tuners_utils.check_target_module_exists`, `_maybe_include_all_linear_layers`,
`_find_minimal_target_modules` and the expert renaming of `peft.utils.transformers_weight_conversion` (PEFT 0.21);
property-tested against `get_peft_model` in tests/estimator/test_adapters.py.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from estimator.inventory import Inventory, Module
from estimator.problems import Problem

ALL_LINEAR = "all-linear"
# PEFT condenses a list of targets this long to suffixes (peft.utils.constants); the condensed form meets other rules.
MIN_TARGETS_TO_CONDENSE = 20


@dataclass(frozen=True)
class Rules:
    exclude: str | tuple[str, ...] | None
    layers: tuple[int, ...] | None
    layers_pattern: str | tuple[str, ...] | None
    modules_to_save: tuple[str, ...] | None

    def excluded(self, key: str) -> bool:
        if isinstance(self.exclude, str):
            if regex("exclude_modules", self.exclude).fullmatch(key):
                return True
        elif self.exclude and (key in self.exclude or key.endswith(tuple("." + name for name in self.exclude))):
            return True
        return any(regex("modules_to_save", rf"(^|.*\.){m}($|\..*)").match(key) for m in self.modules_to_save or ())

    def hits(self, key: str, targets: str | frozenset[str]) -> bool:
        if self.excluded(key):
            return False
        if isinstance(targets, str):
            return regex("target_modules", targets).fullmatch(key) is not None
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
            if found := regex("layers_pattern", expression).match(key):
                return int(found["idx"])
        return None


@functools.lru_cache(maxsize=512)
def regex(field: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise Problem("estimator.regex", field=field, value=expression, reason=str(error)) from None


def check_fields(targets: Any, layers: Any, layers_pattern: Any) -> None:
    """`LoraConfig.__post_init__` refuses the same combinations."""
    for field, value in (("layers_to_transform", layers), ("layers_pattern", layers_pattern)):
        if isinstance(targets, str) and value is not None:
            shown = list(value) if isinstance(value, tuple) else value
            why = {"other": f"target_modules {targets}", "allowed": "Give target_modules as a list of names"}
            raise Problem("recipe.conflict", field=field, value=shown, **why)
    if layers_pattern and not layers:
        why = {"other": "no layers_to_transform", "allowed": "Give layers_to_transform too"}
        raise Problem("recipe.conflict", field="layers_pattern", value=layers_pattern, **why)


def resolve(inventory: Inventory, targets: Any, rules: Rules) -> tuple[str | frozenset[str], frozenset[str], dict[str, int]]:
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


def _rename_experts(inventory: Inventory, targets: Any, rules: Rules) -> tuple[Any, frozenset[str], dict[str, int]]:
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
            given, missing = (", ".join(sorted(names)) for names in (present[new], set(parts) - present[new]))
            raise Problem("estimator.fused_targets", field="target_modules", value=given, missing=missing, other=new)
    experts = frozenset(renamed[o] for o in old.values() if o)
    widened = {new: len(parts) for new, parts in fused.items() if new in experts and len(parts) > 1}
    return [name for name, o in old.items() if o is None], experts, widened


def _leaf_targets(inventory: Inventory, targets: str, rules: Rules, renamed: dict[str, str]) -> set[str]:
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


def expert_hits(inventory: Inventory, targets: frozenset[str]) -> Iterable[tuple[str, Module, str]]:
    """(full name, module, parameter) of every tensor PEFT wraps for `target_parameters`."""
    for name, group in inventory.by_name.items() if targets else ():
        for parameter in group.parameters:
            key = f"{name}.{parameter.name}"
            if key in targets or any(key.endswith("." + target) for target in targets):
                yield key, group, parameter.name


def refuse_nothing(inventory: Inventory, targets: Any, rules: Rules) -> None:
    shown = targets if isinstance(targets, str) else ", ".join(targets)
    blocked = rules.exclude or rules.modules_to_save or rules.layers
    code = "estimator.all_excluded" if blocked and _hit_without(inventory, targets, rules) else "estimator.no_match"
    raise Problem(code, field="target_modules", value=shown, allowed=", ".join([ALL_LINEAR, *inventory.leaf_names()[:40]]))


def _hit_without(inventory: Inventory, targets: Any, rules: Rules) -> bool:
    open_rules = Rules(None, None, None, None)
    resolved = resolve(inventory, targets, open_rules)[0]
    return any(open_rules.hits(name, resolved) for name in inventory.module_names)


def pattern_value(patterns: dict[str, int], name: str, field: str) -> int:
    """PEFT's `get_pattern_key`: the first pattern that ends the name; 0 where none does."""
    return next((value for key, value in patterns.items() if regex(field, rf"(.*\.)?({key})$").match(name)), 0)

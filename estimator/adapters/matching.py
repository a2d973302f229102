"""Which modules a LoRA recipe names: PEFT's matching rules restated on the inventory, without torch.

Restates `peft.tuners.tuners_utils.check_target_module_exists`, `_maybe_include_all_linear_layers`,
`_find_minimal_target_modules`, `_inject_parameters` and the expert renaming of
`peft.utils.transformers_weight_conversion` (PEFT 0.21); property-tested against `get_peft_model` in
tests/estimator/test_adapters.py.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from estimator.core.problems import Problem
from estimator.core.safe_regex import matches
from estimator.model.catalog import presets_dir
from estimator.model.inventory import Inventory, Module

ALL_LINEAR = "all-linear"
# PEFT condenses a list of targets this long to suffixes (peft.utils.constants); the condensed form meets other rules.
MIN_TARGETS_TO_CONDENSE = 20
_FIRST_NUMBER = re.compile(r".*?\.[^.]*\.(?P<idx>\d+)\.")
Targets = str | frozenset[str]
Asked = str | tuple[str, ...] | frozenset[str] | None
"""Targets as a recipe gives them; None asks for PEFT's table."""


@dataclass(frozen=True)
class Rules:
    """What stands between a target and the modules it names."""

    exclude: str | tuple[str, ...] | None
    layers: tuple[int, ...] | None
    layers_pattern: str | tuple[str, ...] | None
    modules_to_save: tuple[str, ...] | None

    def excluded(self, keys: tuple[str, ...]) -> set[str]:
        """Those of `keys` that `exclude_modules` or `modules_to_save` takes out."""
        if isinstance(self.exclude, str):
            found = set(matches("exclude_modules", self.exclude, keys, whole=True))
        else:
            found = {key for key in keys if _ends_with(key, self.exclude or ())}
        for name in self.modules_to_save or ():
            found.update(matches("modules_to_save", name, keys, r"(^|.*\.){}($|\..*)"))
        return found

    def hits(self, keys: tuple[str, ...], targets: Targets) -> list[str]:
        """Those of `keys` that PEFT adapts for `targets`, in order."""
        excluded = self.excluded(keys)
        keys = tuple(key for key in keys if key not in excluded)
        if isinstance(targets, str):
            found = set(matches("target_modules", targets, keys, whole=True))
        else:
            endings = tuple("." + target for target in targets)
            suffixed = [key for key in keys if key not in targets and key.endswith(endings)]
            found = self._in_layers(suffixed).union(key for key in keys if key in targets)
        return [key for key in keys if key in found]

    def _in_layers(self, keys: list[str]) -> set[str]:
        """Those in `layers_to_transform`: by the first numbered part of a name, the layer, not an expert inside it."""
        if not self.layers:
            return set(keys)
        numbers = {key: int(found["idx"]) for key in keys if (found := _FIRST_NUMBER.match(key))}
        if self.layers_pattern:
            patterns = (self.layers_pattern,) if isinstance(self.layers_pattern, str) else self.layers_pattern
            numbers = {}
            for pattern in patterns:
                rest = tuple(key for key in keys if key not in numbers)
                met = matches("layers_pattern", pattern, rest, r"(?:^|.*?\.){}\.(?P<idx>\d+)\.")
                numbers |= {key: int(groups["idx"] or 0) for key, groups in met.items()}
        return {key for key, number in numbers.items() if number in self.layers}


def _ends_with(key: str, names: Iterable[str]) -> bool:
    """PEFT's rule for lists: the whole name, or its end after a dot."""
    return key in names or key.endswith(tuple("." + name for name in names))


def check_fields(targets: object, layers: object, layers_pattern: object) -> None:
    """`LoraConfig.__post_init__` refuses the same combinations."""
    for field, value in (("layers_to_transform", layers), ("layers_pattern", layers_pattern)):
        if isinstance(targets, str) and value is not None:
            shown = list(value) if isinstance(value, tuple) else value
            why = {"other": f"target_modules {targets}", "allowed": "Give target_modules as a list of names"}
            raise Problem("recipe.conflict", field=field, value=shown, **why)
    if layers_pattern and not layers:
        why = {"other": "no layers_to_transform", "allowed": "Give layers_to_transform too"}
        raise Problem("recipe.conflict", field="layers_pattern", value=layers_pattern, **why)


@dataclass(frozen=True)
class Resolved:
    """What a recipe's targets mean for one model.

    `fused` names the stacked expert tensors that stand for several old projections, and how many: PEFT multiplies rank
    and alpha by it.
    """

    modules: Targets
    tensors: frozenset[str]
    fused: dict[str, int]


def resolve(inventory: Inventory, targets: Any, tensors: tuple[str, ...] | None, rules: Rules) -> Resolved:
    """`target_modules` (None: PEFT's table by architecture) and `target_parameters` with their shorthands resolved."""
    wanted = frozenset(tensors or ())
    fused: dict[str, int] = {}
    if inventory.expert_names:
        targets, wanted, fused = _rename_experts(inventory, inventory.expert_names, targets, wanted, rules)
    if targets is None:
        targets = _by_architecture(inventory, has_tensors=bool(wanted))
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        targets = inventory.linear_names
    if not isinstance(targets, str):
        targets = frozenset(targets)
        if len(targets) >= MIN_TARGETS_TO_CONDENSE:
            targets = _condensed(targets, inventory.all_names)
    return Resolved(targets, wanted, fused)


@functools.lru_cache(maxsize=1)
def default_targets() -> dict[str, str | list[str]]:
    """PEFT's table of what to adapt where nothing is said (presets/peft_targets.json; held equal by a test)."""
    table: dict[str, str | list[str]] = json.loads((presets_dir() / "peft_targets.json").read_text("utf-8"))["targets"]
    return table


def _by_architecture(inventory: Inventory, has_tensors: bool) -> Any:
    known = default_targets().get(inventory.model_type)
    if known is None and not has_tensors:
        allowed = ", ".join([ALL_LINEAR, *inventory.leaf_names()[:40]])
        raise Problem(
            "estimator.no_default_targets", field="target_modules", value=inventory.model_type, allowed=allowed
        )
    return known or ()


def _rename_experts(
    inventory: Inventory, names: dict[str, Any], targets: Any, tensors: frozenset[str], rules: Rules
) -> tuple[Any, frozenset[str], dict[str, int]]:
    """PEFT's `_convert_peft_config_moe`: names of separate expert layers become targets inside the stacked tensors."""
    renamed, fused = names["renamed"], names["fused"]
    if isinstance(targets, str):
        resolved = _leaf_targets(inventory, targets, rules, renamed)
        if not resolved:
            return targets, tensors, {}
        targets = resolved
    targets = targets or ()  # PEFT turns None into no module here: its table is not asked
    old = {name: next((o for o in renamed if name == o or name.endswith("." + o)), None) for name in targets}
    present = {new: {o for o in old.values() if o and renamed[o] == new} for new in fused}
    for new, parts in fused.items():
        if 0 < len(present[new]) < len(parts):
            given, missing = (", ".join(sorted(names)) for names in (present[new], set(parts) - present[new]))
            raise Problem("estimator.fused_targets", field="target_modules", value=given, missing=missing, other=new)
    experts = frozenset(renamed[o] for o in old.values() if o)
    widened = {new: len(parts) for new, parts in fused.items() if present[new] and len(parts) > 1}
    return [name for name, o in old.items() if o is None], experts | tensors, widened


def _leaf_targets(inventory: Inventory, targets: str, rules: Rules, renamed: dict[str, str]) -> set[str]:
    if targets.lower() == ALL_LINEAR:
        return {name.rpartition(".")[2] for name in inventory.linear_names} | set(renamed)
    parameters = tuple(f"{name}.{p.name}" for name, group in inventory.by_name.items() for p in group.parameters)
    found = {key.rpartition(".")[2] for key in rules.hits((*inventory.all_names, *parameters), targets)}
    holders: dict[str, list[str]] = {}
    for key in parameters:
        holder, _, leaf = key.rpartition(".")
        holders.setdefault(leaf, []).append(holder)
    probes = {f"{holder}.{old}": old for old, new in renamed.items() for holder in holders.get(new, ())}
    return found | {probes[key] for key in rules.hits(tuple(probes), targets)}


def _condensed(targets: frozenset[str], names: Iterable[str]) -> frozenset[str]:
    """PEFT's `_find_minimal_target_modules`: the shortest suffixes that set the targets apart from all other
    modules."""
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


def tensor_hits(inventory: Inventory, targets: frozenset[str]) -> list[tuple[str, Module, str]]:
    """(full name, module, parameter) of every tensor PEFT wraps for `target_parameters`."""
    found = []
    for name, group in inventory.by_name.items() if targets else ():
        for parameter in group.parameters:
            if _ends_with(f"{name}.{parameter.name}", targets):
                found.append((f"{name}.{parameter.name}", group, parameter.name))
    return found


def refuse_nothing(inventory: Inventory, targets: Any, tensors: tuple[str, ...] | None, rules: Rules) -> None:
    """Say which field named nothing, and what there is."""
    if tensors and not targets:
        stacked = (
            f"{name.rpartition('.')[2]}.{p.name}"
            for name, g in inventory.by_name.items()
            for p in g.parameters
            if len(p.shape) == 3
        )
        allowed = ", ".join(list(dict.fromkeys(stacked))[:40]) or "nothing: this model has no stacked tensors"
        raise Problem("estimator.no_match", field="target_parameters", value=", ".join(tensors), allowed=allowed)
    shown = targets if isinstance(targets, str) else ", ".join(targets or ()) or "[]"
    blocked = rules.exclude or rules.modules_to_save or rules.layers
    code = "estimator.all_excluded" if blocked and _hit_without(inventory, targets, rules) else "estimator.no_match"
    raise Problem(
        code, field="target_modules", value=shown, allowed=", ".join([ALL_LINEAR, *inventory.leaf_names()[:40]])
    )


def _hit_without(inventory: Inventory, targets: object, rules: Rules) -> bool:
    open_rules = Rules(None, None, None, None)
    return bool(open_rules.hits(inventory.all_names, resolve(inventory, targets, None, open_rules).modules))


def pattern_values(
    field: str, patterns: dict[str, int], fused: dict[str, int], names: tuple[str, ...]
) -> dict[str, int]:
    """`get_pattern_key`: for each name the value of the first pattern that ends it.

    PEFT adds a pattern for each fused expert tensor, with a multiple of the recipe's rank or alpha; its value here is
    minus the multiple.
    """
    ours = {rf".*\.{re.escape(new)}": (new, -times) for new, times in fused.items()}
    values: dict[str, int] = {}
    for key in dict.fromkeys((*patterns, *ours)):
        rest = tuple(name for name in names if name not in values)
        if key in ours:
            new, value = ours[key]
            values |= {name: value for name in rest if name.endswith("." + new)}
        else:
            values |= dict.fromkeys(matches(field, key, rest, r"(.*\.)?({})$"), patterns[key])
    return values

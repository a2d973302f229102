"""Which tensors a recipe trains, as PEFT makes them, without torch.

The shapes follow PEFT's layers (`peft.tuners.lora.layer`) and `_set_trainable` (PEFT 0.21); property-tested by name and
shape against `get_peft_model` in tests/estimator/test_adapters.py. Which modules are meant is decided in
`estimator.adapters.matching`, what PEFT cannot adapt in `estimator.adapters.refusals`.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from estimator.adapters import refusals
from estimator.adapters.matching import (
    Resolved,
    Rules,
    check_fields,
    pattern_values,
    refuse_nothing,
    resolve,
    tensor_hits,
)
from estimator.adapters.refusals import Selection
from estimator.adapters.token_rows import token_rows
from estimator.core.problems import Problem
from estimator.core.safe_regex import matches
from estimator.model.inventory import Inventory, Module
from estimator.recipe.recipe import Recipe

Shape = tuple[int, ...]
Tensors = tuple[tuple[Shape, int], ...]
"""(shape, how many) of equal tensors."""
Named = tuple[tuple[str, Shape], ...]
"""(name, shape) of single tensors."""


EMBEDDINGS = frozenset({"embed_tokens", "lm_head"})
"""peft.utils.constants.EMBEDDING_LAYER_NAMES."""


def numel(tensors: Tensors) -> int:
    return sum(math.prod(shape) * count for shape, count in tensors)


def _counted(named: Iterable[tuple[str, Shape]]) -> Tensors:
    return tuple(Counter(shape for _, shape in named).items())


@dataclass(frozen=True)
class AdapterGroup:
    """Equal adapters, one on each of `names`: A (r x in_features) and B (out_features x r), with `experts` ranks
    stacked.

    A Conv's kernel is folded into `in_features` and kept in `kernel`. `dora` is the shape of DoRA's magnitudes, where
    there are any; with `bias` B has one; `trains_b` is off where B stays as it was made (MiCA).
    """

    kind: str
    leaf: str
    in_features: int
    out_features: int
    r: int
    alpha: int
    names: tuple[str, ...] = ()
    experts: int = 1
    kernel: Shape = ()
    dora: Shape = ()
    bias: bool = False
    trains_b: bool = True

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def parts(self) -> dict[str, Shape]:
        """Shapes of one adapter's matrices, by PEFT's names."""
        rank, kernel = self.r * self.experts, self.kernel
        a = (rank, self.in_features // math.prod(kernel), *kernel)
        b = (self.out_features, rank, *(1 for _ in kernel))
        names = ("lora_embedding_A", "lora_embedding_B") if self.kind == "Embedding" else ("lora_A", "lora_B")
        return dict(zip(names, (a, b))) | ({"lora_B.bias": (self.out_features,)} if self.bias else {})

    @property
    def frozen(self) -> dict[str, Shape]:
        return {} if self.trains_b else {name: shape for name, shape in self.parts.items() if name.endswith("_B")}

    @property
    def trained(self) -> dict[str, Shape]:
        return {name: shape for name, shape in self.parts.items() if name not in self.frozen}

    @property
    def parameters(self) -> int:
        """Trained numbers of all `count` adapters."""
        return self.count * (sum(map(math.prod, self.trained.values())) + (math.prod(self.dora) if self.dora else 0))


@dataclass(frozen=True, eq=False)
class Trainables:
    """Everything that gets a gradient. `trainables` gives the same object for the same question, so it is compared by
    identity.

    `adapters`, `copied` (modules_to_save) and `rows` (trainable_token_indices) are new tensors beside the model; `own`
    are the model's.
    """

    adapters: tuple[AdapterGroup, ...] = ()
    copied: Named = ()
    rows: Named = ()
    own: Named = ()
    warnings: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    targets: tuple[str, ...] = ()
    """Names of the adapted modules (and `module.parameter` for adapted single tensors)."""
    saved_whole: Named = ()
    """Frozen tensors that PEFT writes beside the adapters: embeddings and a head that are targets."""

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """Name and shape of every trained tensor: PEFT's names without its prefix, adapter name and wrappers."""
        for group in self.adapters:
            parts = group.trained | ({"lora_magnitude_vector": group.dora} if group.dora else {})
            yield from ((f"{name}.{part}", shape) for name in group.names for part, shape in parts.items())
        yield from (*self.copied, *self.rows, *self.own)

    @property
    def parameters(self) -> int:
        return self.adapter_parameters + numel(self.copies) + numel(self.token_rows) + numel(self.unfrozen)

    @functools.cached_property
    def adapter_parameters(self) -> int:
        return sum(group.parameters for group in self.adapters)

    @functools.cached_property
    def lora(self) -> Tensors:
        """A and B of every adapter, and B's bias."""
        return tuple((shape, group.count) for group in self.adapters for shape in group.trained.values())

    @functools.cached_property
    def frozen(self) -> Tensors:
        """Parts of adapters that hold memory and do not train."""
        return tuple((shape, group.count) for group in self.adapters for shape in group.frozen.values())

    @functools.cached_property
    def magnitudes(self) -> Tensors:
        """DoRA's vectors, one an adapter."""
        return tuple((group.dora, group.count) for group in self.adapters if group.dora)

    @functools.cached_property
    def copies(self) -> Tensors:
        return _counted(self.copied)

    @functools.cached_property
    def token_rows(self) -> Tensors:
        return _counted(self.rows)

    @functools.cached_property
    def unfrozen(self) -> Tensors:
        return _counted(self.own)


def trainables(recipe: Recipe, inventory: Inventory) -> Trainables:
    """The tensors `recipe` trains in the model of `inventory`. Raises `Problem` where PEFT refuses."""
    if not recipe.has_adapters:
        return _everything(inventory)
    return _of_rank(inventory, Selection.of(recipe), recipe.r, recipe.lora_alpha)


@functools.lru_cache(maxsize=1024)
def _of_rank(inventory: Inventory, selection: Selection, r: int, alpha: int) -> Trainables:
    """The same object for the same question, so that what is worked out of it is worked out once."""
    matched, adapters = _matched(inventory, selection)
    groups = tuple(refusals.fitted(group.at(r, alpha), selection.init) for group in adapters)
    return replace(matched, adapters=groups, warnings=matched.warnings + _rank_warnings(groups))


@functools.lru_cache(maxsize=64)
def _everything(inventory: Inventory) -> Trainables:
    tensors = ((f"{n}.{p.name}" if n else p.name, p) for g in inventory.groups for n in g.names for p in g.parameters)
    return Trainables(own=tuple((name, parameter.shape) for name, parameter in tensors if parameter.tied is None))


@dataclass(frozen=True)
class _Open(AdapterGroup):
    """An adapter whose rank and alpha are the recipe's: stored as minus a multiple (1, or the projections fused)."""

    def at(self, r: int, alpha: int) -> AdapterGroup:
        values = {field.name: getattr(self, field.name) for field in fields(AdapterGroup)}
        open_values = {"r": (self.r, r), "alpha": (self.alpha, alpha)}
        return AdapterGroup(**values | {n: own if own > 0 else -own * given for n, (own, given) in open_values.items()})


@functools.lru_cache(maxsize=256)
def _matched(inventory: Inventory, selection: Selection) -> tuple[Trainables, tuple[_Open, ...]]:
    """All that does not depend on `r`, so that moving the rank slider matches nothing anew; the adapters beside it."""
    s = selection
    check_fields(s.targets, s.layers, s.layers_pattern)
    rules = Rules(s.exclude, s.layers, s.layers_pattern, s.modules_to_save)
    resolved = resolve(inventory, s.targets, s.tensors, rules)
    names = tuple(rules.hits(inventory.all_names, resolved.modules))
    stacked = tensor_hits(inventory, resolved.tensors)
    if not names and not stacked:
        refuse_nothing(inventory, s.targets, s.tensors, rules)
    refusals.check_modules(inventory, names, s)
    refusals.check_tensors(inventory, stacked, names, s)
    adapted = names + tuple(name for name, _, _ in stacked)
    wrapped = set(names).union(name.rpartition(".")[0] for name, _, _ in stacked)
    copied, saved = _copies(inventory, s.modules_to_save, wrapped)
    matched = Trainables(
        copied=copied,
        rows=token_rows(inventory, s.rows, wrapped, saved),
        own=_biases(inventory, s.bias, wrapped, saved),
        targets=adapted,
        saved_whole=_saved_whole(inventory, resolved, names, s),
        warnings=_unused(("rank_pattern", dict(s.ranks)), adapted)
        + _unused(("alpha_pattern", dict(s.alphas)), adapted),
    )
    return matched, _grouped(inventory, names, stacked, resolved, s)


def _grouped(
    inventory: Inventory,
    names: tuple[str, ...],
    stacked: list[tuple[str, Module, str]],
    resolved: Resolved,
    s: Selection,
) -> tuple[_Open, ...]:
    adapted = names + tuple(name for name, _, _ in stacked)
    ranks = pattern_values("rank_pattern", dict(s.ranks), resolved.fused, adapted)
    alphas = pattern_values("alpha_pattern", dict(s.alphas), resolved.fused, adapted)
    groups: dict[_Open, list[str]] = {}
    for name in names:
        groups.setdefault(
            _on_module(inventory.by_name[name], name, ranks.get(name, -1), alphas.get(name, -1), s), []
        ).append(name)
    for name, module, parameter in stacked:
        groups.setdefault(_on_tensor(name, module, parameter, ranks.get(name, -1), alphas.get(name, -1)), []).append(
            name
        )
    return tuple(replace(group, names=tuple(members)) for group, members in groups.items())


def _on_module(module: Module, name: str, rank: int, alpha: int, s: Selection) -> _Open:
    first, second = module.in_out
    kernel = module.shape("weight")[2:] if module.kind == "Conv" else ()
    # peft/tuners/lora/dora.py: a magnitude for each output, with the axes of a Conv's weight; for each column of an
    # embedding
    dora = () if not s.use_dora else (1, second, *(1 for _ in kernel)) if kernel else (second,)
    trains_b = s.init != "mica"
    return _Open(
        module.kind, name.rpartition(".")[2], first, second, rank, alpha, (), 1, kernel, dora, s.lora_bias, trains_b
    )


def _on_tensor(name: str, module: Module, short: str, rank: int, alpha: int) -> _Open:
    """A stacked tensor gets one pair of matrices with `experts` ranks side by side (PEFT's `ParamWrapper`). A router's
    tensor is called `weight`: its module's name tells it."""
    shape = module.shape(short)
    experts, out, inner = shape if len(shape) == 3 else (1, *shape)
    if len(shape) == 3 and module.layout == "experts,in,out":
        out, inner = inner, out
    leaf = ".".join(name.split(".")[-2:]) if short == "weight" else short
    return _Open("Experts", leaf, inner, out, rank, alpha, experts=experts)


def _saved_whole(inventory: Inventory, resolved: Resolved, names: tuple[str, ...], s: Selection) -> Named:
    """`get_peft_model_state_dict` with `save_embedding_layers="auto"` (PEFT 0.21): where a target is called
    `embed_tokens` or `lm_head`, the input and the output embedding that have an adapter are written whole, each though
    they be tied; not beside `trainable_token_indices`. A name in a list is compared as it stands, so
    `model.embed_tokens` writes nothing."""
    if s.rows:
        return ()
    if isinstance(resolved.modules, str):
        named = tuple(name for name in inventory.all_names if name.rpartition(".")[2] in EMBEDDINGS)
        wanted = bool(matches("target_modules", resolved.modules, named, whole=True))
    else:
        wanted = bool(resolved.modules & EMBEDDINGS)
    layers = dict.fromkeys(
        name for name in (inventory.input_embedding, inventory.output_embedding) if wanted and name in names
    )
    return tuple(
        (f"{name}.base_layer.{p.name}", p.shape) for name in layers for p in inventory.by_name[name].parameters
    )


def _copies(inventory: Inventory, wanted: tuple[str, ...] | None, adapted: set[str]) -> tuple[Named, set[str]]:
    """Trainable copies of `modules_to_save`. PEFT matches plain endings here, without a dot: `norm` takes every
    layernorm."""
    if not wanted:
        return (), set()
    names = [name for name in inventory.module_names if name.endswith(wanted)]
    if not names:
        allowed = ", ".join(sorted({name.rpartition(".")[2] for name in inventory.by_name}))
        raise Problem("estimator.no_match", field="modules_to_save", value=", ".join(wanted), allowed=allowed)
    refusals.check_saved(inventory, names, wanted)
    roots = {name for name in names if not any(name.startswith(other + ".") for other in names if other != name)}
    clash = next((name for name in sorted(adapted) if any(name == r or name.startswith(r + ".") for r in roots)), None)
    if clash or len(roots) < len(names):
        raise Problem(
            "estimator.saved_clash",
            field="modules_to_save",
            value=", ".join(wanted),
            other=clash or min(set(names) - roots),
        )
    covered = {
        leaf: root for leaf in inventory.by_name for root in roots if leaf == root or leaf.startswith(root + ".")
    }
    tensors = (
        (f"{root}.modules_to_save{leaf.removeprefix(root)}.{p.name}", p.shape)
        for leaf, root in covered.items()
        for p in inventory.by_name[leaf].parameters
    )
    return tuple(tensors), set(covered)


def _biases(inventory: Inventory, bias: str, adapted: set[str], saved: set[str]) -> Named:
    """`all`: every tensor named bias; `lora_only`: those of the adapted layers."""
    if bias == "none":
        return ()
    found = []
    for name, group in inventory.by_name.items():
        parameter = group.parameter("bias")
        if parameter is not None and name not in saved and (bias == "all" or name in adapted):
            found.append((f"{name}.bias" if name else "bias", parameter.shape))
    return tuple(found)


def _unused(patterns: tuple[str, dict[str, int]], names: tuple[str, ...]) -> tuple[Any, ...]:
    field, keys = patterns
    unmet = [key for key in keys if not pattern_values(field, {key: 1}, {}, names)]
    return tuple(("estimator.pattern_unused", (("field", field), ("value", key))) for key in unmet)


def _rank_warnings(groups: Iterable[AdapterGroup]) -> tuple[Any, ...]:
    """A rank above the layer's smaller side adds parameters that no update can use."""
    over = {
        g.leaf: (g.r, min(g.in_features, g.out_features)) for g in groups if g.r > min(g.in_features, g.out_features)
    }
    return tuple(
        ("estimator.rank_over_layer", (("field", "r"), ("value", r), ("module", leaf), ("allowed", limit)))
        for leaf, (r, limit) in over.items()
    )

"""What an answer says beside its figures: parts of a model that are stored, trained or left out otherwise than a reader
expects."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from estimator.adapters.adapters import AdapterGroup, Trainables
from estimator.core.problems import Problem
from estimator.core.units import human_bytes, width_bytes
from estimator.memory.states import stored_dtype
from estimator.model import recurrent
from estimator.model.catalog import Model
from estimator.model.inventory import Inventory, Module
from estimator.model.spec import entries
from estimator.recipe import schedules
from estimator.recipe.batches import is_flat
from estimator.recipe.recipe import Recipe

_ROUTER = re.compile(r"(?:^|\.)(?:router|gate)(?:\.|$)")
_TOWER = re.compile(
    r"(?:^|\.)(?:vision\w*|visual|image\w*|audio\w*|multi_modal_projector|embed_(?:vision|audio)|mm_projector|aligner)(?:\.|$)"
)
_ATTENTION = re.compile(r"\.\w*attn\w*\.|\.attention\.|\.[qkvo]_proj$")
SENSES = ("vision_config", "audio_config", "vision_tower_config", "visual")
"""Keys of a config.json whose model sees or hears."""


def remarks(recipe: Recipe, model: Model, trained: Trainables) -> Iterator[Problem]:
    """All that holds for this recipe on this model."""
    yield from schedules.remarks(recipe)
    yield from _experts(recipe, model, trained)
    yield from _senses(model, trained)
    yield from _context(recipe, model)
    yield from recurrent.remarks(recipe, model) if is_flat(recipe) else ()


def _experts(recipe: Recipe, model: Model, trained: Trainables) -> Iterator[Problem]:
    """Transformers 5 stacks a layer's experts into one parameter, and bitsandbytes replaces linear layers only."""
    experts = _stacked(model.inventory)
    if not experts:
        return
    if recipe.is_quantized:
        size = sum(
            g.count * p.numel * width_bytes(stored_dtype(g, recipe.dtype)) for g in experts for p in g.parameters
        )
        versions = model.inventory.versions.get("transformers", "5")
        yield Problem(
            "estimator.experts_whole",
            field="quantization",
            value=recipe.quantization,
            size=human_bytes(size),
            dtype=recipe.dtype,
            version=versions,
        )
    adapted = [group for group in trained.adapters if group.kind == "Experts" and not _ROUTER.search(group.leaf)]
    routers = [group for group in trained.adapters if any(_ROUTER.search(name) for name in group.names[:1])]
    if trained.adapters and not (adapted or routers):
        tensors = dict.fromkeys(
            f"{g.name.rpartition('.')[2]}.{p.name}" for g in experts for p in g.parameters if len(p.shape) == 3
        )
        yield Problem("estimator.experts_frozen", field="target_modules", allowed=" ".join(tensors))
    elif trained.adapters:
        yield Problem(
            "estimator.experts_trained",
            field="target_modules",
            experts=f"{_parameters(adapted):,}",
            routers=f"{_parameters(routers):,}",
            trained=f"{trained.parameters:,}",
            ranks=", ".join(dict.fromkeys(f"{group.leaf} {group.r}" for group in adapted)) or "-",
            allowed=" ".join(attention_leaves(model.inventory)) or "-",
        )


@functools.lru_cache(maxsize=256)
def _stacked(inventory: Inventory) -> tuple[Module, ...]:
    return tuple(group for group in inventory.groups if is_stacked(group))


def is_stacked(group: Module) -> bool:
    """Whether a module's parameters are the experts of a whole layer."""
    return "experts" in group.name.rpartition(".")[2] and any(len(p.shape) == 3 for p in group.parameters)


def attention_leaves(inventory: Inventory) -> list[str]:
    """Linear layers of attention in the decoder: what `target_modules` may be instead of everything."""
    names = (name for name in inventory.linear_names if _ATTENTION.search(name) and not _TOWER.search(name))
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def _parameters(groups: list[AdapterGroup]) -> int:
    return sum(group.parameters for group in groups)


def _senses(model: Model, trained: Trainables) -> Iterator[Problem]:
    """Rows are text: what images become (further tokens, the tower's activations) is in no figure."""
    if not _has_senses(model):
        return
    adapted = sum(g.parameters // g.count * sum(1 for name in g.names if _TOWER.search(name)) for g in trained.adapters)
    yield Problem("estimator.images_not_counted", field="model", value=model.id[:120])
    if adapted:
        yield Problem(
            "estimator.tower_trained", field="target_modules", value=f"{adapted:,}", trained=f"{trained.parameters:,}"
        )


@functools.lru_cache(maxsize=256)
def _has_senses(model: Model) -> bool:
    return any(key in SENSES and isinstance(value, dict) for key, value in entries(model.config or {}))


def _context(recipe: Recipe, model: Model) -> Iterator[Problem]:
    limit = model.spec.max_position_embeddings
    if limit and recipe.max_length > limit:
        yield Problem(
            "estimator.beyond_context", field="max_length", value=f"{recipe.max_length:,}", allowed=f"{limit:,}"
        )


def positions(inventory: Inventory, limit: int | None) -> bool:
    """Whether positions are rows of a table (GPT-2, OPT, BERT), which ends with the context: a longer row fails."""
    tables = (
        group
        for group in inventory.groups
        if group.kind in ("Embedding", "Other") and re.search(r"wpe|position", group.name.rpartition(".")[2])
    )
    return any(
        limit and limit <= p.shape[0] <= limit + 8 for group in tables for p in group.parameters if len(p.shape) == 2
    )

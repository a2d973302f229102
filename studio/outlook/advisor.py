"""What a dataset itself asks of a run: rank, learning rate, epochs, sequence length and packing, each with the figure
that it follows from and who says so.

Pure: of a recipe to begin with, the base, and what is known of the training rows. Thresholds are rules of thumb and are
called so; what a proposal makes of the rows (share cut, steps, tokens saved) is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from estimator.core.problems import Problem
from estimator.cost.rows import Epoch, epoch
from estimator.estimates.estimate import check
from estimator.model.catalog import Model
from estimator.recipe.recipe import FIELDS, Recipe
from studio.jobs.standing_out import FULL_SHARE, TINY_PARAMETERS
from studio.models.find import STARTS
from studio.outlook.batches import evenly

RANKS = ((0, 8), (5_000, 16), (50_000, 32), (500_000, 64))
"""From more than so many training rows on, this rank."""
REASONING_RANK, REASONING_SHARE = 32, 0.5
"""Of rows of which so large a share reasons before it answers."""
RSLORA_FROM, RSLORA_ALPHA = 32, 16
"""Scaled by alpha / sqrt(r): 2.8 at rank 32, 2 at rank 64, as alpha = 2r is without."""
RATES = ((0, 2e-3), (TINY_PARAMETERS, 2e-4), (30e9, 1e-4))
"""From more than so many parameters of the base on, this rate for adapters: a tiny one takes more
(`studio.jobs.standing_out`), a large one less (QLoRA, arXiv 2305.14314, table 9)."""
EPOCHS = ((0, 3), (5_000, 2), (50_000, 1))
"""From more than so many training rows on, so many passes."""
LEAST_STEPS, MOST_EPOCHS = 100, 10
"""A shorter run barely leaves its warm-up: few rows are passed over more often, but no more than this."""
CUT_SHARE = 0.01
"""Of the rows at most, longer than the length proposed."""
LENGTH_STEP, WORTH_ALL = 64, 1.25
"""Lengths are multiples of the first; where the longest row needs at most the second times as much, none is cut."""
PACKING_SAVES = 0.2
"""Packing is proposed where it saves at least this share of the tokens computed."""
TINY_ROWS = 500
"""Fewer are learnt by heart within a few passes."""


@dataclass(frozen=True)
class Known:
    """What is known of a dataset. `lengths`: tokens of whole training rows and how many have them, of a sample that is
    `share` of all; `thinking`: the share of rows that reason before they answer."""

    train_rows: int
    eval_rows: int
    lengths: Sequence[tuple[int, int]]
    share: float = 1.0
    thinking: float = 0.0


@dataclass(frozen=True)
class Proposal:
    """One field's value, why (`advisor.<why>` with `params` is the sentence), and who says so."""

    field: str
    value: Any
    why: str
    params: dict[str, Any]
    source: str

    def to_dict(self) -> dict[str, Any]:
        return {"field": self.field, "value": self.value, "why": self.why, **self.params, "source": self.source}


@dataclass(frozen=True)
class Advice:
    """`recipe` is `begun` with all proposals; `notes` warn of the rows: `advisor.note_<key>` and its values."""

    begun: Recipe
    recipe: Recipe
    proposals: tuple[Proposal, ...]
    notes: tuple[tuple[str, dict[str, Any]], ...] = ()
    refused: tuple[Problem, ...] = field(default=())
    """Proposals that do not go with the rest of the recipe, in its own words."""

    @property
    def values(self) -> dict[str, Any]:
        return {one.field: one.value for one in self.proposals}

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.recipe.model,
            "values": self.values,
            "proposals": [one.to_dict() for one in self.proposals],
            "notes": [{"note": key, **params} for key, params in self.notes],
            "refused": [problem.to_dict() for problem in self.refused],
        }


def advise(begun: Recipe, model: Model | None, known: Known) -> Advice:
    """Proposals for training `begun` on these rows. `model` is None where nothing is known of the base: then nothing
    that depends on it is proposed."""
    made = _Made(begun, model)
    if not known.train_rows:
        return Advice(begun, begun, (), (("untrained", {"task": begun.task.name}),))
    made.take(*_rank(begun, known))
    made.take(_rate(begun, model))
    if known.lengths:
        made.take(_length(known, model))
        made.take(_packing(made.recipe, known))
    made.take(_epochs(made.recipe, known))
    return Advice(begun, made.recipe, tuple(made.proposals), tuple(_notes(known)), tuple(made.refused))


class _Made:
    """A recipe that takes one proposal after another, as far as the record and the base let it."""

    def __init__(self, recipe: Recipe, model: Model | None) -> None:
        self.recipe, self.model = recipe, model
        self.proposals: list[Proposal] = []
        self.refused: list[Problem] = []

    def take(self, *proposals: Proposal | None) -> None:
        for one in filter(None, proposals):
            try:
                recipe = self.recipe.replace(**{one.field: one.value})
                for problem in check(recipe, model=self.model) if self.model else ():
                    raise problem
            except Problem as problem:
                self.refused.append(problem)
                continue
            self.recipe = recipe
            self.proposals.append(one)


def _of(table: Sequence[tuple[float, Any]], count: int) -> Any:
    return [value for above, value in table if count > above or not above][-1]


def _rank(begun: Recipe, known: Known) -> list[Proposal]:
    if not begun.has_adapters:
        return []
    rank = _of(RANKS, known.train_rows)
    says = {"rows": f"{known.train_rows:,}", "few": f"{RANKS[1][0]:,}", "many": f"{RANKS[2][0]:,}"}
    why = {8: "rank_few", 16: "rank_some"}.get(rank, "rank_many")
    if known.thinking >= REASONING_SHARE and rank < REASONING_RANK:
        rank, why, says = REASONING_RANK, "rank_reasoning", {"share": f"{100 * known.thinking:.0f}"}
    stable = rank >= RSLORA_FROM
    alpha = RSLORA_ALPHA if stable else 2 * rank
    scaling = alpha / math.sqrt(rank) if stable else alpha / rank
    scaled = {"rank": rank, "from": RSLORA_FROM, "scaling": f"{scaling:.2g}"}
    return [
        Proposal("r", rank, why, says, "rule of thumb; arXiv 2106.09685; thinkingmachines.ai/blog/lora"),
        Proposal("use_rslora", stable, "rslora_on" if stable else "rslora_off", scaled, "arXiv 2312.03732"),
        Proposal("lora_alpha", alpha, "alpha_rslora" if stable else "alpha_twice", scaled, "Unsloth; arXiv 2312.03732"),
    ]


def _rate(begun: Recipe, model: Model | None) -> Proposal | None:
    if own := STARTS.get(begun.model, {}).get("learning_rate"):
        return Proposal("learning_rate", own, "rate_own", {}, "LoRA Studio")
    if model is None:
        return None
    parameters = model.inventory.total_parameters
    rate, millions = _of(RATES, parameters), f"{parameters / 1e6:,.0f}"
    if not begun.has_adapters:
        return Proposal(
            "learning_rate", rate * FULL_SHARE, "rate_full", {"millions": millions}, "thinkingmachines.ai/blog/lora"
        )
    why = {rate: why for (_, rate), why in zip(RATES, ("rate_tiny", "rate_usual", "rate_large"))}[rate]
    return Proposal("learning_rate", rate, why, {"millions": millions}, "arXiv 2305.14314")


def _length(known: Known, model: Model | None) -> Proposal:
    """The shortest length that leaves out or cuts `CUT_SHARE` of the rows at most; the longest row's, where that is
    little more."""
    count, longest = sum(times for _, times in known.lengths), max(length for length, _ in known.lengths)
    low, high = (int(FIELDS["max_length"].limits[end]) for end in ("low", "high"))
    reach = min(high, (model.spec.max_position_embeddings if model else None) or high)
    over, enough = 0, longest
    for length, times in sorted(known.lengths, reverse=True):
        enough = length
        over += times
        if over > CUT_SHARE * count:
            break
    whole, most = (LENGTH_STEP * math.ceil(length / LENGTH_STEP) for length in (longest, enough))
    value = max(low, min(reach, whole if whole <= WORTH_ALL * most else most))
    cut = sum(times for length, times in known.lengths if length > value)
    says = {"longest": f"{longest:,}", "share": f"{100 * cut / count:.2g}", "limit": f"{value:,}"}
    says |= {"most": f"{100 * CUT_SHARE:g}"}
    why = "length_all" if not cut else "length_most" if cut <= CUT_SHARE * count else "length_base"
    return Proposal("max_length", value, why, says, "counted")


def _laid_out(recipe: Recipe, known: Known) -> tuple[Epoch, float]:
    """One pass over the rows, as far as they are not too long, and how many passes like it make one over all."""
    lengths = [(min(length, recipe.max_length), times) for length, times in known.lengths]
    examples, each = evenly(lengths, known.share)
    return epoch(examples, recipe), each


def _packing(recipe: Recipe, known: Known) -> Proposal:
    padded, packed = (_laid_out(recipe.replace(packing=packing), known)[0] for packing in (False, True))
    saved = 1 - packed.padded_tokens / padded.padded_tokens
    mean = padded.tokens / padded.rows
    says = {"share": f"{100 * abs(saved):.0f}", "mean": f"{mean:,.0f}", "limit": f"{recipe.max_length:,}"}
    why = "packing_saves" if saved >= PACKING_SAVES else "packing_little" if saved >= 0 else "packing_costs"
    return Proposal("packing", saved >= PACKING_SAVES, why, says, "counted; TRL")


def _epochs(recipe: Recipe, known: Known) -> Proposal:
    epochs = _of(EPOCHS, known.train_rows)
    if known.lengths:
        found, each = _laid_out(recipe, known)
        steps = max(1, round(found.steps * each))
    else:
        batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
        steps = max(1, math.ceil(known.train_rows / batch))
    wanted = min(MOST_EPOCHS, max(epochs, math.ceil(LEAST_STEPS / steps)))
    says = {"rows": f"{known.train_rows:,}", "steps": f"{steps:,}", "all": f"{steps * wanted:,}"}
    says |= {"least": f"{LEAST_STEPS:,}", "few": f"{EPOCHS[1][0]:,}", "many": f"{EPOCHS[2][0]:,}"}
    if wanted > epochs:
        return Proposal("num_train_epochs", float(wanted), "epochs_few", says, "rule of thumb; arXiv 2305.11206")
    return Proposal("num_train_epochs", float(epochs), "epochs_rows", says, "rule of thumb; Unsloth")


def _notes(known: Known) -> list[tuple[str, dict[str, Any]]]:
    rows = {"rows": f"{known.train_rows:,}"}
    notes: list[tuple[str, dict[str, Any]]] = [("tiny", rows)] if known.train_rows < TINY_ROWS else []
    return notes + ([("no_validation", {})] if not known.eval_rows else [])


def known_of(seen: dict[str, Any]) -> Known:
    """Of what a preview says of the training rows (`studio.rendering.preview.view`, `batches`). Rows that the task
    cannot train count as none."""
    lengths = [(int(length), int(times)) for length, times in seen["whole"]]
    measured = max(1, seen["measured"])
    rows = round(seen["of"] * sum(times for _, times in lengths) / measured)
    return Known(rows, seen["eval_rows"], lengths, seen["measured"] / max(1, seen["of"]), seen["thinking"])

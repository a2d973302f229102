"""The loss of each held-out row, under the base alone and under what was trained: the two measurements that say whether
a run learned.

Row by row and not as one mean, so that the difference has an interval (`studio.jobs.learned`). The loss is the
trainer's own: TRL's head, which never makes the logits, in the types that training uses.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from estimator.recipe.recipe import Recipe
from studio.jobs.folder import RunFolder
from studio.jobs.journal import Journal, Reader

MOST_ROWS = 64
"""Two forward passes over so many rows cost about as much as training on 43 of them; the interval narrows with their
square root."""


class Heldout(TrainerCallback):
    """Measures the base before the first step, whoever began the run, and `measure("trained")` after the last.
    `trainer` is set once there is one."""

    trainer: Any

    def __init__(self, run: RunFolder, journal: Journal, recipe: Recipe, rows: Any, collator: Any) -> None:
        self.run, self.journal, self.recipe, self.collator = run, journal, recipe, collator
        self.rows, self.split_rows = chosen(rows), len(rows)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        known = "base" in Reader(self.run.path).course().heldout
        if not known and (state.global_step == 0 or self._leaves_the_base_alone()):
            self.journal.write("phase", name="evaluating", total_steps=state.max_steps)
            self.measure("base")

    def _leaves_the_base_alone(self) -> bool:
        """Whether switching the adapters off gives the base also after steps."""
        return self.recipe.has_adapters and self.recipe.bias == "none"

    def measure(self, weights: str) -> None:
        """Into the journal; nothing where a loss is no number, or the run is being stopped."""
        is_base = weights == "base"
        if found := row_losses(self.trainer, self.rows, self.collator, base=is_base, stopped=self.run.stop_file.exists):
            losses, tokens = found
            step = 0 if is_base else self.trainer.state.global_step
            self.journal.write(
                "heldout", weights=weights, step=step, losses=losses, tokens=tokens, split_rows=self.split_rows
            )


def chosen(rows: Any) -> Any:
    """At most MOST_ROWS of a `datasets.Dataset`, evenly spread and always the same."""
    if len(rows) <= MOST_ROWS:
        return rows
    return rows.select([number * len(rows) // MOST_ROWS for number in range(MOST_ROWS)])


def row_losses(
    trainer: Any, rows: Any, collator: Any, *, base: bool, stopped: Callable[[], bool] = lambda: False
) -> tuple[list[float], list[int]] | None:
    """(mean loss of each row per trained token, its trained tokens), with adapters off for the `base`; None where a
    loss is no number or the run is being stopped.

    Batches have the size of an evaluation's, so memory stays within what is predicted for one.
    """
    model, size = trainer.model, trainer.args.per_device_eval_batch_size
    was_training = model.training
    losses: list[float] = []
    counts: list[int] = []
    model.eval()
    try:
        with torch.no_grad(), _adapters_off(model) if base else contextlib.nullcontext():
            for first in range(0, len(rows), size):
                if stopped():
                    return None
                batch = collator([rows[number] for number in range(first, min(first + size, len(rows)))])
                batch = trainer._prepare_inputs(batch)
                with trainer.compute_loss_context_manager():
                    made = model(**batch, use_cache=False, fused_lm_head=True)
                tokens = made.label_mask.sum(dim=1)
                losses += (-made.log_probs.float().sum(dim=1) / tokens.clamp(min=1)).tolist()
                counts += [int(count) for count in tokens.tolist()]
    finally:
        model.train(was_training)
    return (losses, counts) if all(map(math.isfinite, losses)) else None


def _adapters_off(model: Any) -> contextlib.AbstractContextManager[Any]:
    """PEFT's own switch; a model trained whole is its base until its first step."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext()

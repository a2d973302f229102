"""Which share of its rated speed a card reaches in real fine-tunes: `presets/efficiency.csv`, made by `python -m estimator.cost.efficiency`.

Every row is a published or a measured run with its source. The command traces that run's step, lets it run at the card's
rated speed (`estimator.cost.roofline`) and divides by what was measured. Nothing is fitted: the figure used is the median of the card's own
rows, else of its family's, else of all; the range is the lowest and highest of its family where one of the rows is its own, else of
all. Shares above 1 are real: large caches spare traffic that is counted, and some makers rate their cards below what they
reach. Runs of `make gpu-proof` join the table by the same rule. Only the command imports torch.
"""

from __future__ import annotations

import csv
import functools
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.cost.roofline import amounts, seconds, step_bytes
from estimator.estimates.parts import Parts, parts_of
from estimator.hardware.cards import Gpu, find_gpu, known_gpu
from estimator.hardware.platforms import Platform
from estimator.law.law import LOOPS, TRL_TILE_TOKENS, Loop
from estimator.measure import sweep_table
from estimator.model.catalog import load_preset, presets_dir
from estimator.recipe.batches import shape
from estimator.recipe.recipe import FIELDS, Recipe

_OLD = {"fused_loss": False, "keeps_outputs": False, "half_adapters": False}
PROGRAMS = {
    "trl-0.13": Loop("trl-0.13", upcasts="norms", copies_logits=True, **_OLD),
    "trl-0.13-16": Loop("trl-0.13-16", upcasts="none", copies_logits=True, **_OLD),
    "fsdp_qlora": Loop("fsdp_qlora", fused_loss=False, upcasts="none", keeps_outputs=True, half_adapters=True),
    "peft-mm": LOOPS["plain"],
    "fms-fsdp": LOOPS["plain"],
}
"""The loops of the programs that were measured, as far as their sources tell."""


TEXTS = ("model", "method", "dtype", "mixed_precision", "attn_implementation", "optim")
WHOLE_NUMBERS = ("r", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length")


@dataclass(frozen=True)
class Efficiency:
    """Share of the rated speed: central, lowest and highest of `runs` runs on `cards`."""

    low: float
    central: float
    high: float
    runs: int
    cards: str

    @property
    def why(self) -> Problem:
        shares = {name: f"{getattr(self, name):.0%}" for name in ("central", "low", "high")}
        return Problem("why.efficiency", runs=self.runs, cards=self.cards, **shares)


@functools.cache
def efficiency_of(gpu: Gpu) -> Efficiency:
    """What the table says of `gpu`."""
    shares = [(find_gpu(line["gpu"]), float(line["efficiency"])) for line in _lines()]
    own = [share for card, share in shares if card.name == gpu.name]
    like = [share for card, share in shares if card.family == gpu.family]
    around = [(card, share) for card, share in shares if not own or card.family == gpu.family]
    values = [share for _, share in around]
    cards = ", ".join(sorted({card.name for card, _ in around}))
    return Efficiency(min(values), statistics.median(own or like or values), max(values), len(values), cards)


def _table() -> Path:
    return presets_dir() / "efficiency.csv"


def _lines() -> list[dict[str, str]]:
    with _table().open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def recipe_of(line: dict[str, str]) -> Recipe:
    """The recipe that a line of the table states."""
    names = [name for name in FIELDS if line.get(name)]
    fields: dict[str, Any] = {name: line[name] for name in names}
    fields |= {name: int(line[name]) for name in WHOLE_NUMBERS if line.get(name)}
    fields |= {"gradient_checkpointing": line["gradient_checkpointing"] == "true"}
    if line["target_modules"]:
        names = line["target_modules"].split(",")
        fields["target_modules"] = names[0] if names == ["all-linear"] else tuple(names)
    if line["double_quant"]:
        fields["bnb_4bit_use_double_quant"] = line["double_quant"] == "true"
    return Recipe(**fields)


def traced_parts(recipe: Recipe, loop: Loop, platform: Platform) -> Parts:
    """What the recipe's step does in a program that the studio does not run: traced now, kept nowhere."""
    from estimator.trace.fit import derive_law

    model = load_preset(recipe.model)
    tile = TRL_TILE_TOKENS if loop.fused_loss else 0
    law = derive_law(
        recipe, model.config, loop, tile_tokens=tile, platform=platform, class_name=model.inventory.class_name
    )
    return replace(parts_of(recipe, model, "trl", "cuda", platform), law=law)


def rated_tokens_per_second(recipe: Recipe, parts: Parts, gpu_name: str) -> float:
    """Tokens a second at the card's rated speed; of rows without padding, all of them trained."""
    batch, length = shape(recipe)
    work = amounts(parts.law, parts.law.phi(batch, length, recipe.r))
    taken, _ = seconds(work, find_gpu(gpu_name), step_bytes(recipe, parts) / recipe.gradient_accumulation_steps)
    return batch * length / taken


def measured_lines() -> list[dict[str, str]]:
    """Runs of `make gpu-proof` with a speed, as lines of the table. Raises `Problem` for a table of an unknown card."""
    made = []
    for path in sorted((presets_dir() / "measurements").glob("*.csv")):
        records = [] if path.stem == "published" else sweep_table.read(path)
        timed = [record for record in records if record.steps_per_second and record.status == "ok"]
        made += [_measured(record, _card(path.stem), path) for record in timed]
    return made


def _card(slug: str) -> str:
    """The card of a table named by torch's name of it, such as `nvidia-h200`."""
    name = slug.replace("-", " ").upper()
    gpu = known_gpu(name)
    return (gpu or find_gpu(name)).name


def _measured(record: sweep_table.Record, gpu: str, path: Path) -> dict[str, str]:
    recipe = record.recipe
    tokens = (
        recipe.per_device_train_batch_size
        * recipe.max_length
        * recipe.gradient_accumulation_steps
        * record.steps_per_second
    )
    stated = {name: getattr(recipe, name) for name in (*TEXTS, *WHOLE_NUMBERS)}
    stated["gradient_checkpointing"] = str(recipe.gradient_checkpointing).lower()
    if recipe.has_adapters:
        targets = recipe.target_modules
        stated["target_modules"] = targets if isinstance(targets, str) else ",".join(targets or ())
    if recipe.is_quantized:
        stated |= {"quantization": recipe.quantization, "double_quant": str(recipe.bnb_4bit_use_double_quant).lower()}
    run = {"id": f"{path.stem}-{record.id}", "gpu": gpu, "program": record.loop, "tokens_per_second": f"{tokens:.1f}"}
    source = {"source_url": f"presets/measurements/{path.name}", "notes": "make gpu-proof"}
    return {name: str(value) for name, value in (run | stated | source).items()}


def main() -> int:
    """Fill the two last figures of every line anew, and add the runs measured here. Minutes; needs the train extra."""
    published = [line for line in _lines() if not line["source_url"].startswith("presets/")]
    columns = list(published[0])
    lines = published + [dict.fromkeys(columns, "") | line for line in measured_lines()]
    laws: dict[Any, Parts] = {}
    for line in lines:
        recipe, loop = recipe_of(line), PROGRAMS.get(line["program"]) or LOOPS[line["program"]]
        key = (
            recipe.replace(per_device_train_batch_size=2, max_length=512).to_json(),
            recipe.per_device_train_batch_size == 1,
            loop.name,
        )
        laws[key] = laws.get(key) or traced_parts(recipe, loop, Platform.of(find_gpu(line["gpu"])))
        rated = rated_tokens_per_second(recipe, laws[key], line["gpu"])
        share = float(line["tokens_per_second"]) / rated
        line |= {"roofline_tokens_per_second": f"{rated:.1f}", "efficiency": f"{share:.3f}"}
        print(
            f"{line['id']:<28} {line['gpu']:<18} rated {rated:>8.0f} tokens/s, measured {line['tokens_per_second']:>8}: {share:.3f}",
            flush=True,
        )
    with _table().open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())

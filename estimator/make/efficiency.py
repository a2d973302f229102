"""Make `presets/efficiency.csv`: `python -m estimator.make.efficiency`, with the train extra. Minutes.

Traces the step of each published run, lets it run at the card's rated speed (`estimator.cost.roofline`) and divides by
what was measured; runs of `make gpu-proof` join the table by the same rule.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from estimator.cost.efficiency import WHOLE_NUMBERS, recipe_of, table, table_lines
from estimator.cost.roofline import amounts, seconds, step_bytes
from estimator.estimates.parts import Parts, parts_of
from estimator.hardware.cards import find_gpu, known_gpu
from estimator.hardware.platforms import Platform
from estimator.law.law import TRL_TILE_TOKENS
from estimator.law.question import Question
from estimator.measure import sweep_table
from estimator.model.catalog import load_preset, presets_dir
from estimator.recipe.batches import shape
from estimator.recipe.loop import LOOPS, Loop
from estimator.recipe.recipe import Recipe

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


def traced_parts(recipe: Recipe, loop: Loop, platform: Platform) -> Parts:
    """What the recipe's step does in a program that the studio does not run: traced now, kept nowhere."""
    from estimator.trace.fit import derive_law

    model = load_preset(recipe.model)
    tile = TRL_TILE_TOKENS if loop.fused_loss else 0
    law = derive_law(
        recipe, model.known_config, loop, tile_tokens=tile, platform=platform, class_name=model.inventory.class_name
    )
    return replace(parts_of(Question(recipe, model, platform=platform)), law=law)


def rated_tokens_per_second(recipe: Recipe, parts: Parts, gpu_name: str) -> float:
    """Tokens a second at the card's rated speed; of rows without padding, all of them trained."""
    batch, length = shape(recipe)
    work = amounts(parts.law, parts.law.phi(batch, length, recipe.r))
    if work is None:
        raise ValueError(f"{recipe.model}: the law was traced without its work")
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
        * (record.steps_per_second or 0.0)
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
    published = [line for line in table_lines() if not line["source_url"].startswith("presets/")]
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
            f"{line['id']:<28} {line['gpu']:<18} rated {rated:>8.0f} tokens/s, measured "
            f"{line['tokens_per_second']:>8}: {share:.3f}",
            flush=True,
        )
    with table().open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())

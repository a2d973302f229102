"""`make accuracy`: the published measurements beside the estimate, row by row, and a summary.

Allocated and reserved, by the law and by the replay of the whole traced step, whether reserved lies in the stated range
of each and how wide that is; then the rows that do not say enough of what they ran.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable
from pathlib import Path

from estimator import Estimate, estimate
from estimator.estimates.error_bar import reserved_range
from estimator.hardware.cards import gpus
from estimator.measure.sweep_table import read, slug
from estimator.model.catalog import presets_dir
from tests.estimator import measured_devices
from tests.estimator.measured import OTHER_KERNELS, SERIES, Row, rows

APART = {
    "torchtune": "torchtune's own loop and kernels, reserved or active figures",
    "peft-mm": "reserved over a whole run with generation; lengths vary by batch",
}
MIB = 2**20


def main() -> None:
    errors: dict[str, list[float]] = {
        "allocated, law": [],
        "allocated, replay": [],
        "reserved, law": [],
        "reserved, replay": [],
    }
    ranges: dict[str, list[tuple[bool, float]]] = {"law": [], "replay": []}
    print(
        "row                model                      method attention         B  S     measured MiB   law    replay  "
        "reserved MiB  law      range    replay   range"
    )
    for row in rows():
        law, exact = row.estimate(), row.estimate("trace")
        found = [law.peak_allocated_bytes / row.measured_bytes - 1, exact.peak_allocated_bytes / row.measured_bytes - 1]
        if row.reserved_bytes:
            found += [made.peak_reserved_bytes / row.reserved_bytes - 1 for made in (law, exact)]
            for name, made in (("law", law), ("replay", exact)):
                low, high = reserved_range(
                    row.recipe, made.peak_allocated_bytes, made.peak_reserved_bytes if is_replayed(made) else None
                )
                ranges[name].append((low <= row.reserved_bytes <= high, (high - low) / made.peak_reserved_bytes))
        for name, error in zip(errors, found, strict=False):
            errors[name].append(error)
        print(_line(row, found, [ranges[name][-1] for name in ranges] if row.reserved_bytes else []), flush=True)
    for name, values in errors.items():
        print(summary(name, values))
    for name, held in ranges.items():
        inside, widths = sum(is_inside for is_inside, _ in held), sorted(width for _, width in held)
        print(
            f"reserved, range by the {name}: holds {inside} of {len(held)} ({inside / len(held):.0%}), width median "
            f"{statistics.median(widths):.0%}, widest {widths[-1]:.0%}"
        )
    for path in sorted((presets_dir() / "measurements").glob("*.csv")):
        if path.name != "published.csv":
            _own(path)
    print("\nSeveral cards, reserved, and what is unknown of each run:")
    for line in measured_devices.lines():
        print(line, flush=True)
    print("\nSeveral cards, seconds of 1,024 rows, central figure and range:")
    for line in measured_devices.time_lines():
        print(line, flush=True)
    print("\nNot compared:")
    for name, reason in _apart():
        print(f"  {name}: {reason}")


def _own(path: Path) -> None:
    """Runs of `make gpu-proof` on one card, whose name the file has."""
    errors = []
    gpu = next((gpu for gpu in gpus().values() if slug(gpu.name) == path.stem), None)
    print(f"\n{path.stem}:")
    for record in read(path):
        if record.status != "ok" or not record.peak_allocated_bytes:
            print(f"  {record.id}: {record.status} {record.reason}")
            continue
        made = estimate(record.recipe, gpu, loop=record.loop, derive=True)
        errors.append(made.peak_allocated_bytes / record.peak_allocated_bytes - 1)
        print(f"  {record.id}: {record.peak_allocated_bytes / MIB:,.1f} MiB, {errors[-1]:+.2%} ({made.engine})")
    if errors:
        print(summary("  allocated, law", errors))


def is_replayed(made: Estimate) -> bool:
    return any(why.code == "why.replay" for why in made.uncertainty.why)


def _line(row: Row, found: list[float], ranges: list[tuple[bool, float]]) -> str:
    r = row.recipe
    what = f"{row.id:18} {r.model.rpartition('/')[2]:26} {r.method:6} {r.attn_implementation:17} "
    what += f"{r.per_device_train_batch_size:<2} {r.max_length:<5}"
    if not row.reserved_bytes:
        return f"{what} {row.measured_bytes / MIB:12.1f} {found[0]:+7.2%} {found[1]:+7.2%}            -"
    seen = [
        f"{error:+8.2%} {'in' if is_inside else 'OUT':>3} {width:4.0%}"
        for error, (is_inside, width) in zip(found[2:], ranges, strict=True)
    ]
    reserved = f"{row.reserved_bytes / MIB:12.1f} {' '.join(seen)}"
    return f"{what} {row.measured_bytes / MIB:12.1f} {found[0]:+7.2%} {found[1]:+7.2%} {reserved}"


def summary(name: str, errors: Iterable[float]) -> str:
    sizes = sorted(map(abs, errors))
    within = lambda share: sizes[min(len(sizes) - 1, int(share * len(sizes)))]  # noqa: E731
    middle = statistics.median(sizes)
    return f"{name}: {len(sizes)} rows, median {middle:.2%}, 95 % within {within(0.95):.2%}, worst {sizes[-1]:.2%}"


def _apart() -> Iterable[tuple[str, str]]:
    with (presets_dir() / "measurements" / "published.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        if line["id"].startswith(SERIES) and OTHER_KERNELS in line["other"]:
            yield line["id"], "kernels of its own (fused cross entropy and rope), which no loop here has"
        elif not line["id"].startswith(SERIES) and line["n_gpus"] == "1":
            reason = next(text for name, text in APART.items() if line["id"].startswith(name))
            yield f"{line['id']} ({line['model_hf_id']}, {line['method']}, {line['measured_gib']} GiB)", reason


if __name__ == "__main__":
    main()

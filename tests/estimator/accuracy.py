"""`make accuracy`: the published measurements beside the estimate, row by row, and a summary.

Allocated by the law and by the replay, reserved by the replay; then the rows that do not say enough of what they ran.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable

from estimator.catalog import presets_dir
from tests.estimator.measured import OTHER_KERNELS, SERIES, Row, rows

APART = {
    "torchtune": "torchtune's own loop and kernels, reserved or active figures",
    "answerai": "FSDP on several cards: `estimator.parallel` is to come",
    "peft-mm": "reserved over a whole run with generation; lengths vary by batch",
}
MIB = 2**20


def main() -> None:
    errors: dict[str, list[float]] = {"allocated, law": [], "allocated, replay": [], "reserved, replay": []}
    print("row                model                      method attention         B  S     measured MiB   law    replay  reserved MiB  replay")
    for row in rows():
        law, exact = row.estimate(), row.estimate("trace")
        found = [law.peak_allocated_bytes / row.measured_bytes - 1, exact.peak_allocated_bytes / row.measured_bytes - 1]
        if row.reserved_bytes:
            found.append(exact.peak_reserved_bytes / row.reserved_bytes - 1)
        for name, error in zip(errors, found, strict=False):
            errors[name].append(error)
        print(_line(row, found), flush=True)
    for name, values in errors.items():
        print(summary(name, values))
    print("\nNot compared:")
    for name, reason in _apart():
        print(f"  {name}: {reason}")


def _line(row: Row, found: list[float]) -> str:
    r = row.recipe
    what = f"{row.id:18} {r.model.rpartition('/')[2]:26} {r.method:6} {r.attn_implementation:17} {r.per_device_train_batch_size:<2} {r.max_length:<5}"
    reserved = f"{row.reserved_bytes / MIB:12.1f} {found[2]:+8.2%}" if row.reserved_bytes else "           -"
    return f"{what} {row.measured_bytes / MIB:12.1f} {found[0]:+7.2%} {found[1]:+7.2%} {reserved}"


def summary(name: str, errors: Iterable[float]) -> str:
    sizes = sorted(map(abs, errors))
    within = lambda share: sizes[min(len(sizes) - 1, int(share * len(sizes)))]  # noqa: E731
    return f"{name}: {len(sizes)} rows, median {statistics.median(sizes):.2%}, 95 % within {within(0.95):.2%}, worst {sizes[-1]:.2%}"


def _apart() -> Iterable[tuple[str, str]]:
    with (presets_dir() / "measurements" / "published.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        if line["id"].startswith(SERIES) and OTHER_KERNELS in line["other"]:
            yield line["id"], "kernels of its own (fused cross entropy and rope), which no loop here has"
        elif not line["id"].startswith(SERIES):
            reason = next(text for name, text in APART.items() if line["id"].startswith(name))
            yield f"{line['id']} ({line['model_hf_id']}, {line['method']}, {line['measured_gib']} GiB)", reason


if __name__ == "__main__":
    main()

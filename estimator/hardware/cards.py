"""Accelerators as typed records (`presets/gpus.csv`), what a process may use of one, and how one is found by name. Read lazily; an empty cell
stays unknown (None)."""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.core.units import GIB, MIB
from estimator.model.catalog import rows


@dataclass(frozen=True)
class Gpu:
    """One accelerator as sold. Sizes in MiB as the column says, None where no source was found."""

    name: str
    vendor: str
    family: str
    architecture: str
    compute_capability: str
    memory_gib: float | None
    memory_mib_visible: int | None
    memory_mib_cuda_total: int | None
    mem_type: str
    bf16_supported: bool | None
    notes: str
    bandwidth_gbs: float | None = None
    fp32_tflops: float | None = None
    fp16_bf16_dense_tflops: float | None = None
    tdp_w: float | None = None
    launch_msrp_usd: float | None = None
    interconnect: str = ""
    memory_options_gib: tuple[float, ...] = ()
    """Sizes it is sold with, where there are several."""

    @property
    def is_laptop(self) -> bool:
        return "Laptop" in self.name

    def total_bytes(self) -> tuple[int, str] | None:
        """(what torch sees as the card's total, where the number comes from); None where nothing is known.

        Falls back on the rule of presets/README.md for NVIDIA cards that no log was found of (it is at or below every
        Linux value in the table), and on the visible memory for AMD and Apple.
        """
        if self.memory_mib_cuda_total:
            return self.memory_mib_cuda_total * MIB, "lowest CUDA total found in public logs"
        if self.vendor in ("AMD", "Apple") and self.memory_mib_visible:
            return self.memory_mib_visible * MIB, "memory the driver shows"
        if self.vendor == "NVIDIA" and self.memory_gib and (kept := _share_left(self)):
            return int(kept * GIB), "nominal size less the reserve of like cards"
        return None

    def usable_bytes(self) -> Usable | None:
        """What a training process may allocate: the total less the context (`presets/contexts.csv`)."""
        total = self.total_bytes()
        if total is None:
            return None
        context = context_for(self)
        return Usable(total[0], context, total[1])


@dataclass(frozen=True)
class Context:
    """Bytes of the CUDA context and loaded kernels of one process: central figure, range, and where it comes from."""

    bytes: int
    low_bytes: int
    high_bytes: int
    source: str


@dataclass(frozen=True)
class Usable:
    total_bytes: int
    context: Context
    source: str

    @property
    def bytes(self) -> int:
        return self.total_bytes - self.context.bytes


def _share_left(gpu: Gpu) -> float | None:
    """GiB that torch sees of a card's nominal GiB, by the rule in presets/README.md (lowest values of the table)."""
    size = gpu.memory_gib
    if gpu.mem_type.startswith("HBM"):
        return 0.98 * size
    if not gpu.mem_type.startswith("GDDR"):
        return None  # memory shared with the host: no rule was found
    if gpu.family == "datacenter" and gpu.mem_type == "GDDR6":
        return 0.91 * size
    return size - (0.55 if size <= 24 else 0.8 if size <= 48 else 1.05)


_RATES = ("bandwidth_gbs", "fp32_tflops", "fp16_bf16_dense_tflops", "tdp_w", "launch_msrp_usd")


@functools.cache
def gpus() -> dict[str, Gpu]:
    """All accelerators by name, in the file's order."""
    return {row["name"]: _gpu(row) for row in rows("gpus.csv")}


def _gpu(row: dict[str, str]) -> Gpu:
    return Gpu(
        **{
            k: row[k]
            for k in (
                "name",
                "vendor",
                "family",
                "architecture",
                "compute_capability",
                "mem_type",
                "interconnect",
                "notes",
            )
        },
        memory_gib=float(row["memory_gib"]) if row["memory_gib"] else None,
        memory_mib_visible=int(row["memory_mib_visible"]) if row["memory_mib_visible"] else None,
        memory_mib_cuda_total=int(row["memory_mib_cuda_total"]) if row["memory_mib_cuda_total"] else None,
        memory_options_gib=tuple(float(size) for size in row["memory_options_gib"].split(";") if size),
        bf16_supported={"yes": True, "no": False}.get(row["bf16_supported"]),
        **{name: float(row[name]) if row[name] else None for name in _RATES},
    )


_BRANDS = {"nvidia", "geforce", "tesla", "amd", "instinct", "radeon", "intel", "apple", "huawei", "ascend", "gpu"}


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"[a-z0-9.+]+", name.lower()) if word not in _BRANDS)


@functools.lru_cache(maxsize=512)
def find_gpu(name: str) -> Gpu:
    """A card by its exact name or a unique alias: its name without the brand, or words that only its name has.

    Raises `Problem` gpu.ambiguous with the candidates, or gpu.unknown with the closest names.
    """
    table = gpus()
    if name in table:
        return table[name]
    wanted = _words(name)
    same = [gpu for gpu in table.values() if wanted and _words(gpu.name) == wanted]
    found = same or [gpu for gpu in table.values() if wanted and set(wanted) <= set(_words(gpu.name))]
    if len(found) == 1:
        return found[0]
    if found:
        raise Problem("gpu.ambiguous", field="gpu", value=name, allowed=", ".join(gpu.name for gpu in found))
    # comparing takes time with the product of the lengths
    close = difflib.get_close_matches(name[:200].lower(), [n.lower() for n in table], n=5, cutoff=0.4)
    names = [n for n in table if n.lower() in close] or list(table)[:5]
    raise Problem("gpu.unknown", field="gpu", value=name[:80], allowed=", ".join(names))


def known_gpu(name: str) -> Gpu | None:
    """The catalog's card for torch's name of it; None where that name does not tell which it is.

    The driver names boards for SXM sockets by chip and memory alone: "NVIDIA H200" beside "NVIDIA H200 NVL", "NVIDIA H100
    80GB HBM3" beside "NVIDIA H100 PCIe".
    """
    plain = " ".join(word for word in name.split() if not word.startswith("HBM"))
    for spelling in (name, f"{plain} SXM", f"{plain} SXM5"):
        with contextlib.suppress(Problem):
            return find_gpu(spelling)
    return None


@functools.cache
def _contexts() -> tuple[dict[str, Context], Context]:
    table = rows("contexts.csv")
    made = {
        r["gpu"]: Context(*(int(float(r[k]) * MIB) for k in ("mib", "low_mib", "high_mib")), r["source"]) for r in table
    }
    return made, made.pop("*")


def context_for(gpu: Gpu) -> Context:
    """The measured context of a card, else its vendor's, else the wide default of `presets/contexts.csv`."""
    measured, default = _contexts()
    return measured.get(gpu.name) or measured.get(gpu.vendor, default)


def default_context() -> Context:
    return _contexts()[1]


@functools.cache
def communicators() -> tuple[Context, Context]:
    """What NCCL holds beside torch in each process (`presets/communicators.csv`): of data and pipeline parallel, and of tensor parallel."""
    made = {
        r["distributed_type"]: Context(*(int(float(r[k]) * MIB) for k in ("mib", "low_mib", "high_mib")), r["source"])
        for r in rows("communicators.csv")
    }
    return made["*"], made["tp"]

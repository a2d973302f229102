"""Presets as typed records: accelerators and models. Files in `presets/`, read lazily; an empty cell stays unknown (None)."""

from __future__ import annotations

import contextlib
import csv
import difflib
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.inventory import Inventory
from estimator.problems import Problem
from estimator.spec import ModelSpec
from estimator.units import GIB, MIB

TINY_BASE = "lora-studio/tiny-base"
"""The base model that comes with the program."""


def presets_dir() -> Path:
    """`presets/` of the checkout, or its copy inside the installed package."""
    here = Path(__file__).resolve().parent
    installed = here / "_presets"
    return installed if installed.is_dir() else here.parent / "presets"


def rows(name: str) -> list[dict[str, str]]:
    """The lines of a table in `presets/`, by column."""
    with (presets_dir() / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
        **{k: row[k] for k in ("name", "vendor", "family", "architecture", "compute_capability", "mem_type", "interconnect", "notes")},
        memory_gib=float(row["memory_gib"]) if row["memory_gib"] else None,
        memory_mib_visible=int(row["memory_mib_visible"]) if row["memory_mib_visible"] else None,
        memory_mib_cuda_total=int(row["memory_mib_cuda_total"]) if row["memory_mib_cuda_total"] else None,
        memory_options_gib=tuple(float(size) for size in row["memory_options_gib"].split(";") if size),
        bf16_supported={"yes": True, "no": False}.get(row["bf16_supported"]),
        **{name: float(row[name]) if row[name] else None for name in _RATES},
    )


@dataclass(frozen=True)
class Offer:
    """A dated price of renting an instance, on demand and, where known, interruptible; USD an hour for the whole of it."""

    provider: str
    instance_or_flavor: str
    gpu: str
    gpu_count: int
    usd_per_hour: float | None
    spot_usd_per_hour: float | None
    as_of_date: str
    source_url: str
    region: str
    notes: str


@functools.cache
def offers() -> dict[str, tuple[Offer, ...]]:
    """All rows of `presets/cloud_prices.csv` by card, in the file's order."""
    made: dict[str, list[Offer]] = {}
    for row in rows("cloud_prices.csv"):
        prices = {name: float(row[name]) if row[name] else None for name in ("usd_per_hour", "spot_usd_per_hour")}
        made.setdefault(row["gpu"], []).append(Offer(**{**row, **prices, "gpu_count": int(row["gpu_count"])}))
    return {gpu: tuple(rows) for gpu, rows in made.items()}


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
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in table], n=5, cutoff=0.4)
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
    made = {r["gpu"]: Context(*(int(float(r[k]) * MIB) for k in ("mib", "low_mib", "high_mib")), r["source"]) for r in table}
    return made, made.pop("*")


def context_for(gpu: Gpu) -> Context:
    """The measured context of a card, else the wide default of `presets/contexts.csv`."""
    measured, default = _contexts()
    return measured.get(gpu.name, default)


def default_context() -> Context:
    return _contexts()[1]


@functools.cache
def communicators() -> tuple[Context, Context]:
    """What NCCL holds beside torch in each process (`presets/communicators.csv`): of data and pipeline parallel, and of tensor parallel."""
    made = {r["distributed_type"]: Context(*(int(float(r[k]) * MIB) for k in ("mib", "low_mib", "high_mib")), r["source"]) for r in rows("communicators.csv")}
    return made["*"], made["tp"]


@functools.cache
def tp_plans() -> dict[str, dict[str, str]]:
    """How Transformers splits each model type's modules under tensor parallel (`presets/tp_plans.json`)."""
    return json.loads((presets_dir() / "tp_plans.json").read_text("utf-8"))["plans"]


@dataclass(frozen=True)
class ModelPreset:
    """One model of `presets/models.csv`: what it is, what it counts, and where each came from."""

    id: str
    family: str
    license: str
    gated: bool
    model_type: str
    parameters: int
    """Counted on the meta build, tied tensors once."""
    published_parameters: int | None
    published_source: str
    context_length: int | None
    class_name: str
    flag: str
    notes: str
    released: str
    chinese_friendly: bool

    @property
    def stem(self) -> str:
        return self.id.replace("/", "__")

    @property
    def is_causal(self) -> bool:
        """Whether it can be trained on text rows (a decoder, alone or inside a vision-language model)."""
        if self.class_name in ("T5ForConditionalGeneration", "MT5ForConditionalGeneration", "BartForConditionalGeneration"):
            return False
        return self.class_name.endswith(("CausalLM", "LMHeadModel", "ForConditionalGeneration"))


@functools.cache
def models() -> dict[str, ModelPreset]:
    """All model presets by id, in the file's order."""
    return {row["hf_id"]: _model(row) for row in rows("models.csv")}


def _model(row: dict[str, str]) -> ModelPreset:
    return ModelPreset(
        id=row["hf_id"],
        gated=row["gated"] == "yes",
        parameters=int(row["params_exact"]),
        published_parameters=int(row["params_published"]) if row["params_published"] else None,
        published_source=row["params_published_source"],
        context_length=int(row["context_length"]) if row["context_length"] else None,
        class_name=row["params_class"],
        chinese_friendly=row["chinese_friendly"] == "yes",
        **{key: row[key] for key in ("family", "license", "model_type", "flag", "notes", "released")},
    )


@dataclass(frozen=True, eq=False)
class Model:
    """What an estimate needs of a model: its tensors, its sizes, and its name. `notes` are warnings about how it was counted."""

    id: str
    inventory: Inventory
    spec: ModelSpec
    notes: tuple[Problem, ...] = ()
    config: dict[str, Any] | None = None
    """The content of config.json, which a trace is made from."""


@functools.lru_cache(maxsize=64)
def load_preset(id: str) -> Model:
    """A preset's inventory and sizes. Raises `Problem` model.unknown with close ids."""
    if id not in models():
        raise unknown_model(id)
    stem = models()[id].stem
    inventory = Inventory.from_json(_json(presets_dir() / "inventories" / f"{stem}.json"))
    config = _json(presets_dir() / "configs" / f"{stem}.json")
    return Model(id, inventory, ModelSpec.from_config(config, context_length=models()[id].context_length), config=config)


def unknown_model(id: str) -> Problem:
    return Problem("model.unknown", field="model", value=id[:120], allowed=close_names(id))


def close_names(id: str) -> str:
    """Presets whose ids look like `id`, closest first, for a sentence. A model and its instruct version count the same."""
    known: dict[str, list[str]] = {}
    for name in models():
        known.setdefault(_plain(name), []).append(name)
    close = difflib.get_close_matches(_plain(id), known, n=5, cutoff=0.5)
    return ", ".join([name for plain in close for name in known[plain]][:5] or list(models())[:5])


def _plain(id: str) -> str:
    return re.sub(r"-(instruct|it|chat|base|hf|v[\d.]+)\b", "", id.lower().rpartition("/")[2])


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))

"""What a run may use of a card on the machine it is in: Windows, a screen on the card, unified memory, slices of a
card.

Every figure is a row of `presets/systems.csv` or `presets/mig.csv` with its source; what no row states is unknown. No
torch.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.problems import Problem
from estimator.core.units import GIB, MIB
from estimator.hardware.card_text import counted
from estimator.hardware.cards import CUDA_LIKE, Context, Gpu, Usable, context_for, find_gpu, gpus, read_as
from estimator.hardware.devices import check_machine
from estimator.model import catalog
from estimator.recipe.recipe import Recipe

SYSTEMS = ("linux", "linux-desktop", "windows", "windows-desktop", "wsl2", "macos")
"""`linux` is a server or a second card; with `-desktop` the card draws the screen too."""
SPILLS = ("windows", "windows-desktop", "wsl2")
"""Where NVIDIA's driver moves memory to the host instead of refusing it (presets/README.md)."""
FRAMEWORK_BYTES = GIB
"""What torch takes beside the tensors on Metal: the 1 GiB that presets/README.md advises to keep back."""


@dataclass(frozen=True)
class Machine:
    """A card, or a slice of one, under a system. `usable` is the central figure; low and high are the ends of its
    range, None all three where the memory is not known."""

    gpu: Gpu
    system: str | None
    usable: Usable | None
    low_bytes: int | None
    high_bytes: int | None
    read_as: Problem | None = None
    """What has to be said of the name it was asked for by."""

    def notes(self) -> list[Problem]:
        """What an estimate for this machine must say."""
        made = []
        if self.system in SPILLS:
            made.append(Problem("gpu.spills", field="system", value=self.system))
        if self.gpu.vendor in ("Apple", "AMD"):
            made.append(Problem("gpu.not_cuda", field="gpu", value=self.gpu.name))
        return made

    def foreign(self) -> Problem | None:
        """Of a card without CUDA, ROCm or Metal that it is one, and what is known of it."""
        gpu = self.gpu
        if gpu.vendor in CUDA_LIKE:
            return None
        rates = (
            (gpu.memory_gib, "{:g} GB"),
            (gpu.bandwidth_gbs, "{:,.0f} GB/s"),
            (gpu.fp16_bf16_dense_tflops, "{:,.0f} TFLOPS"),
        )
        known = ", ".join(text.format(rate) for rate, text in rates if rate) or "-"
        return Problem("gpu.foreign", field="gpu", value=gpu.name, vendor=gpu.vendor, known=known)


@functools.lru_cache(maxsize=512)
def machine(
    name: str | Gpu, system: str | None = None, mig: str | None = None, memory_gib: float | None = None
) -> Machine:
    """The machine that is meant. `mig` may also end the name: `A100 SXM4 80GB MIG 3g.40gb`. Without a `system` the card
    has nothing else to do: native Linux, no screen.

    Raises `Problem`: gpu.*, recipe.choice for a system, a profile or a memory size that is not there.
    """
    if system is not None and system not in SYSTEMS:
        raise Problem("recipe.choice", field="system", value=str(system)[:80], allowed=", ".join(SYSTEMS))
    if isinstance(name, str):
        name, stated = _slice_of(name)
        made = machine(find_gpu(name, memory_gib), system, mig or stated, memory_gib)
        return replace(made, read_as=read_as(name, memory_gib))
    if system is not None and (name.vendor == "Apple") != (system == "macos"):
        allowed = "macos" if name.vendor == "Apple" else ", ".join(SYSTEMS[:-1])
        raise Problem("recipe.choice", field="system", value=f"{system} ({name.name})", allowed=allowed)
    if memory_gib is not None:
        name = _with_memory(name, memory_gib)
    if mig:
        return _sliced(name, system, mig)
    if system is None:
        usable = name.usable_bytes()
        free = usable.bytes if usable else None
        return Machine(name, None, usable, free, free)
    return _whole(name, system)


def on_cards(recipe: Recipe, name: str) -> tuple[Recipe, str]:
    """The recipe on as many devices as a card's name says (`2x4090`), and the name of one. Raises `Problem`
    recipe.conflict where the recipe says another number."""
    count, one = (1, name) if name in gpus() else counted(name)
    if count == 1 or count == recipe.num_processes:
        return recipe, one
    if recipe.num_processes > 1:
        other = {"other": f"gpu {name[:80]}", "allowed": "Say it in one of the two"}
        raise Problem("recipe.conflict", field="num_processes", value=recipe.num_processes, **other)
    return recipe.replace(num_processes=count), one


def check_system(recipe: Recipe, system: str | None) -> None:
    """Refuse what has no kernels on Apple's GPUs: bitsandbytes, flash attention, fp16 autocast. Raises
    machine.unsupported."""
    if system == "macos":
        check_machine(recipe, "mps")


def _slice_of(name: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"(.*?)\s+(?:MIG\s+)?(\d+g\.\d+gb)", name.strip(), re.IGNORECASE)
    return (found[1], found[2]) if found else (name, None)


def _with_memory(gpu: Gpu, memory_gib: float) -> Gpu:
    """The card with another of the sizes it is sold with; its measured totals were of one size."""
    if memory_gib == gpu.memory_gib:
        return gpu
    if memory_gib not in gpu.memory_options_gib:
        sizes = gpu.memory_options_gib or (gpu.memory_gib,)
        allowed = ", ".join(f"{size:g}" for size in sizes if size) or "a card whose memory is known"
        raise Problem("recipe.choice", field="gpu_memory", value=f"{memory_gib:g}", allowed=allowed)
    return replace(gpu, memory_gib=memory_gib, memory_mib_visible=None, memory_mib_cuda_total=None)


def _sliced(gpu: Gpu, system: str | None, profile: str) -> Machine:
    profiles = {row["profile"]: row for row in _rows("mig.csv") if row["gpu"] == gpu.name}
    row = profiles.get(profile.lower().removeprefix("mig").strip())
    if row is None:
        cards = ", ".join(dict.fromkeys(row["gpu"] for row in _rows("mig.csv")))
        raise Problem(
            "recipe.choice",
            field="mig",
            value=f"{profile[:40]} ({gpu.name})",
            allowed=", ".join(profiles) or f"slices of {cards}",
        )
    usable = Usable(int(float(row["gib"]) * GIB), context_for(gpu), row["source"])
    gpu = replace(gpu, name=f"{gpu.name} MIG {row['profile']}", memory_gib=float(row["gib"]))
    return Machine(gpu, system, usable, usable.bytes, usable.bytes)


def _whole(gpu: Gpu, system: str) -> Machine:
    row = _row_for(gpu, system)
    if row is None:
        return Machine(gpu, system, None, None, None)
    if row["total"].startswith("fixed:"):
        return _fixed(gpu, system, row)
    total = gpu.total_bytes() if row["total"] == "cuda" else _visible(gpu)
    if total is None:
        return Machine(gpu, system, None, None, None)
    context = context_for(gpu)
    held = [int(row[key]) * MIB for key in ("held_low_mib", "held_mib", "held_high_mib")]
    held[2] = max(held[2], round(total[0] * float(row["held_high_share"] or 0)))
    source = total[1] if system == "linux" else f"{total[1]}; {row['source']}"
    usable = Usable(total[0] - held[1], context, source)
    return Machine(gpu, system, usable, usable.bytes - (held[2] - held[1]), usable.bytes + held[1] - held[0])


def _fixed(gpu: Gpu, system: str, row: dict[str, str]) -> Machine:
    """A row that states the limit itself (low, middle, high in MiB)."""
    low, middle, high = (int(number) * MIB for number in row["total"].removeprefix("fixed:").split(","))
    context = context_for(gpu)
    if system == "macos":
        context = Context(
            FRAMEWORK_BYTES, FRAMEWORK_BYTES, FRAMEWORK_BYTES, "1 GiB kept back for the framework (presets/README.md)"
        )
    usable = Usable(middle, context, row["source"])
    return Machine(gpu, system, usable, low - context.bytes, high - context.bytes)


def _visible(gpu: Gpu) -> tuple[int, str] | None:
    """On Windows and in WSL2 CUDA's total is the one that nvidia-smi shows (presets/README.md)."""
    if gpu.memory_mib_visible:
        return gpu.memory_mib_visible * MIB, "memory the driver shows"
    return gpu.total_bytes()


def _row_for(gpu: Gpu, system: str) -> dict[str, str] | None:
    """The most particular row: the card's own, its vendor's of this size, its vendor's, everybody's."""
    size = f"{gpu.memory_gib:g}" if gpu.memory_gib else ""
    fitting = [
        row
        for row in _rows("systems.csv")
        if row["system"] == system
        and row["vendor"] in ("", gpu.vendor)
        and row["gpu"] in ("", gpu.name)
        and row["memory_gib"] in ("", size)
    ]
    return max(fitting, key=lambda row: (bool(row["gpu"]), bool(row["memory_gib"]), bool(row["vendor"])), default=None)


@functools.cache
def _rows(name: str) -> list[dict[str, Any]]:
    return catalog.rows(name)

"""Accelerators as typed records (`presets/gpus.csv`), what a process may use of one, and how one is found by name. Read
lazily; an empty cell stays unknown (None)."""

from __future__ import annotations

import difflib
import functools
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.fields import shown
from estimator.core.problems import Problem
from estimator.core.units import GIB, MIB
from estimator.hardware.card_text import NOISE, counted, one_of, typed
from estimator.hardware.near_names import mended, numbers_like
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
        if self.vendor == "NVIDIA" and self.memory_gib and (kept := _share_left(self, self.memory_gib)):
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


def _share_left(gpu: Gpu, size: float) -> float | None:
    """GiB that torch sees of a card's nominal `size` in GiB, by the rule in presets/README.md (lowest values of the
    table)."""
    if gpu.mem_type.startswith("HBM"):
        return 0.98 * size
    if not gpu.mem_type.startswith("GDDR"):
        return None  # memory shared with the host: no rule was found
    if gpu.family == "datacenter" and gpu.mem_type == "GDDR6":
        return 0.91 * size
    return size - (0.55 if size <= 24 else 0.8 if size <= 48 else 1.05)


def _usable_bytes(gpu: Gpu) -> int:
    usable = gpu.usable_bytes()
    return usable.bytes if usable else 0


_TEXTS = (
    "name",
    "vendor",
    "family",
    "architecture",
    "compute_capability",
    "mem_type",
    "interconnect",
    "notes",
)
_RATES = ("bandwidth_gbs", "fp32_tflops", "fp16_bf16_dense_tflops", "tdp_w", "launch_msrp_usd")


@functools.cache
def gpus() -> dict[str, Gpu]:
    """All accelerators by name, in the file's order."""
    return {row["name"]: _gpu(row) for row in rows("gpus.csv")}


def _gpu(row: dict[str, str]) -> Gpu:
    texts: dict[str, Any] = {name: row[name] for name in _TEXTS}
    rates: dict[str, Any] = {name: float(row[name]) if row[name] else None for name in _RATES}
    return Gpu(
        memory_gib=float(row["memory_gib"]) if row["memory_gib"] else None,
        memory_mib_visible=int(row["memory_mib_visible"]) if row["memory_mib_visible"] else None,
        memory_mib_cuda_total=int(row["memory_mib_cuda_total"]) if row["memory_mib_cuda_total"] else None,
        memory_options_gib=tuple(float(size) for size in row["memory_options_gib"].split(";") if size),
        bf16_supported={"yes": True, "no": False}.get(row["bf16_supported"]),
        **texts,
        **rates,
    )


_BESIDE = {
    "rtx", "gtx", "rx", "arc", "quadro", "pcie", "sxm", "sxm2", "sxm4", "sxm5", "nvl", "ada", "generation", "blackwell",
    "edition",
    "workstation", "server", "per", "hgx", "dgx", "nvl72",
}  # fmt: skip
"""Words of a card's name that may be left out beside its number; `Ti`, `SUPER`, `D` or `Laptop` may not."""


@functools.lru_cache(maxsize=512)
def find_gpu(name: str, memory_gib: float | None = None) -> Gpu:
    """A card by its exact name, or by words that tell which it is: its name without the maker, `4060ti 16g`,
    `A100-SXM4-80GB`. `memory_gib` chooses among sizes where the name says none.

    Cards that share the words and the memory count as one: the one that offers least answers (`read_as` says so).
    Raises `Problem` gpu.ambiguous with candidates that differ in memory, gpu.other_size, gpu.several for a name that
    says several cards (`cards_named`), or gpu.unknown with the closest names.
    """
    if name in gpus():
        return gpus()[name]
    if name.casefold().startswith(_DRIVERS) and (known := known_gpu(name)):
        return known
    found, memory = _meant(name)
    if memory is None and len(found) > 1:
        memory = memory_gib
    if found and memory is not None:
        sized = [made for gpu in found if (made := _of_size(gpu, memory))]
        if not sized:
            sizes = ", ".join(f"{gpu.name} ({_size(gpu)})" for gpu in found)
            stated = typed(name).memory_gib or memory_gib is None
            value = name[:80] if stated else f"{name[:80]} ({memory:g} GB)"
            raise Problem("gpu.other_size", field="gpu", value=value, allowed=sizes)
        found = sized
    if len({gpu.memory_gib for gpu in found}) == 1 and (len(found) == 1 or _says_number(name)):
        return min(found, key=_usable_bytes)
    if found:
        raise _ambiguous(name, found)
    count, one = counted(name)
    one = one_of(one)
    if one != name:
        found_one = find_gpu(one, memory_gib)
        if count == 1:
            return found_one
        raise Problem("gpu.several", field="gpu", value=name[:80], count=count, allowed=found_one.name)
    raise Problem("gpu.unknown", field="gpu", value=shown(name[:80]), allowed=", ".join(_close(name)))


def _ambiguous(name: str, found: list[Gpu]) -> Problem:
    named = [f"{gpu.name} ({_size(gpu)})" for gpu in _common_first(found)]
    allowed = ", ".join(named[:MOST]) + (", ..." if len(named) > MOST else "")
    makers = {gpu.vendor for gpu in found}
    if makers & set(CUDA_LIKE):
        return Problem("gpu.ambiguous", field="gpu", value=name[:80], allowed=allowed)
    return Problem("gpu.ambiguous_foreign", field="gpu", value=name[:80], vendor=", ".join(makers), allowed=allowed)


def candidates(name: str) -> list[Gpu]:
    """The cards that one card's name may mean, the likeliest first: what `gpu.ambiguous` and `gpu.other_size` list."""
    return _common_first(_meant(counted(name)[1])[0])[:MOST]


def _common_first(found: list[Gpu]) -> list[Gpu]:
    """Those that public logs show first: the size that most people have."""
    return sorted(found, key=lambda gpu: not gpu.memory_mib_cuda_total)


def cards_named(name: str) -> tuple[Gpu, int]:
    """The card and how many of it a name says: `2x4090`, `8×H100 80GB`, `两张4090`; one where it says nothing. Raises
    `Problem`."""
    if name in gpus():
        return gpus()[name], 1
    count, one = counted(name)
    if one != name:
        return find_gpu(one), count
    return find_gpu(name), 1


def read_as(name: str, memory_gib: float | None = None) -> Problem | None:
    """What has to be said where a name means several cards of the same memory, or is mistyped."""
    if name in gpus() or (name.casefold().startswith(_DRIVERS) and known_gpu(name)):
        return None
    gpu = find_gpu(name, memory_gib)
    others = [one.name for one in _meant(name)[0] if _of_size(one, gpu.memory_gib) and one.name != gpu.name]
    if others:
        return Problem("gpu.read_as", field="gpu", value=name[:80], gpu=gpu.name, others=", ".join(others))
    return None if _candidates(typed(name).words) else Problem("gpu.mended", field="gpu", value=name[:80], gpu=gpu.name)


def _meant(name: str) -> tuple[list[Gpu], float | None]:
    """(the cards of a name, the memory that it states): by its words, else with a number beside the card's taken for
    its size (`3060 12`), else with its letters mended (`rxt 4090`), else those whose number goes on as the name ends
    (`910B`)."""
    words, memory = typed(name).words, typed(name).memory_gib
    if found := _candidates(words):
        return found, memory
    for size in sorted(word for word in words if word.isdecimal() and len(word) < 4 and memory is None):
        found = [gpu for gpu in _candidates(words - {size}) if _of_size(gpu, float(size))]
        if found:
            return found, float(size)
    better = mended(words, _vocabulary(), NOISE)
    if not any(_has_digit(word) and len(word) > 2 for word in better):
        return [], memory
    if better != words and (found := _candidates(better)):
        return found, memory
    return [gpu for gpu, own in _words_of_all().items() if all(_goes_on(word, own) for word in better)], memory


def _goes_on(word: str, own: frozenset[str]) -> bool:
    """Whether this is one of a card's words or, with a number, how one begins: `910B`, `MI300`, but not `409`."""
    longer = (one[len(word)] for one in own if one != word and one.startswith(word) and _has_digit(word))
    return word in own or any(not (word[-1].isdecimal() and after.isdecimal()) for after in longer)


def _candidates(words: frozenset[str]) -> list[Gpu]:
    """The cards of these words: the very same, then those with nothing more that matters, then all that have them."""
    if not words:
        return []
    table = _words_of_all()
    same = [gpu for gpu, own in table.items() if own == words]
    says_number = any(map(_has_digit, words))
    beside = [gpu for gpu, own in table.items() if words <= own and own - words <= _BESIDE] if says_number else []
    if len({gpu.memory_gib for gpu in beside}) > 1 or not same:
        same = beside or same
    return same or [gpu for gpu, own in table.items() if words <= own]


@functools.cache
def _words_of_all() -> dict[Gpu, frozenset[str]]:
    return {gpu: typed(gpu.name).words for gpu in gpus().values()}


@functools.cache
def _vocabulary() -> frozenset[str]:
    """Every word of a card's name."""
    return frozenset().union(*_words_of_all().values())


def _says_number(name: str) -> bool:
    return any(map(_has_digit, typed(name).words))


def _has_digit(word: str) -> bool:
    return any(character.isdecimal() for character in word)


def _of_size(gpu: Gpu, memory_gib: float | None) -> Gpu | None:
    """The card where it is sold with this memory."""
    if gpu.memory_gib == memory_gib:
        return gpu
    if memory_gib in gpu.memory_options_gib:
        return replace(gpu, memory_gib=memory_gib, memory_mib_visible=None, memory_mib_cuda_total=None)
    return None


def _size(gpu: Gpu) -> str:
    sizes = gpu.memory_options_gib or ((gpu.memory_gib,) if gpu.memory_gib else ())
    return " / ".join(f"{size:g} GB" for size in sizes) or "?"


CLOSE = 5
MOST = 8
"""Candidates named in a sentence."""
CUDA_LIKE = ("NVIDIA", "AMD", "Apple")
"""Makers of cards for which something is known of what a process may use."""
_DRIVERS = ("nvidia ", "tesla ", "quadro ")
"""How names begin that drivers print."""


def _close(name: str) -> list[str]:
    """Names that are close: those with the same number first, whatever else is written, then those with nearly that
    number."""
    words = typed(counted(name)[1]).words
    numbers = {word for word in words if _has_digit(word)}
    shared = [gpu.name for gpu in gpus().values() if numbers & typed(gpu.name).words]
    if not words and (size := typed(name).memory_gib):
        shared = [gpu.name for gpu in gpus().values() if gpu.memory_gib == size]
    if not words and not typed(name).memory_gib:
        shared = [other for other in _most_offered() if name.strip().casefold() in _whole_name(other)]
    near = [gpu.name for word in numbers_like(numbers, _vocabulary()) for gpu in _of_word(word)]
    # comparing takes time with the product of the lengths
    alike = difflib.get_close_matches(name[:200].lower(), [n.lower() for n in gpus()], n=CLOSE, cutoff=0.4)
    named = dict.fromkeys([*shared, *near, *(n for n in gpus() if numbers and n.lower() in alike)])
    return (list(named) or _most_offered())[:CLOSE]


def _of_word(word: str) -> list[Gpu]:
    return [gpu for gpu, own in _words_of_all().items() if word in own]


def _whole_name(name: str) -> str:
    return f"{gpus()[name].vendor} {name}".casefold()


@functools.cache
def _most_offered() -> list[str]:
    """Cards for a name that says nothing: those of most offers to rent, people's own first."""
    offers = Counter(row["gpu"] for row in rows("cloud_prices.csv"))
    common = [gpus()[name] for name, _ in offers.most_common() if name in gpus()]
    consumer = [gpu.name for gpu in common if gpu.family == "consumer"][:3]
    return list(dict.fromkeys([*consumer, *(gpu.name for gpu in common), *gpus()]))


def known_gpu(name: str) -> Gpu | None:
    """The catalog's card for torch's name of it; None where that name does not tell which it is.

    The driver names boards for SXM sockets by chip and memory alone: "NVIDIA H200" beside "NVIDIA H200 NVL", "NVIDIA
    H100 80GB HBM3" beside "NVIDIA H100 PCIe".
    """
    for spelling in (name, f"{name} SXM", f"{name} SXM5"):
        memory = typed(spelling).memory_gib
        found = [gpu for gpu in _candidates(typed(spelling).words) if memory is None or _of_size(gpu, memory)]
        if len(found) == 1:
            return found[0]
    return None


def _context(row: dict[str, str]) -> Context:
    size, low, high = (int(float(row[name]) * MIB) for name in ("mib", "low_mib", "high_mib"))
    return Context(size, low, high, row["source"])


@functools.cache
def _contexts() -> tuple[dict[str, Context], Context]:
    table = rows("contexts.csv")
    made = {r["gpu"]: _context(r) for r in table}
    return made, made.pop("*")


def context_for(gpu: Gpu) -> Context:
    """The measured context of a card, else its vendor's, else the wide default of `presets/contexts.csv`."""
    measured, default = _contexts()
    return measured.get(gpu.name) or measured.get(gpu.vendor, default)


def default_context() -> Context:
    return _contexts()[1]


@functools.cache
def communicators() -> tuple[Context, Context]:
    """What NCCL holds beside torch in each process (`presets/communicators.csv`): of data and pipeline parallel, and of
    tensor parallel."""
    made = {r["distributed_type"]: _context(r) for r in rows("communicators.csv")}
    return made["*"], made["tp"]

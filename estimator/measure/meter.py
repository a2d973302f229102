"""Memory and time of a training loop while it runs: torch's own counters, what the device shows, the host's pages."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field

MIB = 2**20


def resident_bytes() -> int:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss


def peak_resident_bytes() -> int:
    """The highest resident memory of this process since it began."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says of the first visible card; empty and 0 where there is no nvidia-smi."""

    version: str = ""
    used_bytes: int = 0

    @classmethod
    def ask(cls) -> Driver:
        card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        command = [
            "nvidia-smi",
            "--query-gpu=driver_version,memory.used",
            "--format=csv,noheader,nounits",
            f"--id={card}",
        ]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
            version, used_mib = (part.strip() for part in said.splitlines()[0].split(","))
            return cls(version, int(used_mib) * MIB)
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return cls()


@dataclass
class Meter:
    """Counts from its creation, before the model is loaded. The loop calls `begin` and `end` around each optimizer
    step.

    Peaks are those after `warm_up` steps: by then the optimizer's states, the workspaces and the kernels are there.
    Reserved memory never falls while nothing empties the cache, so its peak covers loading and warm-up too.
    """

    device: str
    warm_up: int
    others_bytes: int = 0
    """What the device showed before this process had a context."""
    steps: int = 0
    seconds: float = 0.0
    _begun: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        self.is_cuda = self.device.startswith("cuda")
        forget(self.device)
        if self.is_cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        self._start_bytes = self._seen_bytes = resident_bytes()
        self._start_peak_bytes = peak_resident_bytes()

    def begin(self) -> None:
        """Before an optimizer step's first forward pass."""
        self._wait()
        if self.steps == self.warm_up and self.is_cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        self._begun = time.perf_counter()

    def end(self) -> None:
        """After the step; an evaluation that follows counts for the peaks, not for the time."""
        self._wait()
        if self.steps >= self.warm_up:
            self.seconds += time.perf_counter() - self._begun
        self.steps += 1
        self._seen_bytes = max(self._seen_bytes, resident_bytes())

    def _wait(self) -> None:
        if self.is_cuda:
            import torch

            torch.cuda.synchronize()

    @property
    def steps_per_second(self) -> float | None:
        measured = self.steps - self.warm_up
        return measured / self.seconds if measured > 0 and self.seconds else None

    @property
    def resident_growth_bytes(self) -> int:
        """Of the host. The process's own record counts only once it was broken since the start."""
        peak = peak_resident_bytes()
        highest = peak if peak > self._start_peak_bytes else max(self._seen_bytes, resident_bytes())
        return max(0, highest - self._start_bytes)

    def cuda_bytes(self) -> dict[str, int | None]:
        """`peak_allocated_bytes`, `peak_reserved_bytes`, `context_bytes` and `device_bytes` (reserved at its peak, and
        the context); None on another device.

        The context is what the device shows beyond reserved memory and beyond what it showed before: CUDA's context,
        loaded kernels, and pages of a paged optimizer while they lie on the card.
        """
        names = ("peak_allocated_bytes", "peak_reserved_bytes", "context_bytes", "device_bytes")
        if not self.is_cuda:
            return dict.fromkeys(names)
        import torch

        free, total = torch.cuda.mem_get_info()
        allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        context = max(0, total - free - torch.cuda.memory_reserved() - self.others_bytes)
        return dict(zip(names, (allocated, reserved, context, reserved + context), strict=True))


def forget(device: str) -> int:
    """Free what no name holds, cuBLAS workspaces and the cache included, so that the next run begins as in a fresh
    process. Returns the bytes that torch still counts as allocated."""
    gc.collect()
    if not device.startswith("cuda"):
        return 0
    import torch

    if torch.cuda.is_initialized():
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()
    return 0

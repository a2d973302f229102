"""The training worker's own peak of memory, to stand beside the estimate."""

from __future__ import annotations

import sys

import psutil


class Meter:
    """Counts from its creation: made after the imports and before the model is loaded.

    On CUDA torch's own peak of allocated bytes. Elsewhere the growth of the process's resident memory, which also holds
    what the allocator has not given back: a figure of another kind, and labelled so.
    """

    def __init__(self, device: str) -> None:
        self.how = "cuda_allocated" if device == "cuda" else "resident_growth"
        self._start_bytes = _resident_bytes()
        self._start_peak_bytes = _peak_resident_bytes()
        self._seen_bytes = self._start_bytes
        if self.how == "cuda_allocated":
            import torch

            torch.cuda.reset_peak_memory_stats()

    def look(self) -> int:
        """Note the memory now; called after each step. Returns the peak so far, in bytes."""
        self._seen_bytes = max(self._seen_bytes, _resident_bytes())
        return self.peak_bytes()

    def peak_bytes(self) -> int:
        if self.how == "cuda_allocated":
            import torch

            return torch.cuda.max_memory_allocated()
        peak = _peak_resident_bytes()
        # The process's own record counts only once it was broken since the start; importing may have set it before.
        highest = peak if peak > self._start_peak_bytes else self._seen_bytes
        return max(0, highest - self._start_bytes)


def load_libraries() -> None:
    """Import what the first training step would: about 100 MB of code that is no part of the model's memory."""
    import bitsandbytes  # noqa: F401
    import torch
    import torch._dynamo  # noqa: F401  (the first optimizer step imports it)
    import trl.trainer.sft_trainer  # noqa: F401

    torch.ones(1, requires_grad=True).sum().backward()


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss


def _peak_resident_bytes() -> int:
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes

"""The training worker's own peak of memory, to stand beside the estimate."""

from __future__ import annotations

from estimator.measure.meter import peak_resident_bytes, resident_bytes


class RunMeter:
    """Counts from its creation: made after the imports and before the model is loaded.

    On CUDA torch's own peak of allocated bytes. Elsewhere the growth of the process's resident memory, which also holds
    what the allocator has not given back: a figure of another kind, and labelled so.
    """

    def __init__(self, device: str) -> None:
        self.how = "cuda_allocated" if device == "cuda" else "resident_growth"
        self._start_bytes = resident_bytes()
        self._start_peak_bytes = peak_resident_bytes()
        self._seen_bytes = self._start_bytes
        if self.how == "cuda_allocated":
            import torch

            torch.cuda.reset_peak_memory_stats()

    def look(self) -> int:
        """Note the memory now; called after each step. Returns the peak so far, in bytes."""
        self._seen_bytes = max(self._seen_bytes, resident_bytes())
        return self.peak_bytes()

    def peak_bytes(self) -> int:
        if self.how == "cuda_allocated":
            import torch

            return torch.cuda.max_memory_allocated()
        peak = peak_resident_bytes()
        # The process's own record counts only once it was broken since the start; importing may have set it before.
        highest = peak if peak > self._start_peak_bytes else self._seen_bytes
        return max(0, highest - self._start_bytes)

    @property
    def card(self) -> str:
        """The catalogue's name of the card, else torch's."""
        import torch

        from estimator.hardware.cards import known_gpu

        name = torch.cuda.get_device_name()
        known = known_gpu(name)
        return known.name if known else name

    def reserved_bytes(self) -> int:
        """The most that torch's allocator held on the card."""
        import torch

        return torch.cuda.max_memory_reserved()

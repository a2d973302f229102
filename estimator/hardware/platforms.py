"""What a card and a version of torch mean for the kernels that run. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from estimator.hardware.cards import Gpu

CUBLAS_WORKSPACE_BYTES = {"hopper": 32 * 2**20, "before": 8_519_680}
"""Per handle and stream (PyTorch CUDABlas getChosenWorkspaceSize); two: the forward thread's and autograd's."""


@dataclass(frozen=True)
class Platform:
    """Which attention kernels there are. `capability` is CUDA's (8.9), `torch` a version (2.13).

    ATen/native/transformers/cuda/sdp_utils.cpp: flash takes half types from capability 8.0, grouped heads too; the
    memory-efficient kernel takes every type, grouped heads only from torch 2.14; what no kernel takes, the math path
    does.
    """

    capability: float = 8.0
    torch: tuple[int, int] = (2, 13)
    has_flash: bool = True
    """torch's wheels for Windows have no flash kernel before 2.7."""

    @classmethod
    def of(cls, gpu: Gpu | None) -> Platform:
        """A card without CUDA's number, or none, is taken as one that has every kernel."""
        stated = gpu.compute_capability if gpu else ""
        return cls(float(stated)) if stated.replace(".", "", 1).isdigit() else cls()

    @property
    def kernels(self) -> str:
        """What of a platform changes a law: `flash`, or how far the memory-efficient kernel reaches."""
        return (
            "flash"
            if self.has_flash and self.capability >= 8
            else "efficient"
            if self.torch >= (2, 14)
            else "ungrouped"
        )

    @property
    def workspace_bytes(self) -> int:
        return 2 * CUBLAS_WORKSPACE_BYTES["hopper" if self.capability >= 9 else "before"]

    def sdpa(self, dtype: str, grouped: bool, head_dim: int) -> str:
        """`flash`, `efficient` or `math` for a dtype by torch's name."""
        if self.kernels == "flash" and dtype in ("float16", "bfloat16") and head_dim <= 256:
            return "flash"
        return "math" if grouped and self.torch < (2, 14) else "efficient"

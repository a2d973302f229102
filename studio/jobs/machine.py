"""What this machine has to train on, found without torch."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache

import psutil


@dataclass(frozen=True)
class Machine:
    """Where a run would go. `usable_bytes` is what is free now: GPU memory on CUDA, RAM elsewhere."""

    device: str
    """`cuda`, `mps` or `cpu`, as torch names them."""
    name: str
    usable_bytes: int


def this_machine() -> Machine:
    """Looked up again after a few seconds: free memory changes, asking the driver takes time."""
    return _looked_up(int(time.monotonic() / 5))


@lru_cache(maxsize=1)
def _looked_up(_: int) -> Machine:
    if gpu := _nvidia():
        return gpu
    return Machine("cpu", "CPU", psutil.virtual_memory().available)


def _nvidia() -> Machine | None:
    """The first NVIDIA card by its driver's own tool; None where there is no card or no tool."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    query = [tool, "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        name, free_mib = answer.splitlines()[0].rsplit(",", 1)
        return Machine("cuda", name.strip(), int(free_mib) * 2**20)
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None

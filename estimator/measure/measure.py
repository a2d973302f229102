"""A recipe's real step on this machine's GPU, beside its estimate (`lora-studio measure`:
`estimator.cli.measure_command`).

The weights are random and the rows made up; architecture, sizes, loop and kernels are the real ones, so memory and time
are too. Torch is imported inside the functions.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from estimator.core.problems import Problem
from estimator.estimates.estimate import Estimate, estimate
from estimator.hardware import devices
from estimator.hardware.cards import Gpu
from estimator.hardware.platforms import Platform
from estimator.measure.meter import Driver, Meter, forget
from estimator.model.catalog import Model
from estimator.recipe.recipe import Recipe

WARM_UP_STEPS = 2
"""The second step is the first with the optimizer's states; kernels and workspaces are loaded by then."""
MEASURED_STEPS = 3
OK, OUT_OF_MEMORY = "ok", "out_of_memory"
COMPARED = ("peak_allocated_bytes", "peak_reserved_bytes", "device_bytes")
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate")


@dataclass(frozen=True)
class Measurement:
    """One run. Bytes of the GPU are None on a CPU, where only the growth of resident memory is known.

    Peaks are those of the measured steps and the evaluations between them; after `out_of_memory` those reached until
    then.
    """

    status: str
    loop: str
    gpu: str | None
    steps: int
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    device_bytes: int | None
    context_bytes: int | None
    resident_growth_bytes: int
    steps_per_second: float | None
    tokens_per_second: float | None
    reason: str
    versions: dict[str, str]

    def error(self, made: Estimate, name: str) -> float | None:
        """Estimate over measurement, less one."""
        measured = getattr(self, name)
        return getattr(made, name) / measured - 1 if measured and self.status == OK else None


def measure(
    recipe: Recipe, model: Model, *, loop: str = "trl", steps: int = MEASURED_STEPS, device: str = "cuda"
) -> Measurement:
    """Train `recipe` for two steps and then for `steps` measured ones.

    Raises `Problem` for what this machine has no kernels for, and what the libraries raise but for want of memory.
    """
    if recipe.num_processes > 1:
        raise Problem(
            "recipe.conflict",
            field="num_processes",
            value=recipe.num_processes,
            other="measure, which is one process",
            allowed="Use 1",
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # said before the libraries are imported: nothing is downloaded
    from estimator.measure import loops

    devices.check_machine(recipe, device.partition(":")[0])
    driver = driver_before(device)
    loops.load_libraries()
    meter = Meter(device, WARM_UP_STEPS, driver.used_bytes)
    refused_before, reason = _refused(device), ""
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder:
        try:
            loops.run(recipe, model, loop, WARM_UP_STEPS + steps, meter, Path(folder))
        except Exception as error:
            if not _is_out_of_memory(error, _refused(device) - refused_before):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    made = _measurement(recipe, loop, meter, reason, versions() | {"driver": driver.version})
    forget(device)
    return made


@functools.cache
def driver_before(device: str) -> Driver:
    """What the driver says before this process has a context of its own; asked once, by the first that looks for a
    GPU."""
    torch = sys.modules.get("torch")
    if device == "cpu":
        return Driver()
    driver = Driver.ask()
    return replace(driver, used_bytes=0) if torch and torch.cuda.is_initialized() else driver


def _refused(device: str) -> int:
    """How often torch's allocator ran out so far: some libraries report it as an error of their own."""
    import torch

    if device == "cpu" or not torch.cuda.is_initialized():
        return 0
    return torch.cuda.memory_stats().get("num_ooms", 0)


def _is_out_of_memory(error: Exception, refused: int) -> bool:
    import torch

    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")  # cuBLAS and bitsandbytes allocate past torch
    return (
        bool(refused)
        or isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or any(word in str(error) for word in words)
    )


def _measurement(recipe: Recipe, loop: str, meter: Meter, reason: str, versions: dict[str, str]) -> Measurement:
    import torch

    speed = None if reason else meter.steps_per_second
    tokens = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps * recipe.max_length
    return Measurement(
        status=OUT_OF_MEMORY if reason else OK,
        loop=loop,
        gpu=torch.cuda.get_device_name() if meter.is_cuda else None,
        steps=max(0, meter.steps - meter.warm_up),
        resident_growth_bytes=meter.resident_growth_bytes,
        steps_per_second=speed,
        tokens_per_second=speed and speed * tokens,
        reason=reason,
        versions=versions,
        **meter.cuda_bytes(),
    )


def versions() -> dict[str, str]:
    """Of the libraries that train; torch's with its build (2.11.0+cu130)."""
    import torch

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found | {"torch": torch.__version__}


def estimates(
    recipe: Recipe, model: Model, loop: str, gpu: Gpu | None, engines: Sequence[str], platform: Platform | None
) -> dict[str, Estimate]:
    """By engine; on the kernels of this machine's card where there is one."""
    return {
        engine: estimate(recipe, gpu, model=model, loop=loop, engine=engine, platform=platform, derive=True)
        for engine in engines
    }


def this_platform(device: str) -> Platform | None:
    """What estimates must know of this machine's card and torch; None for a CPU."""
    import torch

    if device == "cpu":
        return None
    major, minor = torch.cuda.get_device_capability()
    release, update = (int(part) for part in torch.__version__.split(".")[:2])
    return Platform(float(f"{major}.{minor}"), (release, update))


def check_device(device: str) -> None:
    """Keep this process to one card. Raises `Problem("measure.no_gpu")` where torch is missing or finds no CUDA
    device."""
    # Transformers' Trainer would spread a batch over every card it sees. Read by CUDA when it is first asked.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    driver_before(device)
    try:
        import torch
    except ImportError:
        raise Problem("measure.no_gpu", field="device", reason="torch is not installed") from None
    if device == "cuda" and not torch.cuda.is_available():
        raise Problem("measure.no_gpu", field="device", reason=f"torch {torch.__version__} finds no CUDA device")

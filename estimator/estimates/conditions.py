"""What `estimate` is asked beside the recipe: what of the card there is to use, and what the data do to a batch. No
torch."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from estimator.core.fields import FieldInfo, checked
from estimator.hardware.cards import Gpu
from estimator.hardware.machines import SYSTEMS, Machine, machine
from estimator.recipe.batches import Batches


def _field(default: Any, **limits: Any) -> Any:
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Raises `Problem` (`recipe.*`) naming the field. Every default is the one of `estimate`."""

    system: str | None = _field(None, choices=SYSTEMS)
    """What the card is used under; none: native Linux, no screen on it."""
    mig: str | None = _field(None)
    """A slice of the card, such as `3g.40gb`."""
    gpu_memory: float | None = _field(None, above=0.0, high=10_000, unit="GiB")
    """Which of the sizes the card is sold with."""
    trained_share: float = _field(1.0, above=0.0, high=1.0)
    """Tokens of a batch that have a label, of all its tokens."""
    padded: bool = _field(False)
    """Rows of one batch differ in length."""

    def __post_init__(self) -> None:
        for info in CONDITIONS.values():
            object.__setattr__(self, info.name, checked(info, getattr(self, info.name)))

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of `estimate`."""
        made = {name: getattr(self, name) for name in CONDITIONS}
        return {"memory_gib" if name == "gpu_memory" else name: value for name, value in made.items()}

    @property
    def batches(self) -> Batches:
        return Batches(self.trained_share, self.padded)

    def machine(self, gpu: Gpu) -> Machine:
        """Raises `Problem` where the card has no such slice, size or system."""
        return machine(gpu, self.system, self.mig, self.gpu_memory)

    def stated(self) -> dict[str, Any]:
        """What differs from its default."""
        return {name: getattr(self, name) for name, info in CONDITIONS.items() if getattr(self, name) != info.default}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conditions:
        """Of the names it knows; others are somebody else's."""
        return cls(**{name: value for name, value in data.items() if name in CONDITIONS})


_HINTS = typing.get_type_hints(Conditions)
CONDITIONS: dict[str, FieldInfo] = {
    f.name: FieldInfo(f.name, _HINTS[f.name], f.default, dict(f.metadata)) for f in dataclasses.fields(Conditions)
}

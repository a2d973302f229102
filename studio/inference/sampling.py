"""How tokens are chosen: the three numbers a reader sets, with their limits and defaults. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimator.core.problems import Problem

TEMPERATURE = (0.0, 2.0)
MAX_NEW_TOKENS = (1, 4096)
SEED = (0, 2**32 - 1)


@dataclass(frozen=True)
class Sampling:
    """Raises `Problem("chat.setting")` naming the field, its value and what is allowed."""

    temperature: float = 0.0
    """0 takes the likeliest token: an answer that depends on the weights alone."""
    max_new_tokens: int = 128
    """Longest answer, the end of the turn included."""
    seed: int = 0
    """Of the noise that sampling adds; read only above temperature 0."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "temperature", float(_within("temperature", self.temperature, TEMPERATURE, whole=False))
        )
        object.__setattr__(self, "max_new_tokens", int(_within("max_new_tokens", self.max_new_tokens, MAX_NEW_TOKENS)))
        object.__setattr__(self, "seed", int(_within("seed", self.seed, SEED)))


def _within(field: str, value: Any, limits: tuple[float, float], whole: bool = True) -> float:
    low, high = limits
    number = isinstance(value, (int, float)) and not isinstance(value, bool)  # what is not finite is within no limits
    if not number or not low <= value <= high or (whole and value != int(value)):
        allowed = f"{low:,} – {high:,}" if whole else f"{low:g} – {high:g}"
        raise Problem("chat.setting", field=field, value=str(value)[:40], allowed=allowed)
    return value

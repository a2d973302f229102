"""What a model keeps between the tokens it generates: keys and values, latent vectors, recurrent states. No torch.

A `KvCache` is read off the real cache of Transformers on the meta device (`estimator.trace.cache_trace`), so sliding
windows, latent attention, shared layers and states of linear attention are as the model's own code keeps them. How a
model's is found: `estimator.shelf.caches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimator.core.units import width_bytes

FORMAT = 1


@dataclass(frozen=True)
class CacheGroup:
    """`layers` equal layers. Elements of one row: a token's, and those of states whose size no length changes.

    `half` elements take the model's dtype, `fp32` ones are fp32 whatever it is. A `window` keeps the last `window - 1`
    tokens.
    """

    layers: int
    token_half: int = 0
    token_fp32: int = 0
    state_half: int = 0
    state_fp32: int = 0
    window: int | None = None

    def bytes(self, tokens: int, width: int, while_reading: bool) -> int:
        """Bytes of one row of `tokens` tokens.

        layers x (kept x (half x width + fp32 x 4) + state_half x width + state_fp32 x 4), in elements a layer; kept is
        all tokens, or min(tokens, window) of a layer with a window that has read its prompt.

        `DynamicSlidingWindowLayer.update` (transformers cache_utils.py) concatenates what it keeps with what came and
        keeps a view: after a prompt the storage of the whole prompt, after a token that of `window` tokens.
        """
        kept = tokens if while_reading or self.window is None else min(tokens, self.window)
        return self.layers * (
            kept * (self.token_half * width + self.token_fp32 * 4) + self.state_half * width + self.state_fp32 * 4
        )


@dataclass(frozen=True)
class KvCache:
    """A model's cache, one row at a time; rows add up."""

    groups: tuple[CacheGroup, ...]

    def bytes(self, rows: int, tokens: int, dtype: str, *, while_reading: bool = False) -> int:
        """Bytes that `rows` rows of `tokens` tokens hold: while they generate, or while their prompts are read
        (`while_reading`)."""
        width = width_bytes(dtype)
        return rows * sum(group.bytes(tokens, width, while_reading) for group in self.groups)

    def layer_bytes(self, rows: int, tokens: int, dtype: str) -> int:
        """Bytes of the largest layer: what `torch.cat` holds twice while a token is added."""
        width = width_bytes(dtype)
        return rows * max((group.bytes(tokens, width, False) // group.layers for group in self.groups), default=0)

    def to_list(self) -> list[dict[str, Any]]:
        return [{name: value for name, value in vars(group).items() if value} for group in self.groups]

    @classmethod
    def from_list(cls, groups: list[dict[str, Any]]) -> KvCache:
        return cls(tuple(CacheGroup(**group) for group in groups))

"""What a step is told where a model's code asks for values, which a trace does not have.

The rows of a trace have no padding, are valid, and end with their end token: checks of all hold, questions for any
exception do not, a token that is looked for stands once a row. Where more than that decides which tensors there are
(which expert a token goes to, how long a patch of bytes is) the trace fails, and says so. Imported where torch is, by
`estimator.trace.recorder` only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

HOLDS = ("all", "eq", "ge", "gt", "le", "lt")
"""Comparisons and checks that a value read by `.item()` or `if` affirms; every other value is 0 or False."""


class Answers:
    """Answers for tensors by what made them. `made` is told of every result, `of` answers a call or returns None."""

    def __init__(self) -> None:
        self._maker: dict[int, str] = {}

    def made(self, func: Any, out: Any) -> None:
        """Only a truth is worth remembering: numbers are not looked into. Views and copies keep their maker by
        storage."""
        if isinstance(out, torch.Tensor) and out.device.type == "meta":
            key = out.untyped_storage()._cdata
            if out.dtype is torch.bool and not func.is_view:
                self._maker[key] = func.__name__.partition(".")[0]
            elif not func.is_view:
                self._maker.pop(key, None)

    def of(self, func: Any, args: tuple[Any, ...]) -> Any:
        answer = ANSWERS.get(func.name())
        if answer and args[0].device.type == "meta":
            return answer(args[0], self._maker_of(args[0]))
        if func.name() in INDEXING and any(index is not None and index.dtype is torch.bool for index in args[1]):
            return func(args[0], self._places(args[1]), *args[2:])
        return None

    def _maker_of(self, tensor: torch.Tensor) -> str | None:
        return self._maker.get(tensor.untyped_storage()._cdata)

    def _places(self, indices: list[torch.Tensor | None]) -> list[torch.Tensor | None]:
        """A mask as the places it names, a column a dimension (ATen/native/IndexingUtils.h expandTensors)."""
        made: list[torch.Tensor | None] = []
        for index in indices:
            if index is None or index.dtype is not torch.bool:
                made.append(index)
            else:
                made += _places(index, self._maker_of(index)).unbind(1)
        return made


def _value(tensor: torch.Tensor, maker: str | None) -> bool | int | float:
    return maker in HOLDS if tensor.dtype is torch.bool else 0.0 if tensor.is_floating_point() else 0


def _places(tensor: torch.Tensor, maker: str | None) -> torch.Tensor:
    """Of `ids == token` one place a row, of a check of validity all."""
    if maker not in HOLDS or tensor.dtype is not torch.bool:
        raise NotImplementedError("which entries are not zero depends on the data")
    return tensor.new_empty((len(tensor) if maker == "eq" else tensor.numel(), tensor.dim()), dtype=torch.int64)


def _runs(tensor: torch.Tensor, maker: str | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows are alike."""
    nothing = tensor.new_empty(0, dtype=torch.int64)
    return tensor.new_empty(1), nothing, nothing


INDEXING = ("aten::index.Tensor", "aten::_index_put_impl_", "aten::index_put_", "aten::index_put")
ANSWERS: dict[str, Callable[[torch.Tensor, str | None], Any]] = {
    "aten::_local_scalar_dense": _value,
    "aten::nonzero": _places,
    "aten::unique_consecutive": _runs,
}

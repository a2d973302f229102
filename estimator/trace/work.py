"""Counts what a step computes and moves, operator by operator, beside the memory that `estimator.trace.recorder`
counts.

Floating-point operations of matrix products by torch's own formulas (`torch.utils.flop_counter`), and of those it has
none for by the ones below: bitsandbytes' products, experts' grouped products, and the fused attention and loss of
`estimator.trace.kernels`, which report themselves. Causal attention counts the half that its kernels compute; written
out (eager, math) it counts whole, because it is computed whole. Bytes moved are each operator's inputs and outputs
once: an upper bound of the traffic to memory, since a cache may hold some. Imported where torch is.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from estimator.memory.states import BLOCK_4BIT

FILLS = frozenset(
    {
        "aten::empty",
        "aten::empty_like",
        "aten::new_empty",
        "aten::empty_strided",
        "aten::new_empty_strided",
        "aten::_unsafe_view",
    }
)
"""Operators that move nothing, beside views."""
LOOKUPS = frozenset({"aten::embedding", "aten::index_select", "aten::gather", "aten::index"})
"""Operators that read as much of their first argument as they write."""


class Work:
    """What one step does. `phase` is moved by whoever runs the step; products with the rank as a side are told apart,
    because they wait for memory where the others wait for arithmetic."""

    def __init__(self, rank: int) -> None:
        self.phase = "forward"
        self.rank = rank
        self.flops: dict[str, dict[int, float]] = {}
        """By phase, kind of product and type, such as `forward.matrix.bfloat16`: how often each amount occurs."""
        self.moved_bytes: dict[str, dict[int, float]] = {}
        """Likewise; `forward.other` is what is no product."""

    def count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, key: Any = None) -> None:
        """One operator as the dispatcher sees it; what stands under `key` is worked out once
        (`estimator.trace.shapes`)."""
        known = _known.get(key) if key is not None else None
        if known is None:
            known = _amounts(func, args, kwargs, out)
            if key is not None:
                _known[key] = known
        flops, dtype, moved = known
        name = self.phase + ".other"
        if flops:
            name = self._product(flops, dtype)
            self._add(self.flops, name, flops)
        for amount in moved:
            self._add(self.moved_bytes, name, amount)

    def note(
        self,
        flops: tuple[int, ...],
        moved_bytes: tuple[int, ...],
        dtype: torch.dtype,
        share: float = 1.0,
        *,
        product: bool = True,
    ) -> None:
        """What a kernel that no operator stands for does: `share` of each amount."""
        name = self._product(1, dtype) if product else self.phase + ".other"
        for amount in flops:
            self._add(self.flops, name, amount, share)
        for amount in moved_bytes:
            self._add(self.moved_bytes, name, amount, share)

    def _product(self, flops: int, dtype: torch.dtype) -> str:
        kind = "matrix" if flops % self.rank else "adapter"
        return f"{self.phase}.{kind}.{str(dtype).removeprefix('torch.')}"

    @staticmethod
    def _add(table: dict[str, dict[int, float]], name: str, amount: int, share: float = 1.0) -> None:
        if amount:
            if name not in table:
                table[name] = {}
            table[name][amount] = table[name].get(amount, 0) + share


_known: dict[Any, tuple[int, torch.dtype | None, tuple[int, ...]]] = {}
"""`_amounts` of calls that `estimator.trace.shapes` remembers."""


def _amounts(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> tuple[int, torch.dtype | None, tuple[int, ...]]:
    """(operations, the type of their product, bytes moved) of one operator."""
    moves, formula = _plan(func)
    if not moves:
        return 0, None, ()
    flops = formula(*args, **kwargs, out_val=out) if formula else 0
    return flops, next(_tensors(args)).dtype if flops else None, tuple(moves(args, out))


_current: list[Work] = []
"""The counts of the step that runs."""


def note(*args: Any, **kwargs: Any) -> None:
    """`Work.note` of the step that runs; outside of one, nothing."""
    if _current:
        _current[-1].note(*args, **kwargs)


def enter(work: Work) -> None:
    _current.append(work)


def leave() -> None:
    _current.pop()


@contextlib.contextmanager
def recomputing(inside: AbstractContextManager[Any]) -> Iterator[None]:
    """Around what checkpointing runs again, which it leaves early, by an exception."""
    work = _current[-1]
    work.phase = "recompute"
    try:
        with inside:
            yield
    finally:
        work.phase = "backward"


@functools.cache
def _plan(func: Any) -> tuple[Callable[[tuple[Any, ...], Any], Iterator[int]] | None, Callable[..., int] | None]:
    """(bytes that an operator moves, its operations), None for none."""
    name = func.name().partition(".")[0]
    if func.is_view or name in FILLS:
        return None, None
    moves = MOVES.get(name) or (_looked_up if name in LOOKUPS else _all_bytes)
    return moves, FORMULAS.get(name) or flop_registry.get(func.overloadpacket)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values if isinstance(values, (tuple, list)) else (values,):
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def size_bytes(tensor: torch.Tensor) -> int:
    """What reading a tensor moves: repeated elements of an expanded one once."""
    strides = tensor.stride()
    numel = math.prod(n for n, step in zip(tensor.shape, strides) if step) if 0 in strides else tensor.numel()
    return numel * tensor.element_size()


def _all_bytes(args: tuple[Any, ...], out: Any) -> Iterator[int]:
    yield from map(size_bytes, _tensors(args))
    yield from map(size_bytes, _tensors(out))


def _looked_up(args: tuple[Any, ...], out: Any) -> Iterator[int]:
    yield from map(size_bytes, _tensors(args[1:]))
    yield from 2 * [size_bytes(out)]


def _gemm_4bit_moves(args: tuple[Any, ...], out: Any) -> Iterator[int]:
    """The packed weight is read, written whole in the input's type and read again (see `estimator.trace.kernels`)."""
    yield from _all_bytes(args, out)
    numel = math.prod(args[2])
    yield from 2 * [numel * args[0].element_size()]
    yield from 2 * [4 * -(-numel // BLOCK_4BIT)]


def _gemm_4bit(hidden: torch.Tensor, _: Any, shape: Any, *__: Any, **___: Any) -> int:
    return 2 * hidden.numel() * shape[0]


def _grouped_mm(left: torch.Tensor, right: torch.Tensor, *_: Any, **__: Any) -> int:
    """Rows of `left` are parted among the matrices of `right` (3 dimensions), or both are parted along the inner
    dimension."""
    return 2 * left.numel() * right.shape[-1]


FORMULAS: dict[str, Callable[..., int]] = {"bitsandbytes::gemm_4bit": _gemm_4bit, "aten::_grouped_mm": _grouped_mm}
MOVES: dict[str, Callable[[tuple[Any, ...], Any], Iterator[int]]] = {"bitsandbytes::gemm_4bit": _gemm_4bit_moves}

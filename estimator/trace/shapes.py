"""What an operator gives for tensors without memory, remembered: layers repeat, and so do the laws of one model.

Only operators that make new tensors out of their arguments' shapes, strides, types and numbers are remembered; views,
operators in place and those that could read a value run each time. Imported where torch is, by
`estimator.trace.recorder` only.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

MOST = 50_000
"""Remembered calls; a model's laws take a few thousand."""
_known: dict[Any, tuple[torch.Size, tuple[int, ...], torch.dtype]] = {}


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """`func(*args, **kwargs)`, its result made anew where a call like it is remembered; and what calls like it have in
    common, None where that is not known."""
    if not _makes_one(func):
        return func(*args, **kwargs), None
    try:
        key = (func, _part(args), _part(tuple(kwargs.items())))
        known = _known.get(key)
    except (_Unknowable, TypeError):  # what cannot be hashed
        return func(*args, **kwargs), None
    if known is not None:
        size, stride, dtype = known
        return torch.empty_strided(size, stride, dtype=dtype, device="meta"), key
    out = func(*args, **kwargs)
    if len(_known) >= MOST or not _is_fresh(out, args):
        return out, None
    _known[key] = (out.shape, out.stride(), out.dtype)
    return out, key


class _Unknowable(Exception):
    """A value might decide the result."""


@functools.cache
def _makes_one(func: Any) -> bool:
    """Whether the operator gives one new tensor and changes nothing."""
    schema = func._schema
    if func.is_view or schema.is_mutable or len(schema.returns) != 1 or str(schema.returns[0].type) != "Tensor":
        return False
    aliased = [*schema.arguments, *schema.returns]
    return (
        func.namespace == "aten"
        and not any(entry.alias_info for entry in aliased)
        and torch.Tag.dynamic_output_shape not in func.tags
    )


def _part(value: Any) -> Any:
    """What of an argument decides the result. Raises `_Unknowable`."""
    if isinstance(value, torch.Tensor):
        if value.device.type != "meta" or not value.dim() or value.dtype.is_complex or value.is_neg():
            raise _Unknowable  # a scalar may be a Python number in disguise, which promotes otherwise
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return (type(value), *map(_part, value))
    return type(value), value


def _is_fresh(out: Any, args: tuple[Any, ...]) -> bool:
    """Whether the tensor has a storage of its own (`_unsafe_view` does not say that it has none) and is all of it, so
    that one of its shape and strides is the same."""
    if not isinstance(out, torch.Tensor) or out.device.type != "meta" or out.storage_offset():
        return False
    storage = out.untyped_storage()
    if any(
        leaf.untyped_storage()._cdata == storage._cdata for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)
    ):
        return False
    like = torch.empty_strided(out.shape, out.stride(), dtype=out.dtype, device="meta")
    return like.untyped_storage().nbytes() == storage.nbytes()

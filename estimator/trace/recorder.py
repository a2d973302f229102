"""Counts live storage, and the work done, while a step runs on tensors without memory.

A dispatch mode sees every operator below autograd; each new storage is an allocation, its finalizer a free. Parameters
and buffers are not events: their bytes come exact from `estimator.memory.states`. Imported where torch is, by
`estimator.trace.step` only.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from estimator.memory.recorded import Events, Place
from estimator.trace import shapes
from estimator.trace.answers import Answers
from estimator.trace.kernels import hidden
from estimator.trace.work import Work, enter, leave


class Recorder(TorchDispatchMode):
    """Records `events` while active; `place` is moved by whoever runs the step."""

    def __init__(self, rank: int, device: str = "meta") -> None:
        super().__init__()
        self.device = device
        self.events = Events()
        self.work = Work(rank)
        self.place: Place = ("forward", -1)
        self.component = "activations"
        self._known: dict[int, tuple[int, Any]] = {}
        self._next = 0
        self._answers = Answers()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch would wrap every call to say so, which takes longer than most of them."""
        return False

    def ignore(self, *tensors: torch.Tensor) -> None:
        """Storages that are counted elsewhere."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._known[storage._cdata] = (-1, storage)

    def name(self, tensor: torch.Tensor, component: str) -> None:
        """What the storage of `tensor` is for, also for the time that has passed."""
        known = self._known.get(tensor.untyped_storage()._cdata)
        if known and known[0] >= 0:
            self.events.component[known[0]] = component

    def hold(self, tensor: torch.Tensor) -> None:
        """Count a tensor made before recording began."""
        self._seen(tensor, self.component)

    def hold_together(self, tensors: list[torch.Tensor], component: str) -> None:
        """Tensors made before recording began that outlive it, as one: their number may differ between depths."""
        self.ignore(*tensors)
        if tensors:
            self.events.add(self._number(component), sum(t.untyped_storage().nbytes() for t in tensors), self.place)

    def finish(self) -> Events:
        """What was recorded; what is freed later is no part of the step."""
        events, self.events = self.events, Events()
        return events

    def __enter__(self) -> Recorder:
        enter(self.work)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        leave()
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self._answers.of(func, args)
        if out is None:
            out, key = shapes.run(func, args, kwargs or {})
            self.work.count(func, args, kwargs or {}, out, key)
        self._answers.made(func, out)
        component = (
            "temporary" if func.namespace == "bitsandbytes" and "dequantize" in func.__name__ else self.component
        )
        inside = hidden(func, args, kwargs or {})
        held = self._hold_inside(inside.sizes_bytes) if inside.before_output else []
        for leaf in (out,) if isinstance(out, torch.Tensor) else tree_leaves(out):
            if (
                isinstance(leaf, torch.Tensor) and leaf.device.type == self.device
            ):  # what is made on the host stays there
                self._seen(leaf, component)
        held = held or self._hold_inside(inside.sizes_bytes)
        for number, size_bytes in held:
            self.events.add(number, -size_bytes, self.place)
        return out

    def _hold_inside(self, sizes_bytes: tuple[int, ...]) -> list[tuple[int, int]]:
        """Storages that a kernel makes and frees while it runs."""
        held = [(self._number("temporary"), size) for size in sizes_bytes]
        for number, size_bytes in held:
            self.events.add(number, size_bytes, self.place)
        return held

    def _number(self, component: str) -> int:
        self._next += 1
        self.events.component[self._next] = component
        return self._next

    def _seen(self, tensor: torch.Tensor, component: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        if not size:
            return
        number = self._number(component)
        self._known[key] = (number, weakref.ref(storage, lambda _: self._freed(key, number, size)))
        self.events.add(number, size, self.place)

    def _freed(self, key: int, number: int, size: int) -> None:
        self._known.pop(key, None)
        self.events.add(number, -size, self.place)


class Programs(TorchDispatchMode):
    """Keeps each layer's operators with the shapes and types that they give; `place` is moved as a `Recorder`'s is."""

    _should_skip_dynamo = Recorder._should_skip_dynamo

    def __init__(self) -> None:
        super().__init__()
        self.place: Place = ("forward", -1)
        self.component = ""
        self.programs: dict[int, list[Any]] = {}
        self._answers = Answers()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self._answers.of(func, args)
        if out is None:
            out, _ = shapes.run(func, args, kwargs or {})
        self._answers.made(func, out)
        leaves = (out,) if isinstance(out, torch.Tensor) else tree_leaves(out)
        self.programs.setdefault(self.place[1], []).append(
            (func, tuple((tuple(leaf.shape), leaf.dtype) for leaf in leaves if isinstance(leaf, torch.Tensor)))
        )
        return out

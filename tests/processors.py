"""Both kinds of processor on either: what bitsandbytes believes of AVX512-BF16, as a fixture and in a process of its
own.

Where it believes in it, importing it logs "Failed to load CPU gemm_4bit_forward", and a `Linear4bit` repacks its weight
for good at the first forward in eval mode without gradients. On a processor that has not got it, what follows a
repacking is another (and wrong) computation: a test must see that none comes.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pytest

KINDS = {"avx512bf16": True, "plain": False}


@pytest.fixture(params=KINDS)
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every `Linear4bit` made in the test believes in this kind of processor."""
    believe(monkeypatch, request.param)
    return request.param


def believe(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """`Linear4bit` asks when it is made (bitsandbytes 0.50, nn/modules.py, the attribute
    `support_avx512bf16_for_cpu`)."""
    import bitsandbytes.nn.modules as modules

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: KINDS[kind])


def is_packed(model: Any) -> bool:
    """Whether any 4-bit weight was repacked for answers."""
    states = (getattr(getattr(module, "weight", None), "quant_state", None) for module in model.modules())
    return any(getattr(state, "packing_format_for_cpu", False) for state in states)


def in_this_process(kind: str) -> None:
    """The same for a process that has not imported bitsandbytes yet, its import included."""
    sys.meta_path.insert(0, _Teller(KINDS[kind]))


class _Teller(MetaPathFinder):
    """Finds nothing; tells bitsandbytes what it runs on before the first module that asks is loaded."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "bitsandbytes.backends.cpu.ops":
            sys.modules["bitsandbytes.functional"].has_avx512bf16 = lambda: self._answer

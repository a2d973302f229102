"""Who may ask: someone at this machine, a visitor from elsewhere, and a visitor through a proxy on this machine."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr


def asked_by(client: str, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(
        client=SimpleNamespace(host=client),
        headers={"host": "localhost:7860", **headers},
        query_params={},
        cookies={},
        session_hash="s",
    )


def handlers_of(blocks: gr.Blocks) -> dict[tuple[str, str], Callable[..., Any]]:
    """A page's handlers by tab and name. One that answers by component answers with a list instead, in the order of its
    outputs."""
    return {
        (fn.fn.__module__.rpartition(".")[2], fn.fn.__name__): listed(fn.fn, fn.outputs)
        for fn in blocks.fns.values()
        if fn.fn
    }


def listed(function: Callable[..., Any], outputs: list[Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        answer = function(*given, **named)
        return [answer.get(part, gr.skip()) for part in outputs] if isinstance(answer, dict) and outputs else answer

    return call


HERE, VISITOR = asked_by("127.0.0.1"), asked_by("10.0.0.7")
PROXIED = asked_by("127.0.0.1", **{"x-forwarded-for": "10.0.0.7"})

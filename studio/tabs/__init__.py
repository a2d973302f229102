"""One module a tab. Each has `build(shared)`, called inside its `gr.Tab`, and keeps its handlers to itself.

What tabs share is in `studio.services.Shared`, and nothing else.

A tab asks the server for nothing before it is come to: Gradio tells of that by its `select`, of the tab that an address
names too. What asks at each load of the page makes every page wait, and each later event of it: Gradio's browser code
(6.31) copies the inputs of every handler that ever ran.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

from studio.services import Shared

LONG = {"ingest": 4, "preview": 8, "train": 4, "answer": 8, "unload": 2, "zip": 2}
"""How many calls of each kind that may take long are at work at a time; more wait in the queue of their kind, without a
thread."""


FITTING = ("max_length", "excess_length_strategy", "chat_template")
"""The recipe fields that say how rows are written and made to fit."""


def long(kind: str) -> dict[str, Any]:
    """Options of a listener whose handler may take long. Functions of one kind share its limit."""
    return {"concurrency_id": kind, "concurrency_limit": LONG[kind]}


def open_tab(shared: Shared, event: Callable[..., Any], name: str, unless: Any = None) -> None:
    """On `event`, show a tab; not where the component `unless` holds a problem. Runs in the page alone.

    A handler on the server with the tabs as its output would make Gradio's page copy the properties of every component
    below them at each later event (`update_loading_stati_state` in 6.31): 60 ms a repaint.
    """
    select = f"{{__type__: 'update', selected: '{name}'}}"
    script = f"(problem) => problem ? {{__type__: 'update'}} : {select}"
    event(None, unless, shared.tabs, js=script, api_visibility="private")


@functools.cache
def can_train() -> bool:
    """Whether the whole install is here. Looks for the packages without importing them."""
    return all(
        importlib.util.find_spec(name) for name in ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
    )

"""What the modules of this tab share."""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.services import Shared

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
READ_BY = ("max_length", "excess_length_strategy", "assistant_only_loss", "chat_template")
"""Recipe fields that decide how rows are read."""


def page() -> gr.Blocks:
    return gr.context.Context.root_block


def info_of(shared: Shared, id: str | None) -> Any:
    try:
        return shared.datasets.get(id) if id else None
    except Problem:
        return None

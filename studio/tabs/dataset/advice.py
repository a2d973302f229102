"""What the rows ask of a run, and one button that sets it on the Train tab."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.gate.security import from_this_machine
from studio.i18n import explain, language, marker, t
from studio.models.find import base_name, find_model
from studio.outlook.advisor import advise, known_of
from studio.services import Shared
from studio.tabs import long, open_tab
from studio.tabs.dataset.page import QUIET
from studio.tabs.estimate_form import first_recipe
from studio.tabs.notices import problem_html
from studio.widgets.advice_view import advice_view


def column() -> dict[str, Any]:
    parts: dict[str, Any] = {"advice": gr.HTML(elem_id="dataset-advice"), "advised": gr.State(None)}
    parts["advise"] = gr.Button(
        marker("advisor.use"), variant="primary", size="md", visible=False, elem_id="dataset-advise"
    )
    return parts


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """Proposals follow the measured rows and the base."""

    def propose(request: gr.Request, seen: Any, model: Any) -> dict[Any, Any]:
        lang, advised, button = language(request), None, gr.Button(visible=False)
        if not seen:
            said = f'<p class="ls-note">{escape(t(lang, "advisor.none"))}</p>'
            return {right["advice"]: said, right["advised"]: None, right["advise"]: button}
        folders = from_this_machine(request)
        try:
            begun = first_recipe(base_name(shared.space, model, folders))
            base = find_model(shared.space, begun.model, shared.trace_worker, folders)
            known = known_of(seen)
            advice = advise(begun, base, known)
            said = advice_view(lang, advice, known.train_rows)
            if advice.values:
                advised, button = {"model": model, "values": advice.values}, gr.Button(visible=True)
        except Problem as problem:
            said = problem_html(explain(lang, problem))
        return {right["advice"]: said, right["advised"]: advised, right["advise"]: button}

    def take(advised: dict[str, Any] | None) -> dict[Any, Any]:
        """The rows are shown at the length that is proposed, too."""
        length = (advised or {}).get("values", {}).get("max_length", gr.skip())
        return {shared.advised: advised, left["max_length"]: length}

    shown = [right["advice"], right["advised"], right["advise"]]
    full = {"trigger_mode": "always_last", **long("preview"), **QUIET}
    right["seen"].change(propose, [right["seen"], left["model"]], shown, **full)
    if shared.advised is None:
        return
    taken = right["advise"].click(take, right["advised"], [shared.advised, left["max_length"]], **QUIET)
    open_tab(shared, taken.then, "train")

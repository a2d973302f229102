"""A dataset of a hub on the page: what it offers is asked for, a config and splits are chosen, and it is fetched."""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets.words import problem_text
from studio.gate.security import from_this_machine
from studio.i18n import language, marker
from studio.services import Shared
from studio.tabs import long
from studio.tabs.dataset.page import QUIET
from studio.tabs.dataset.taking import Taking
from studio.tabs.dataset.words import trouble_html

ASKED_SECONDS = 70.0
ID_CHARACTERS = 500
PLAIN = {"train", "validation", "test"}


def column() -> dict[str, Any]:
    """Called inside the left column."""
    words = {"label": marker("dataset.hub_id"), "info": marker("dataset.hub_id_help")}
    parts: dict[str, Any] = {"hub_id": gr.Textbox(**words, max_lines=1, elem_id="dataset-hub-id")}
    parts["hub_look"] = gr.Button(marker("dataset.hub_look"), size="md", elem_id="dataset-hub-look")
    with gr.Column(visible=False) as parts["hub_choice"]:
        config = {"label": marker("dataset.hub_config"), "info": marker("dataset.hub_config_help")}
        parts["hub_config"] = gr.Dropdown([], **config, elem_id="dataset-hub-config")
        split = {"label": marker("dataset.hub_split"), "info": marker("dataset.hub_split_help")}
        parts["hub_split"] = gr.Dropdown([], **split, multiselect=True, elem_id="dataset-hub-split")
        for part in (parts["hub_config"], parts["hub_split"]):
            part.preprocess = lambda chosen: chosen  # the worker refuses what is none, in the reader's language
        parts["hub_fetch"] = gr.Button(marker("dataset.hub_fetch"), size="md", elem_id="dataset-hub-fetch")
    parts["hub_offer"] = gr.State(None)
    return parts


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any], taking: Taking) -> Any:
    """Returns the handler that fetches, for it to be followed as an upload is."""
    offer, config, split, choice = (left[f"hub_{name}"] for name in ("offer", "config", "split", "choice"))

    def ask_hub(request: gr.Request, text: Any) -> dict[Any, Any]:
        """What may be chosen of; with this machine's login for whoever sits at it."""
        lang = language(request)
        try:
            found = shared.data_worker.call(
                "offers", within_seconds=ASKED_SECONDS, hub_id=_id(text), login=from_this_machine(request)
            )
        except Problem as problem:
            said = trouble_html(lang, problem_text(lang, problem), kept=bool(shared.datasets.list()))
            return {right["trouble"]: said, choice: gr.Column(visible=False), offer: None}
        chosen = found["config"] or found["default"]
        shown = {config: gr.Dropdown(list(found["configs"]), value=chosen), choice: gr.Column(visible=True)}
        return {right["trouble"]: "", offer: found, **shown, split: _splits(found, chosen)}

    def fetch_hub(request: gr.Request, text: Any, percent: Any, name: Any, splits: Any) -> dict[Any, Any]:
        chosen = [str(one) for one in splits] if isinstance(splits, (list, tuple)) else []
        wish = {"config": str(name)[:200] if name else None, "split": "+".join(chosen)[:2000] or None}
        return taking.fetch(request, _id(text), percent, **wish)

    outputs = [right["trouble"], offer, config, split, choice]
    for asked in (left["hub_look"].click, left["hub_id"].submit):
        asked(ask_hub, left["hub_id"], outputs, **long("ingest"), **QUIET)
    config.input(_splits, [offer, config], split, queue=False, **QUIET)
    return fetch_hub


def _id(text: Any) -> str:
    return str(text or "").strip()[:ID_CHARACTERS]


def _splits(found: Any, name: Any) -> Any:
    """The splits of a config; chosen are those that the address said, or all where each is what it is called."""
    offer = found if isinstance(found, dict) else {}
    there = offer.get("configs", {}).get(name, []) if isinstance(name, str) else []
    said = [one for one in (offer.get("split") or "").split("+") if one in there]
    chosen = said or (there if set(there) <= PLAIN else [])
    return gr.Dropdown(there, value=chosen, multiselect=True)

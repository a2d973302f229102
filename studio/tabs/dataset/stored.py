"""The stored datasets: choose one, delete it, take that back; empty the trash."""

from __future__ import annotations

import time
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from studio.datasets.store import DatasetInfo
from studio.datasets.words import problem_text, version_text
from studio.i18n import language, t
from studio.services import Shared
from studio.tabs.dataset.page import QUIET
from studio.tabs.dataset.words import deleted_html, trouble_html


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """Choose, delete, undo. The id last deleted is remembered by the page."""
    deleted = gr.State(None)

    def choose(id: str | None) -> dict[Any, Any]:
        return {shared.dataset: id or gr.skip(), right["trouble"]: ""}

    def refresh(wanted: str | None, chosen: str | None, request: gr.Request = None) -> dict[Any, Any]:
        lang, stored, damaged = language(request), shared.datasets.list(), shared.datasets.damaged()
        ids = [info.id for info in stored] + list(damaged)
        value = next((id for id in (wanted, chosen, *ids) if id in ids), None)
        choices = stored_choices(lang, stored, value) + damaged_choices(lang, damaged)
        shown = {left["stored"]: gr.Dropdown(choices, value=value), left["delete"]: gr.Button(interactive=bool(ids))}
        return shown | trash(request)

    def trash(request: gr.Request) -> dict[Any, Any]:
        """The button for what lies in it, and nothing asked yet."""
        count = shared.datasets.trash_count()
        word = t(language(request), "dataset.empty_trash", count=f"{count:,}")
        return {left["empty"]: gr.Button(word, visible=count > 0), left["sure"]: gr.Button(visible=False)}

    def ask(request: gr.Request) -> Any:
        """Nothing brings them back: asked once more, with what it frees."""
        size = human_bytes(shared.datasets.trash_bytes())
        return gr.Button(t(language(request), "dataset.empty_trash_sure", size=size), visible=True)

    def empty(request: gr.Request) -> dict[Any, Any]:
        count, freed_bytes = shared.datasets.empty_trash()
        said = t(language(request), "dataset.trash_emptied", count=f"{count:,}", size=human_bytes(freed_bytes))
        html = f'<p class="ls-good" role="status">✓ {escape(said)}</p>'
        return {right["trouble"]: html, deleted: None, left["undo"]: gr.Button(visible=False)} | trash(request)

    def delete(id: str | None, request: gr.Request) -> dict[Any, Any]:
        lang = language(request)
        try:
            name = shared.datasets.name(id)
            shared.datasets.delete(id)
        except Problem as problem:
            return {right["trouble"]: trouble_html(lang, problem_text(lang, problem), kept=False)}
        said = deleted_html(lang, "deleted", name)
        return {right["trouble"]: said, deleted: id, left["undo"]: gr.Button(visible=True)}

    def undo(id: str | None, request: gr.Request) -> dict[Any, Any]:
        lang = language(request)
        try:
            info = shared.datasets.restore(id)
        except Problem as problem:
            said = trouble_html(lang, problem_text(lang, problem), kept=False)
        else:
            said = deleted_html(lang, "restored", info.name)
        return {right["trouble"]: said, left["undo"]: gr.Button(visible=False)}

    bin = [left["empty"], left["sure"]]
    seen = {"inputs": [shared.dataset, left["stored"]], "outputs": [left["stored"], left["delete"], *bin], **QUIET}
    left["empty"].click(ask, None, left["sure"], queue=False, **QUIET)
    left["sure"].click(empty, None, [right["trouble"], deleted, left["undo"], *bin], **QUIET)
    left["stored"].input(choose, left["stored"], [shared.dataset, right["trouble"]], **QUIET)
    # One refresh for each change: a second would still hold the old value, which is no longer among the choices.
    left["delete"].click(delete, left["stored"], [right["trouble"], deleted, left["undo"]], **QUIET).then(
        refresh, **seen
    )
    brought_back = {**seen, "inputs": [deleted, left["stored"]]}
    left["undo"].click(undo, deleted, [right["trouble"], left["undo"]], **QUIET).then(refresh, **brought_back)
    gr.on([shared.dataset.change, shared.tab["dataset"].select], refresh, **seen)


def stored_choices(lang: str, stored: list[DatasetInfo], chosen: str | None = None) -> list[tuple[str, str]]:
    """Name, version, rows and day of each dataset: of its versions the one chosen, else the newest."""
    shown = {info.first: info for info in reversed(stored)} | {one.first: one for one in stored if one.id == chosen}
    return [(_choice(lang, info, stored), info.id) for info in stored if shown[info.first] is info]


def _choice(lang: str, info: DatasetInfo, stored: list[DatasetInfo]) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.created))
    return " · ".join(filter(None, [info.name, version_text(lang, info, stored), f"{info.kept:,}", day]))


def damaged_choices(lang: str, damaged: dict[str, Problem]) -> list[tuple[str, str]]:
    """Those of which only the folder is known."""
    return [(t(lang, "dataset.damaged_choice", id=id), id) for id in sorted(damaged, reverse=True)]

"""A file or a sample on its way into the store, and what is said while it is read.

The file is read by a worker; this page sends it a path and gets counts back. An upload that fails changes nothing: the
dataset shown before stays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio import shipped
from studio.datasets.ingest import title_of
from studio.datasets.samples import sample
from studio.datasets.source import too_big, upload_limit_bytes
from studio.datasets.words import problem_text
from studio.gate.security import from_this_machine
from studio.i18n import language
from studio.services import Shared
from studio.tabs import long
from studio.tabs.dataset import from_hub
from studio.tabs.dataset.page import QUIET, page
from studio.tabs.dataset.taking import Taking, named
from studio.tabs.dataset.words import trouble_html

# The server refuses what the disk has no room for in a toast that goes away. This asks it for a sentence that stays.
OVERSIZE = shipped.script("functions/oversize")


def paths_of(files: Any) -> list[Path]:
    """What the page hands over of one upload: several files, one, or none."""
    several = files if isinstance(files, (list, tuple)) else [files] if files else []
    return [Path(str(one)) for one in several]


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any], taking: Taking) -> None:
    """A file or a sample into the store. A plain function: it goes on when the page is closed."""
    readings = taking.readings

    # Gradio hands in `request` by position only.
    def upload(request: gr.Request, files: Any, percent: Any) -> dict[Any, Any]:
        paths = paths_of(files)
        return shown(request, taking.take(request, named(paths), percent)) if paths else {left["file"]: gr.skip()}

    def choose_entry(request: gr.Request, entry: Any, percent: Any) -> dict[Any, Any]:
        """The same files again, as the entry of their description that is meant."""
        try:
            given, _ = taking.files(request.session_hash, "")
            return shown(
                request, taking.take(request, given, percent, entry=str(entry), login=from_this_machine(request))
            )
        except Problem as problem:
            lang = language(request)
            said = trouble_html(lang, problem_text(lang, problem), kept=bool(shared.datasets.list()))
            return {right["trouble"]: said, left["entry"]: gr.Dropdown(visible=False)}

    def shown(request: gr.Request, answer: dict[Any, Any]) -> dict[Any, Any]:
        names = taking.entries(request.session_hash)
        return answer | {left["entry"]: gr.Dropdown(names, value=None, visible=bool(names))}

    def use(request: gr.Request, id: Any, percent: Any) -> dict[Any, Any]:
        try:
            return taking.take(request, named([sample(id).path]), percent)
        except Problem as problem:
            lang = language(request)
            return {right["trouble"]: trouble_html(lang, problem_text(lang, problem), kept=False)}

    def begin(request: gr.Request, id_or_path: Any) -> dict[Any, Any]:
        readings.begin(request.session_hash, title_of(paths_of(id_or_path)))
        shown = {busy: gr.Column(visible=True), progress: tick(request), timer: gr.Timer(active=True)}
        return shown | {right["trouble"]: ""}

    def tick(request: gr.Request) -> str:
        return readings.html(request.session_hash, language(request))

    def cancel(request: gr.Request) -> dict[Any, Any]:
        """Said at once; `take` says it again, or what came before it."""
        file = readings.cancel(request.session_hash)
        if file is None:
            return {busy: gr.skip()}
        lang = language(request)
        said = problem_text(lang, Problem("dataset.cancelled", file=file))
        kept = bool(shared.datasets.list())
        return hidden() | {right["trouble"]: trouble_html(lang, said, kept=kept)}

    def hidden() -> dict[Any, Any]:
        return {busy: gr.Column(visible=False), progress: "", timer: gr.Timer(active=False)}

    def end(request: gr.Request) -> dict[Any, Any]:
        readings.end(request.session_hash)
        return hidden()

    def refuse(request: gr.Request, oversize: str) -> str:
        """What the browser says of a file it did not send. Its words are checked like anyone's."""
        try:
            name, size_bytes, _ = json.loads(oversize)
            problem = too_big(str(name), int(size_bytes), upload_limit_bytes(shared.space.uploads))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return ""
        lang = language(request)
        return trouble_html(lang, problem_text(lang, problem), kept=bool(shared.datasets.list()))

    left["oversize"].change(refuse, left["oversize"], right["trouble"], queue=False, **QUIET)
    oversize = OVERSIZE.replace("LIMIT", str(upload_limit_bytes(shared.space.uploads)))
    page().load(None, None, None, js=oversize, api_visibility="private")
    outputs = [right["trouble"], shared.dataset, left["file"], left["entry"], right["columns"]]
    busy, progress, timer = right["busy"], right["progress"], right["timer"]
    fetch = from_hub.wire(shared, left, right, taking)
    for trigger, handler, source, more in (
        (left["file"].upload, upload, "file", []),
        (left["use"].click, use, "sample", []),
        (left["entry"].input, choose_entry, "entry", []),
        (left["hub_fetch"].click, fetch, "hub_id", [left["hub_config"], left["hub_split"]]),
    ):
        started = trigger(begin, left[source], [busy, progress, right["trouble"], timer], queue=False, **QUIET)
        done = started.then(handler, [left[source], left["share"], *more], outputs, **long("ingest"), **QUIET)
        done.then(end, None, [busy, progress, timer], queue=False, **QUIET)
    timer.tick(tick, None, progress, queue=False, **QUIET)
    right["cancel"].click(cancel, None, [busy, progress, right["trouble"], timer], queue=False, **QUIET)

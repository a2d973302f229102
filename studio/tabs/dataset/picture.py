"""The right side follows the chosen dataset and the settings: counts at once, tokens when the worker has them."""

from __future__ import annotations

import functools
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets.searching import query_of
from studio.datasets.store import DatasetInfo
from studio.datasets.versions import versions
from studio.datasets.words import problem_text
from studio.gate.security import from_this_machine
from studio.i18n import explain, language, t
from studio.models.find import base_name
from studio.services import Shared
from studio.tabs import FITTING, long
from studio.tabs.dataset.charts import LENGTHS, NUMBERS, charts, no_charts
from studio.tabs.dataset.head import dropped_table, head, notes_html
from studio.tabs.dataset.page import QUIET, READ_BY, info_of
from studio.tabs.dataset.reading import BEAT_SECONDS, Reading
from studio.tabs.dataset.rows import found, left_out, page_size, pager, rows_html
from studio.tabs.dataset.words import trouble_html, waiting
from studio.tabs.notices import problem_html
from studio.widgets import characters
from studio.widgets.desk_view import desk_view
from studio.widgets.excess import excess
from studio.widgets.finder_view import finder_view
from studio.widgets.lengths_view import lengths_said

SHOWN = ("head", "views", "dropped", "rows", "pager", "previous", "next", "excess", *LENGTHS, *NUMBERS, "seen")
"""What follows the chosen dataset, by the names of the right side's parts."""


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """The right side follows the chosen dataset and the settings: counts at once, tokens when the worker has them.

    The worker takes seconds and memory to start, so nothing asks it before the tab has been opened once.
    """
    opened, view, measuring = gr.State(False), right["view"], Reading()
    settings = [left[name] for name in ("stored", "model", *READ_BY)] + [view]
    outputs = [right[part] for part in SHOWN]
    unchanged, unseen = {right["head"]: gr.skip()}, {right["seen"]: None}

    def shown(parts: dict[str, Any]) -> dict[Any, Any]:
        return {right[name]: value for name, value in parts.items()}

    def nothing(lang: str, id: str | None) -> dict[Any, Any]:
        damage = shared.datasets.damaged().get(str(id))
        said = problem_html(t(lang, "dataset.damaged", reason=explain(lang, damage))) if damage else head(lang, None)
        return shown(only(said))

    def first(request: gr.Request, is_open: bool, id: str | None, at: Any) -> dict[Any, Any]:
        """What needs no tokens; the worker starts meanwhile."""
        lang, info = language(request), info_of(shared, id)
        if is_open:
            shared.data_worker.start()
        if info is None:
            return nothing(lang, id) | {right["desk"]: "", right["finder"]: "", right["editor"]: ""}
        beside = {
            "desk": desk_view(lang, info, versions(shared.datasets, info.id), shared.datasets.list()),
            "finder": finder_view(lang, info, query_of(of_id(at, id)["find"])),
            "editor": "",
        }
        return shown(only(head(lang, info), waiting(lang)) | beside)

    def turned(request: gr.Request, is_open: bool, id: str | None, at: dict[str, Any]) -> dict[Any, Any]:
        """Of another dataset the first rows; of another version the same place and search."""
        before, info = info_of(shared, at["id"]), info_of(shared, id)
        is_version = before is not None and info is not None and before.first == info.first
        now = {**of_id(at, at["id"] if is_version else id), "id": id}
        return first(request, is_open, id, now) | {view: now}

    def onward(at: dict[str, Any]) -> dict[str, Any]:
        return at | {"offset": at["offset"] + page_size(at)}

    def back(at: dict[str, Any]) -> dict[str, Any]:
        return at | {"offset": max(0, at["offset"] - page_size(at))}

    def look(request: gr.Request, is_open: bool, id, model, *how_and_where) -> dict[Any, Any]:
        """Everything, as the model chosen reads it."""
        lang, info = language(request), info_of(shared, id)
        if info is None or not is_open:
            return unchanged if info else nothing(lang, id) | unseen
        *how, at = how_and_where
        at = of_id(at, info.id)
        where = {"dataset_id": info.id, "offset": at["offset"], "count": page_size(at), "find": at["find"]}
        recipe = dict(zip(READ_BY, how, strict=True))
        try:
            recipe["model"] = base_name(shared.space, model, from_this_machine(request))
            seen = asked(request, info, "preview", **where, **recipe)
            return shown(picture(lang, info, seen, recipe["max_length"]))
        except Problem as problem:
            said = problem_text(lang, problem)
            if problem.field != "model":
                return shown(only(head(lang, info), trouble_html(lang, said, kept=False))) | unseen
        try:
            seen = asked(request, info, "characters", **where)
            return shown(picture_in_characters(lang, info, seen, said))
        except Problem as problem:
            return shown(only(head(lang, info), trouble_html(lang, problem_text(lang, problem), kept=False))) | unseen

    def asked(request: gr.Request, info: Any, method: str, **params: Any) -> dict[str, Any]:
        """The worker's answer, which can be stopped from the page."""
        session = request.session_hash
        measuring.begin(session, info.file_name)
        try:
            stream = shared.data_worker.stream(method, beat_seconds=BEAT_SECONDS, **params)
            return measuring.follow(session, stream, info.file_name)
        except Problem as problem:
            if problem.code == "dataset.cancelled":
                raise Problem("dataset.measuring_stopped", file=info.file_name) from problem
            raise
        finally:
            measuring.end(session)

    def begun(request: gr.Request, is_open: bool, id: str | None) -> Any:
        """Nobody waits any longer for what was being measured."""
        measuring.cancel(request.session_hash)
        return gr.Timer(active=bool(is_open and id))

    def tick(request: gr.Request) -> dict[Any, Any]:
        """While rows are measured. What is done before the first tick is not worth a bar."""
        html = measuring.html(request.session_hash, language(request))
        return {right["measuring"]: gr.Column(visible=bool(html)), right["measured"]: html}

    def ended(request: gr.Request) -> dict[Any, Any]:
        bar = tick(request)
        return bar | {clock: gr.Timer(active=bool(bar[right["measured"]]))}

    def stop(request: gr.Request) -> None:
        measuring.cancel(request.session_hash)

    def fit(*chosen: Any) -> dict[str, Any]:
        """How rows are made to fit is the run's to know: the Train tab takes it over."""
        return dict(zip(FITTING, chosen, strict=True))

    # Past the queue, Gradio (6.31) tells nobody that a state has changed: `seen` is for the one through it.
    at_once = [part for part in outputs if part is not right["seen"]]
    at_once += [right[name] for name in ("desk", "finder", "editor")]
    quick = {"inputs": [opened, left["stored"], view], "outputs": at_once, "queue": False, **QUIET}
    full = {
        "inputs": [opened, *settings],
        "outputs": outputs,
        "trigger_mode": "always_last",
        **long("preview"),
        **QUIET,
    }
    clock = right["clock"]
    bar = [right["measuring"], right["measured"]]

    def seen_after(event: Any) -> None:
        """The rows anew, under a bar."""
        timed = event(begun, [opened, left["stored"]], clock, queue=False, **QUIET)
        timed.then(look, **full).then(ended, None, [*bar, clock], queue=False, **QUIET)

    clock.tick(tick, None, bar, queue=False, **QUIET)
    right["stop"].click(stop, None, None, queue=False, **QUIET)
    # Through the queue: past it, Gradio (6.31) does not tell the page that a state has changed.
    shared.tab["dataset"].select(lambda: True, None, opened, **QUIET)
    seen_after(opened.change(first, **quick).then)
    left["stored"].change(turned, quick["inputs"], [*at_once, view], **QUIET)
    seen_after(view.change)
    seen_after(functools.partial(gr.on, [left[name].change for name in ("model", *READ_BY)]))
    right["next"].click(onward, view, view, **QUIET)
    right["previous"].click(back, view, view, **QUIET)
    fitting = [left[name] for name in FITTING]
    chosen = [left[name].input for name in FITTING]
    gr.on(chosen, fit, fitting, shared.fitting, trigger_mode="always_last", **QUIET)


def of_id(at: Any, id: str | None) -> dict[str, Any]:
    """Which rows of a dataset are shown; the first where what is remembered is of another."""
    is_its = isinstance(at, dict) and at.get("id") == id
    return at if is_its else {"id": id, "offset": 0, "find": {}}


def picture(lang: str, info: DatasetInfo, seen: dict[str, Any], limit: int) -> dict[str, Any]:
    """All of the right side, by the names of its parts."""
    return {
        "head": head(lang, info, seen) + notes_html(lang, seen),
        "dropped": dropped_table(lang, info, seen),
        "rows": rows_html(lang, seen, int(limit)),
        "excess": excess(lang, seen, int(limit)),
        "lengths": lengths_said(lang, seen, int(limit)),
        "views": gr.Column(visible=True),
        "seen": seen["batches"],
        **charts(lang, seen, int(limit)),
        **pager(seen),
    }


def picture_in_characters(lang: str, info: DatasetInfo, seen: dict[str, Any], why: str) -> dict[str, Any]:
    """The same where the base's tokenizer is not at hand: `why`, and that nothing is said about what fits."""
    said = problem_html(why) + f'<p class="ls-note">{escape(t(lang, "dataset.characters_note"))}</p>'
    return {
        "head": head(lang, info),
        "dropped": dropped_table(lang, info, None),
        "rows": said + characters.rows(lang, seen, found(lang, seen)) + left_out(lang, seen),
        "excess": "",
        "lengths": characters.lengths(lang, seen),
        "views": gr.Column(visible=True),
        "seen": None,
        **charts(lang, seen, None),
        **pager(seen),
    }


def only(summary: str, rows: str = "") -> dict[str, Any]:
    """Where there are no rows to show: what is said in place of the summary, and of the rows."""
    return {
        "head": summary,
        "dropped": "",
        "rows": rows,
        "pager": gr.Row(visible=False),
        "excess": "",
        "views": gr.Column(visible=bool(rows)),
        **no_charts(),
    }

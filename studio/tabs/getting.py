"""Beside the choice of a base: a model that has to be fetched first, what that costs and whence it comes, and how far
it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.get import copy, job
from studio.get.known import Wheel, wheel_of
from studio.get.words import about, offline, size
from studio.i18n import explain, language, marker, t
from studio.services import Shared
from studio.tabs.notices import explained

EVERY_S = 0.5
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


class GetPanel:
    """Hidden unless the chosen base is one that can be fetched and is not here whole.

    `model_of` reads the model's id from what the choice holds. The fetch is the server's: it goes on when the page is
    closed, and any page that shows the panel sees how far it is.
    """

    def __init__(self, shared: Shared, tab: str, model_of: Callable[[Any], Any] = lambda value: value) -> None:
        self.jobs, self.tab, self.model_of = shared.getting, tab, model_of
        with gr.Column(visible=False, elem_id=f"{tab}-get", elem_classes="ls-get ls-panel") as self.box:
            self.said = gr.HTML(elem_id=f"{tab}-get-said")
            self.fetch = gr.Button(marker("get.cancel"), variant="primary", size="md", elem_id=f"{tab}-get-fetch")
            self.cancel = gr.Button(
                marker("get.cancel"), variant="stop", size="md", visible=False, elem_id=f"{tab}-get-cancel"
            )
        self.timer = gr.Timer(EVERY_S, active=False)

    def wire(self, shared: Shared, choice: Any) -> None:
        """Follow `choice`, a dropdown."""
        seen = {"inputs": choice, "outputs": [self.box, self.said, self.fetch, self.cancel, self.timer], **QUIET}
        choice.change(self._chosen, **seen)
        shared.tab[self.tab].select(self._look, **seen)
        self.timer.tick(self._look, **seen)
        self.fetch.click(self._start, **seen)
        self.cancel.click(self._cancel, **seen)

    def _chosen(self, request: gr.Request, chosen: Any) -> dict[Any, Any]:
        """A base that is chosen anew begins without what an earlier fetch said."""
        if wheel := wheel_of(self.model_of(chosen)):
            self.jobs.forget(wheel)
        return self._look(request, chosen)

    def _start(self, request: gr.Request, chosen: Any) -> dict[Any, Any]:
        if wheel := wheel_of(self.model_of(chosen)):
            self.jobs.start(wheel)
        return self._look(request, chosen)

    def _cancel(self, request: gr.Request, chosen: Any) -> dict[Any, Any]:
        self.jobs.cancel()
        return self._look(request, chosen)

    def _look(self, request: gr.Request, chosen: Any) -> dict[Any, Any]:
        """The panel as it stands."""
        wheel = wheel_of(self.model_of(chosen))
        if wheel is None:
            return {self.box: gr.Column(visible=False), self.timer: gr.Timer(active=False)}
        lang, progress = language(request), self.jobs.progress(wheel)
        at_work = progress is not None and progress.stage in (job.FETCHING, job.MAKING)
        found = None if at_work else copy.look(self.jobs.space, wheel)
        is_here = found is not None and found.state == copy.WHOLE
        shown = not is_here or progress is not None
        return {
            self.box: gr.Column(visible=shown),
            self.said: self._html(lang, wheel, progress, found) if shown else "",
            self.fetch: gr.Button(t(lang, "get.fetch", size=size(wheel.bytes)), visible=not at_work and not is_here),
            self.cancel: gr.Button(visible=at_work),
            self.timer: gr.Timer(active=at_work),
        }

    def _html(self, lang: str, wheel: Wheel, progress: job.Progress | None, found: copy.Copy | None) -> str:
        if found is None:
            return self._progress(lang, wheel, progress)
        if found.state == copy.WHOLE:
            return f'<p class="ls-good" role="status">✓ {escape(t(lang, "get.ready", title=wheel.title))}</p>'
        key = "get.panel_title" if found.state == copy.ABSENT else "get.panel_damaged"
        title = t(lang, key, title=wheel.title, reason=found.fault)
        lines = "".join(f"<p>{escape(line)}</p>" for line in about(lang, wheel))
        trouble = _trouble(lang, progress.problem) if progress and progress.problem else ""
        return (
            f"<h3>{escape(title)}</h3>{lines}<details><summary>{escape(t(lang, 'get.offline_title'))}</summary>"
            f"<p>{escape(offline(lang, wheel))}</p></details>{trouble}"
        )

    def _progress(self, lang: str, wheel: Wheel, progress: job.Progress) -> str:
        """How much has come; what takes its time after that has no measure, only a clock."""
        title = f"<h3>{escape(wheel.title)}</h3>"
        if progress.stage == job.MAKING:
            seconds = round(time.monotonic() - self.jobs.began)
            told, label = t(lang, "get.making", seconds=seconds), escape(t(lang, "get.making_label"))
            return f'{title}<p role="status">{escape(told)}</p><progress aria-label="{label}"></progress>'
        told = t(lang, "get.progress", done=size(progress.bytes), size=size(progress.of))
        label = escape(t(lang, "get.progress_label"))
        bar = f'<progress max="{progress.of}" value="{progress.bytes}" aria-label="{label}"></progress>'
        return f'{title}<p role="status">{escape(told)}</p>{bar}'


def _trouble(lang: str, problem: Problem) -> str:
    """What was cancelled was meant to be, and is no error."""
    if problem.code == "worker.cancelled":
        return f'<p class="ls-note" role="status">{escape(explain(lang, problem))}</p>'
    return explained(lang, problem)

"""Files on their way into the store: read by a worker, kept beside the rows for another reading, or held for a moment
where their columns are not known."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets import sources
from studio.datasets.sources import Files
from studio.datasets.store import DatasetInfo
from studio.datasets.words import problem_text
from studio.gate.security import from_this_machine
from studio.gate.uploaded import discard, sweep
from studio.i18n import language
from studio.services import Shared
from studio.tabs.dataset.reading import BEAT_SECONDS, Reading
from studio.tabs.dataset.words import trouble_html
from studio.tabs.notices import problem_html
from studio.widgets.columns_view import columns_view

UNKNOWN = ("dataset.unknown_columns", "dataset.missing_column", "dataset.text_or_answer", "dataset.message_rows",
           "dataset.part_needed", "dataset.no_such_column", "dataset.none_left", "dataset.not_objects")  # fmt: skip
"""What a choice of shape and columns may mend."""
HELD_SESSIONS = 100
Answer = dict[Any, Any]


class Taking:
    """One for a page: what its sessions read, and the refused files that they may say more about."""

    def __init__(self, shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
        self.shared, self.left, self.right = shared, left, right
        self.readings = Reading()
        self._held: dict[str | None, tuple[Files, Any]] = {}
        self._entries: dict[str | None, list[str]] = {}
        """Of held files that came with a description of several datasets: those that one may be chosen of."""

    def take(self, request: gr.Request, given: Files, percent: Any, **said: Any) -> Answer:
        """Read what was given; `said` are further options of the worker's `ingest`. Needs `readings.begin`."""
        lang, session = language(request), request.session_hash
        held = self._held.pop(session, ([], None))[0]
        self._entries.pop(session, None)
        try:
            info = self._read(session, given, percent, said)
        except Problem as problem:
            trouble = trouble_html(lang, problem_text(lang, problem), kept=bool(self.shared.datasets.list()))
            columns = self._refused(request, given, percent, said, problem)
            return {self.right["trouble"]: trouble, self.left["file"]: None, self.right["columns"]: columns}
        finally:
            self._discard(session, [*given, *held])
        shown = {self.right["trouble"]: "", self.right["columns"]: "", self.left["file"]: None}
        return {**shown, self.shared.dataset: info.id}

    def fetch(self, request: gr.Request, hub_id: str, percent: Any, **wish: Any) -> Answer:
        """Read a dataset of a hub, with this machine's login for whoever sits at it; `wish`: its `config` and
        `split`."""
        lang, session = language(request), request.session_hash
        self.let_go(session)
        shown = {self.right["trouble"]: "", self.right["columns"]: "", self.left["file"]: None}
        try:
            stream = self.shared.data_worker.stream(
                "ingest", beat_seconds=BEAT_SECONDS, eval_share=_share(percent), login=from_this_machine(request),
                hub_id=hub_id, **wish,
            )  # fmt: skip
            made = self.readings.follow(session, stream, hub_id)
        except Problem as problem:
            trouble = trouble_html(lang, problem_text(lang, problem), kept=bool(self.shared.datasets.list()))
            return {**shown, self.right["trouble"]: trouble}
        return {**shown, self.shared.dataset: made["id"]}

    def entries(self, session: str | None) -> list[str]:
        """Of what the files held may be: one has to be chosen."""
        return self._entries.get(session, [])

    def look(self, request: gr.Request, of: str, shape: str | None, told: dict[str, Any], why: str = "") -> str:
        """The columns of a stored dataset's files (`of`, an id), or of those held, as HTML. Raises `Problem`."""
        lang = language(request)
        given, _ = self.files(request.session_hash, of)
        paths = [[str(path), name] for path, name in given]
        seen = self.shared.data_worker.call("columns", paths=paths, shape=shape, mapping=told)
        if seen["problem"] and told and not why:
            why = problem_html(problem_text(lang, Problem(seen["problem"]["code"], **seen["problem"]["params"])))
        return columns_view(lang, seen, of, shape or "", told, why)

    def files(self, session: str | None, of: str) -> tuple[Files, Any]:
        """Of a stored dataset or, where `of` is empty, those held, with the percent of rows to validate. Raises
        `Problem` `dataset.gone`, `dataset.source_gone`."""
        if of:
            info: DatasetInfo = self.shared.datasets.get(of)
            return sources.kept(self.shared.datasets, info), 100 * info.eval_share
        given, percent = self._held.get(session, ([], None))
        if not given or not all(path.exists() for path, _ in given):
            raise Problem("dataset.source_gone", file=given[0][1] if given else "-")
        return given, percent

    def let_go(self, session: str | None) -> None:
        """Nothing more will be said about the files held."""
        given, _ = self._held.pop(session, ([], None))
        self._entries.pop(session, None)
        self._discard(session, given)

    def _read(self, session: str | None, given: Files, percent: Any, said: dict[str, Any]) -> DatasetInfo:
        paths = [[str(path), name] for path, name in given]
        stream = self.shared.data_worker.stream(
            "ingest", beat_seconds=BEAT_SECONDS, paths=paths, eval_share=_share(percent), **said
        )
        made = self.readings.follow(session, stream, given[0][1])
        info: DatasetInfo = self.shared.datasets.get(made["id"])
        sources.keep(info, given)
        return info

    def _refused(self, request: gr.Request, given: Files, percent: Any, said: dict[str, Any], problem: Problem) -> Any:
        """The columns of a file that is of no known shape, to be said more about; nothing for another trouble."""
        if problem.code == "dataset.entry_choose":
            self._hold(request.session_hash, given, percent)
            self._entries[request.session_hash] = list(problem.params["names"])
        if problem.code not in UNKNOWN:
            return ""
        session, parent = request.session_hash, said.get("parent") or ""
        if not parent:
            self._hold(session, given, percent)
        try:
            return self.look(request, parent, said.get("shape"), said.get("mapping") or {}, why=" ")
        except Problem:
            self.let_go(session)
            return ""

    def _hold(self, session: str | None, given: Files, percent: Any) -> None:
        self._held[session] = given, percent
        while len(self._held) > HELD_SESSIONS:
            self.let_go(next(iter(self._held)))

    def _discard(self, session: str | None, given: Files) -> None:
        """Uploads that nobody will read again."""
        still = {path for path, _ in self._held.get(session, ([], None))[0]}
        for path, _ in given:
            if path not in still:
                discard(self.shared.space, path)
        sweep(self.shared.space)


def done_html(lang: str, sentence: str) -> str:
    return f'<p class="ls-good" role="status">✓ {escape(sentence)}</p>'


def named(paths: list[Path]) -> Files:
    return [(path, path.name) for path in paths]


def _share(percent: Any) -> Any:
    """Percent as the worker takes it; what is no number goes on as it is and is refused there."""
    is_number = isinstance(percent, (int, float)) and not isinstance(percent, bool)
    return percent / 100 if is_number and abs(percent) < 1e6 else percent

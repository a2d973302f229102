"""What is pressed inside the tab's own elements - columns, versions, splits, mixing, search, rows - in one chain: what
was asked is remembered, then done, and said.

A new version takes the place of the one shown; the one before stays, and is one press away.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio import shipped
from studio.datasets import versions
from studio.datasets.searching import Query, as_said, query_of
from studio.datasets.words import problem_text
from studio.gate.page import told
from studio.gate.security import from_this_machine
from studio.i18n import language, t
from studio.models.find import base_name
from studio.services import Shared
from studio.tabs import long
from studio.tabs.dataset.page import QUIET, READ_BY, info_of
from studio.tabs.dataset.reading import BEAT_SECONDS
from studio.tabs.dataset.taking import Taking, done_html
from studio.tabs.dataset.words import trouble_html
from studio.tabs.notices import problem_html
from studio.widgets.finder_view import finder_view
from studio.widgets.row_editor import NEW, row_editor, written

SCRIPT = shipped.script("elements/deed")
"""`js_on_load` of the elements whose forms and buttons are answered here."""
ELEMENTS = ("trouble", "columns", "desk", "finder", "editor", "rows")
REMEMBERED = 1_000
WORK = ("read", "save", "remove", "remove_found", "split", "mix")
"""What takes as long as the dataset is large: under a bar, to be cancelled."""
Answer = dict[Any, Any]
_DECIMAL = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?")


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any], taking: Taking) -> None:
    """All of it."""
    asked = gr.State(None)
    busy, progress, timer = right["busy"], right["progress"], right["timer"]
    acts, turns, working = Acts(shared, left, right, taking), itertools.count(1), set[str | None]()
    done: dict[str | None, int] = {}
    """Of each session the number of what was last done: pressed twice, it is done once."""

    def press(request: gr.Request, event: gr.EventData, id: str | None) -> dict[Any, Any]:
        """What was pressed, and a bar over what takes long."""
        wanted = {**told(event), "turn": next(turns)}
        if wanted.get("do") not in WORK:
            return {asked: wanted}
        if taking.readings.is_at_work(request.session_hash):
            return {busy: gr.skip()}
        info = info_of(shared, id)
        taking.readings.begin(request.session_hash, info.name if info else "-")
        bar = taking.readings.html(request.session_hash, language(request))
        return {asked: wanted, busy: gr.Column(visible=True), progress: bar, timer: gr.Timer(active=True)}

    def act(request: gr.Request, wanted: Any, id: str | None, view: Any, model: Any, *how: Any) -> dict[Any, Any]:
        """The answer of one of the deeds; a problem is said in place of it."""
        said = wanted if isinstance(wanted, dict) else {}
        deed, session = acts.deeds.get(str(said.get("do"))), request.session_hash
        if deed is None or done.get(session) == said["turn"]:
            return {right["editor"]: gr.skip()}
        done[session] = said["turn"]
        while len(done) > REMEMBERED:
            del done[next(iter(done))]
        if said["do"] in WORK:
            working.add(session)
        try:
            return deed(request, said, id, view, (model, dict(zip(READ_BY, how, strict=True))))
        except Problem as problem:
            lang = language(request)
            sentence = problem_text(lang, problem)
            return {right["trouble"]: trouble_html(lang, sentence, kept=said.get("do") in WORK)}
        finally:
            working.discard(session)

    def over(request: gr.Request) -> dict[Any, Any]:
        if request.session_hash in working:
            return {busy: gr.skip()}
        taking.readings.end(request.session_hash)
        return {busy: gr.Column(visible=False), progress: "", timer: gr.Timer(active=False)}

    inputs = [asked, left["stored"], right["view"], left["model"], *(left[name] for name in READ_BY)]
    outputs = [right[name] for name in ("trouble", "columns", "editor", "finder", "view")]
    outputs += [shared.dataset, left["file"]]
    pressed = gr.on([right[name].click for name in ELEMENTS], press, left["stored"],
                    [asked, busy, progress, timer], queue=False, **QUIET)  # fmt: skip
    pressed.then(act, inputs, outputs, **long("ingest"), **QUIET).then(
        over, None, [busy, progress, timer], queue=False, **QUIET
    )


class Acts:
    """The deeds, each `(request, what was said, the dataset's id, the view, the base and how rows are read)`."""

    def __init__(self, shared: Shared, left: dict[str, Any], right: dict[str, Any], taking: Taking) -> None:
        self.shared, self.left, self.right, self.taking = shared, left, right, taking
        self.deeds: dict[str, Callable[..., Answer]] = {
            "look": self.look, "close_columns": self.close_columns, "read": self.read,
            "find": self.find, "find_all": self.find_all,
            "edit": self.edit, "add": self.add, "save": self.save, "close_editor": self.close_editor,
            "remove": self.remove, "remove_found": self.remove_found,
            "show": self.show, "split": self.split, "mix": self.mix,
        }  # fmt: skip

    # Columns.

    def look(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        """The columns as they are read; of a shape that was just chosen as they would be."""
        of, fields = str(said.get("of") or ""), dict(_fields(said))
        if "shape" in fields:
            return {self.right["columns"]: self.taking.look(request, of, str(fields["shape"]) or None, {})}
        shape, mapping = _read_before(self.shared, of)
        return {self.right["columns"]: self.taking.look(request, of, shape, mapping)}

    def close_columns(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        self.taking.let_go(request.session_hash)
        return {self.right["columns"]: ""}

    def read(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        """The same files another way: of a stored dataset a new version."""
        of, fields = str(said.get("of") or ""), _fields(said)
        shape = str(dict(fields).get("shape") or "") or None
        mapping = {name.removeprefix("part:"): str(column) or None for name, column in fields if name[:5] == "part:"}
        given, percent = self.taking.files(request.session_hash, of)
        mapping = {part: column for part, column in mapping.items() if column or not part.startswith(("role:", "turn"))}
        return self.taking.take(request, given, percent, shape=shape, mapping=mapping, **({"parent": of} if of else {}))

    # Rows.

    def find(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        found = as_said(query_of(dict(_fields(said))))
        return {self.right["view"]: {"id": id, "offset": 0, "find": found}, self.right["editor"]: ""}

    def find_all(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        everything = finder_view(language(request), info_of(self.shared, id), Query())
        shown = {"id": id, "offset": 0, "find": as_said(Query())}
        return {self.right["view"]: shown, self.right["finder"]: everything, self.right["editor"]: ""}

    def edit(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        row = self.shared.data_worker.call("row", dataset_id=id, place=said.get("place"))
        shown = row_editor(language(request), row["content"], said["place"], row["row"])
        return {self.right["editor"]: shown, self.right["trouble"]: ""}

    def add(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        """An empty row of what most rows are."""
        info = self.shared.datasets.get(str(id))
        form = max(info.forms, key=info.forms.__getitem__, default="chat")
        return {self.right["editor"]: row_editor(language(request), NEW[form], None, None), self.right["trouble"]: ""}

    def save(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        """What is wrong is said above the boxes, which keep what was written."""
        lang, place, row, content = language(request), said.get("place"), said.get("row"), {}
        number = row if isinstance(row, int) and not isinstance(row, bool) else None
        try:
            content = written(_fields(said), "-" if number is None else number)
            changes = {"added": [content]} if place is None else {"edited": [[place, content]]}
            return self._made(request, self._work(request, "revise", dataset_id=id, **changes))
        except Problem as problem:
            if not content or problem.code not in ("dataset.row_unfit", "dataset.row_form", "dataset.row_unused"):
                return {self.right["trouble"]: problem_html(problem_text(lang, problem))}
            why = problem_html(problem_text(lang, problem))
            where = place if isinstance(place, int) else None
            return {self.right["editor"]: row_editor(lang, content, where, number, why), self.right["trouble"]: ""}

    def close_editor(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        return {self.right["editor"]: "", self.right["trouble"]: ""}

    def remove(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        return self._made(request, self._work(request, "revise", dataset_id=id, removed=[said.get("place")]))

    def remove_found(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        """All rows that were looked for."""
        find = view.get("find") if isinstance(view, dict) else None
        model, recipe = how
        recipe["model"] = base_name(self.shared.space, model, from_this_machine(request))
        return self._made(request, self._work(request, "drop_found", dataset_id=id, find=find, **recipe))

    # Versions.

    def show(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        """Another version, or dataset, which then is the one that trains."""
        info = self.shared.datasets.get(str(said.get("id")))
        return {self.shared.dataset: info.id, self.right["trouble"]: "", self.right["editor"]: ""}

    def split(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        fields = dict(_fields(said))
        shares = {name: _number(fields.get(name), 0.01) for name in ("eval_share", "test_share")}
        seed, stratify = _number(fields.get("seed")), fields.get("stratify") is True
        return self._made(request, self._work(request, "split", dataset_id=id, **shares, seed=seed, stratify=stratify))

    def mix(self, request: gr.Request, said: Answer, id: str | None, view: Any, how: Any) -> Answer:
        fields = _fields(said)
        weights = [(name.removeprefix("weight:"), text) for name, text in fields if name.startswith("weight:")]
        parts = [[part, _number(text)] for part, text in weights if text and _number(text) != 0]
        versions.rows_of_mix(self.shared.datasets, [(part, weight) for part, weight in parts])  # refuses what is wrong
        name = str(dict(fields).get("name") or "").strip() or t(language(request), "rows.mix_name")
        seed = _number(dict(fields).get("seed"))
        return self._made(request, self._work(request, "mix", parts=parts, name=name, seed=seed))

    def _work(self, request: gr.Request, method: str, **params: Any) -> Answer:
        session = request.session_hash
        if not self.taking.readings.is_at_work(session):
            self.taking.readings.begin(session, "-")
        stream = self.shared.data_worker.stream(method, beat_seconds=BEAT_SECONDS, **params)
        return self.taking.readings.follow(session, stream, str(params.get("name", "-")))

    def _made(self, request: gr.Request, made: Answer) -> Answer:
        """The new version is shown, and is said to be one."""
        lang, info = language(request), self.shared.datasets.get(made["id"])
        count = len(versions.versions(self.shared.datasets, info.id))
        key = "rows.made_version" if info.parent else "rows.made_dataset"
        said = done_html(lang, t(lang, key, name=info.name, number=count, rows=f"{info.kept:,}"))
        return {self.shared.dataset: info.id, self.right["trouble"]: said, self.right["editor"]: ""}


def _read_before(shared: Shared, of: str) -> tuple[str | None, dict[str, Any]]:
    """The shape and the columns that a stored dataset was last read with, where its user said so."""
    info = info_of(shared, of)
    while info is not None:
        for change in info.changes:
            if change.get("step") == "read":
                options = change.get("options") or {}
                return options.get("shape") or None, dict(options.get("mapping") or {})
        info = info_of(shared, info.parent)
    return None, {}


def _fields(said: Answer) -> list[tuple[str, Any]]:
    """Names and values of a form's fields, in their order; what is none is passed over."""
    found = said.get("fields")
    pairs = [one for one in found if isinstance(one, list) and len(one) == 2] if isinstance(found, list) else []
    return [(name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, (str, bool))]


def _number(text: Any, unit: float | None = None) -> Any:
    """A number as it was typed, in `unit`; what is none goes on as it is, and is refused where it is used."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text.strip()):
        return text
    number = float(text) if "." in text or unit else int(text)
    return round(number * unit, 6) if unit else number

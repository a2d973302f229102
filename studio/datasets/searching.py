"""Which rows a person wants to see: those that hold a text, of one split, form or file, or that were cleaned."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from studio.datasets.forms import FORMS, PLACE, form_of
from studio.datasets.rows import SPLITS, Row
from studio.datasets.store import DatasetInfo

TEXT_LIMIT_CHARACTERS = 1_000
TELL_SECONDS = 0.25
PROBLEMS = ("dropped", "changed", "left_out", "too_long", "cut", "nothing_trained", "not_written")
"""`dropped` when the file was read, `changed` then; the others are a base's, at a sequence length
(`studio.rendering.finding`)."""
STORED = ("dropped", "changed")
STEP = "step:"
"""Before the name of a cleaning step: rows that it would touch."""
_STEP = re.compile(rf"{STEP}[a-z_]{{1,40}}")
_NOTATION = re.compile(r'[{}\[\]:,"]')
_ESCAPES = tuple("nrtbfu")
"""A letter behind a backslash is no letter: `\\there` in JSON is a tab and `here`."""
Tell = Callable[[dict[str, Any]], None]
_KEYS = " ".join(
    ("messages role content system user assistant tool tools trained false true null reasoning_content tool_calls type",
     "function name arguments description parameters tool_call_id text answer_start",
     *(" ".join((*form.keys, *form.more)) for form in FORMS.values()))
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """What is looked for; what is empty says nothing. `file` is a place in `DatasetInfo.files`."""

    text: str = ""
    problem: str = ""
    split: str = ""
    form: str = ""
    file: int = -1

    def __bool__(self) -> bool:
        return self != Query()

    @property
    def step(self) -> str:
        """The cleaning step whose finds are looked for; empty for none."""
        return self.problem.removeprefix(STEP) if self.problem.startswith(STEP) else ""

    @property
    def needs_base(self) -> bool:
        """Whether a base's tokenizer says which rows are meant."""
        return bool(self.problem) and not self.step and self.problem not in STORED


def query_of(said: Any) -> Query:
    """Of what a page sent; what is no query is none."""
    given = said if isinstance(said, dict) else {}
    text = {name: str(given.get(name) or "") for name in ("text", "problem", "split", "form")}
    file = str(given.get("file") or "")
    return Query(
        text=text["text"][:TEXT_LIMIT_CHARACTERS],
        problem=text["problem"] if text["problem"] in PROBLEMS or _STEP.fullmatch(text["problem"]) else "",
        split=text["split"] if text["split"] in SPLITS else "",
        form=text["form"] if text["form"] in FORMS else "",
        file=int(file) if re.fullmatch(r"[0-9]{1,6}", file) else -1,
    )


def as_said(query: Query) -> dict[str, Any]:
    return {field.name: getattr(query, field.name) for field in fields(query)}


def found(
    info: DatasetInfo,
    query: Query,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Tell = lambda event: None,
    among: np.ndarray | None = None,
) -> np.ndarray:
    """Places in `info.rows()`, split after split; `among` are those that have the problem that is asked for, where a
    base says it. Raises `Problem` `worker.cancelled` soon after `cancelled()`."""
    rows = info.rows()
    keys, splits = rows.places()
    fits = np.ones(len(rows), bool)
    if among is not None:
        fits[:] = False
        fits[among] = True
    if query.split:
        fits &= splits == SPLITS.index(query.split)
    if query.file >= 0:
        fits &= (keys >> 40) - 1 == query.file
    if query.problem == "changed":
        fits &= np.isin(np.arange(len(rows)), info.changed_places())
    going = _Going(len(rows), cancelled, tell)
    if query.text and fits.any():
        fits &= _holding(info, query.text, fits, going)
    if query.form and len(info.forms) > 1:
        for at in np.flatnonzero(fits):
            going.on(int(at))
            fits[at] = form_of(rows[int(at)]) == query.form
    return np.concatenate([np.flatnonzero(fits & (splits == index)) for index in range(len(SPLITS))])


class _Going:
    """How far a search is, said four times a second; ends it where nobody waits any longer."""

    def __init__(self, of: int, cancelled: Callable[[], bool], tell: Tell) -> None:
        self._of, self._cancelled, self._tell, self._told = of, cancelled, tell, time.monotonic()

    def on(self, done: int) -> None:
        if self._cancelled():
            raise Problem("worker.cancelled")
        if time.monotonic() - self._told > TELL_SECONDS:
            self._told = time.monotonic()
            self._tell({"phase": "searching", "done": done, "of": self._of, "share": done / max(1, self._of)})


def _holding(info: DatasetInfo, text: str, fits: np.ndarray, going: _Going) -> np.ndarray:
    """Rows that say a text. Their JSON is looked through; where that may be of the notation (`role`, a brace, a tab's
    `t`) each row found is read."""
    rows, written = info.rows(), json.dumps(text, ensure_ascii=False)[1:-1]
    wanted, holds, doubted = text.lower(), np.zeros(len(fits), bool), np.zeros(len(fits), bool)
    for done, places in rows.holding(written):
        going.on(done)
        holds[places] = True
    if wanted in _KEYS or _NOTATION.search(text):
        doubted = holds
    elif wanted.startswith(_ESCAPES):
        for _, places in rows.holding("\\" + written):
            doubted[places] = True
    for at in np.flatnonzero(holds & doubted & fits):
        going.on(int(at))
        holds[at] = any(wanted in said.lower() for said in texts(rows[int(at)]))
    return holds


def texts(row: Row) -> Iterator[str]:
    """All that a row says, without keys and roles."""
    for key, value in row.items():
        if key not in PLACE:
            yield from _leaves(value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in ("role", "type", "trained"):
                yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None:
        yield str(value)

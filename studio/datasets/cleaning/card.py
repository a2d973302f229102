"""The report card of a dataset version: what it is, where it came from, what was done to it, what is doubtful, how
much of it is trained and what was left out. As data, which the page lays out, and as one page of Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.cleaning.parts import ANSWER, TEXT, parts
from studio.datasets.cleaning.record import Tokens
from studio.datasets.cleaning.report import Report
from studio.datasets.cleaning.run import Progress, files_of, look
from studio.datasets.cleaning.steps import defaults
from studio.datasets.cleaning.words import change_text, doubts, step_text
from studio.datasets.forms import LM, for_task
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.words import left_text, read_text, reason_text, recognised_text, unused_text
from studio.i18n import strings, t

EXAMPLES = 1_000
"""Rows of each version among which an example of a reason is looked for."""
LONGEST_CHAIN = 1_000
"""Versions, each made of the one before."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


@dataclass(frozen=True)
class Trained:
    """How much of a dataset is trained by `task`. Characters are those of the rows in training; of a text all are
    trained, of a conversation the assistant's."""

    task: str
    rows: int
    """Rows that the task can train, of all splits."""
    of_rows: int
    characters: int
    of_characters: int


@dataclass(frozen=True)
class Made:
    """A version in the chain, the first first: how many rows it kept and what made it."""

    id: str
    name: str
    created: float
    read: int
    kept: int
    dropped: int
    changed: int
    changes: list[dict[str, Any]]


@dataclass(frozen=True)
class Card:
    info: DatasetInfo
    first: DatasetInfo
    """The version that was brought; where it is gone the oldest that is there."""
    chain: list[Made]
    is_whole: bool
    """Whether the chain reaches back to what was brought."""
    dropped: dict[str, int]
    """Rows left out by reason, by all versions of the chain together."""
    examples: dict[str, dict[str, Any]]
    """Of each reason a row as `DatasetInfo.dropped_rows` gives it."""
    trained: Trained
    report: Report
    sizes: dict[str, int] = field(default_factory=dict)
    """Characters of a row: the median, the longest."""

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        for name in ("info", "first"):
            told[name]["folder"] = str(told[name]["folder"])
        return told


def card_of(
    store: DatasetStore,
    id: str,
    stop: Callable[[], None] = lambda: None,
    progress: Progress = lambda event: None,
    *,
    task: str = LM,
    tokens: Tokens | None = None,
) -> Card:
    """Raises `Problem` `dataset.gone`, and what `stop` raises."""
    info = store.get(id)
    chain, is_whole = _chain(store, info)
    report = look(
        info.rows(), defaults(with_tokens=tokens is not None), stop, progress, files=files_of(info), tokens=tokens
    )
    trained, sizes = _trained(info, task, stop)
    dropped: Counter[str] = Counter()
    for one in chain:
        dropped.update(one.reasons)
    made = [
        Made(one.id, one.name, one.created, one.read, one.kept, one.dropped, one.changed, one.changes) for one in chain
    ]
    examples = {row["reason"]: row for one in chain for row in one.dropped_rows(EXAMPLES)}
    return Card(info, chain[0], made, is_whole, dict(dropped.most_common()), examples, trained, report, sizes)


def _chain(store: DatasetStore, info: DatasetInfo) -> tuple[list[DatasetInfo], bool]:
    """Versions from the oldest to this one, and whether none before is missing."""
    chain = [info]
    while chain[0].parent and len(chain) < LONGEST_CHAIN:
        try:
            chain.insert(0, store.get(chain[0].parent))
        except Problem:
            return chain, False
    return chain, not chain[0].parent


def _trained(info: DatasetInfo, task: str, stop: Callable[[], None]) -> tuple[Trained, dict[str, int]]:
    rows = characters = of_characters = 0
    lengths: Counter[int] = Counter()
    for row in info.rows():
        stop()
        is_trained = for_task(row, task) is not None
        rows += is_trained
        said = [(part.role, len(part.text)) for part in parts(row)]
        length = sum(count for _, count in said)
        lengths[length] += 1
        if is_trained:
            of_characters += length
            characters += sum(count for role, count in said if role in (ANSWER, TEXT))
    return Trained(task, rows, info.kept, characters, of_characters), _sizes(lengths)


def _sizes(lengths: Counter[int]) -> dict[str, int]:
    seen, half = 0, lengths.total() / 2
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= half:
            return {"median": length, "longest": max(lengths)}
    return {}


def as_markdown(lang: str, card: Card) -> str:
    """One page. Names and texts of a user's are escaped."""
    info = card.info
    lines = [f"# {t(lang, 'cleaning.card_title', name=escaped(info.name))}", ""]
    for title, said in (
        ("what", _what(lang, card)),
        ("from", _from(lang, card)),
        ("done", _done(lang, card)),
        ("doubtful", _doubtful(lang, card)),
        ("trained", _trained_text(lang, card)),
        ("dropped", _dropped(lang, card)),
    ):
        lines += [f"## {t(lang, f'cleaning.card_{title}')}", "", *(f"- {one}" for one in said if one), ""]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _what(lang: str, card: Card) -> list[str]:
    info = card.info
    counts = {name: f"{getattr(info, name):,}" for name in ("kept", "train_rows", "eval_rows", "test_rows")}
    forms = [
        t(lang, "cleaning.card_form", form=t(lang, f"dataset.form_{form}"), rows=f"{rows:,}")
        for form, rows in sorted(info.forms.items(), key=lambda one: -one[1])
        if f"dataset.form_{form}" in strings(lang)
    ]
    sizes = {name: f"{count:,}" for name, count in card.sizes.items()}
    return [
        escaped(recognised_text(lang, info)),
        t(lang, "cleaning.card_rows", **counts),
        *forms,
        t(lang, "cleaning.card_sizes", **sizes) if sizes else "",
        t(lang, "cleaning.card_version", id=info.id, fingerprint=info.fingerprint[:16]),
    ]


def _from(lang: str, card: Card) -> list[str]:
    first = card.first
    said = [] if card.is_whole else [t(lang, "cleaning.card_gone")]
    if first.file_counts:
        for one in first.file_counts[:20]:
            counts = {name: f"{one.get(name, 0):,}" for name in ("read", "kept", "dropped")}
            said.append(t(lang, "cleaning.card_file", name=escaped(str(one.get("name", ""))), **counts))
        if more := first.file_counts[20:]:
            said.append(t(lang, "dataset.files_more", count=f"{len(more):,}"))
    else:
        counts = {"read": f"{first.read:,}", "kept": f"{first.kept:,}", "dropped": f"{first.dropped:,}"}
        said.append(t(lang, "cleaning.card_file", name=escaped(first.file_name), **counts))
    rest = (read_text(lang, first), *left_text(lang, first), unused_text(lang, first))
    return [*said, *map(escaped, rest)]


def _done(lang: str, card: Card) -> list[str]:
    said = []
    if card.first.changed:
        said.append(t(lang, "cleaning.card_tidied", rows=f"{card.first.changed:,}"))
    for one in card.chain:
        is_idle = [not change.get("counts", {}).get("touched", True) for change in one.changes]
        said += [escaped(change_text(lang, change)) for change, idle in zip(one.changes, is_idle) if not idle]
        if any(is_idle):
            steps = [step_text(lang, change["step"]) for change, idle in zip(one.changes, is_idle) if idle]
            said.append(t(lang, "cleaning.card_looked", steps=("、" if lang == "zh-CN" else ", ").join(steps)))
        if one.changes:
            said.append(t(lang, "cleaning.card_left", rows=f"{one.kept:,}"))
    return said or [t(lang, "cleaning.card_nothing_done")]


def _doubtful(lang: str, card: Card) -> list[str]:
    said = list(map(escaped, doubts(lang, card.info, card.report)))
    return said or [t(lang, "cleaning.card_nothing_doubtful", rows=f"{card.report.rows:,}")]


def _trained_text(lang: str, card: Card) -> list[str]:
    one = card.trained
    share = f"{100 * one.characters / one.of_characters:.0f}" if one.of_characters else "0"
    counts = {"rows": f"{one.rows:,}", "of_rows": f"{one.of_rows:,}", "characters": f"{one.characters:,}"}
    return [
        t(lang, "cleaning.card_trained_rows", task=one.task, **counts),
        t(lang, "cleaning.card_trained_share", share=share, **counts),
    ]


def _dropped(lang: str, card: Card) -> list[str]:
    said = []
    for reason, rows in card.dropped.items():
        example = card.examples.get(reason)
        why = reason_text(lang, example) if example else reason
        said.append(t(lang, "cleaning.card_reason", rows=f"{rows:,}", reason=escaped(why)))
    return said or [t(lang, "cleaning.card_nothing_dropped")]

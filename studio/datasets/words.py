"""Counts and reasons of a dataset in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.counts import Counts
from studio.datasets.forms import FORMS, LM
from studio.datasets.kinds import FORMATS
from studio.datasets.store import SHAPES, DatasetInfo
from studio.i18n import explain, strings, t

CAUSES = ("single_quotes", "python_words", "line_break", "comma")
"""What usually stands behind broken JSON."""

PARTS = ("system", "source", "instruction", "input", "history", "reasoning", "output", "chosen", "rejected", "verdict",
         "label", "messages", "conversations", "text", "tools", "asked", "context", "answers", "span", "answer_start",
         "labelled", "text_pair", "class", "tokens", "tags", "anchor", "positive", "other", "negative", "score", "from",
         "to")  # fmt: skip
"""Parts that a column may play, in the order in which a person would name them."""
NOTED = ("preference", "unpaired", "threads")
"""Shapes of which not every row or answer is trained."""


def reason_text(lang: str, dropped: dict[str, Any]) -> str:
    """`{"reason", "params"}` as half a sentence; numbers get thousands separators."""
    params = {key: f"{value:,}" if isinstance(value, int) else value for key, value in dropped["params"].items()}
    keys = [f"{area}.reason_{dropped['reason']}" for area in ("dataset", "cleaning")]
    if dropped["reason"] == "other_shape":
        params = {
            name: t(lang, f"dataset.shape_{shape}") if shape in SHAPES else shape for name, shape in params.items()
        }
    if params.get("form") in FORMS:
        params["form"] = t(lang, f"dataset.form_{params['form']}")
    key = next((key for key in keys if key in strings(lang)), None)
    return t(lang, key, **params) if key else str(dropped["reason"])  # another version's


SAID_HERE = ("dataset.unreadable", "dataset.broken_json", "dataset.gone")
"""What has another remedy at the command line: the file lies on this machine, and nobody chose from a list."""


def problem_text(lang: str, problem: Problem, here: bool = False) -> str:
    """A `Problem` of an upload, or `here` of a command; where it stems from one row's reason, that is said too."""
    if here and problem.code in SAID_HERE:
        problem = Problem(f"{problem.code}_here", **problem.params)
    if problem.params.get("shape") in SHAPES:
        shape = t(lang, f"dataset.shape_{problem.params['shape']}")
        sentence = explain(lang, Problem(problem.code, **{**problem.params, "shape": shape}))
    else:
        sentence = explain(lang, problem)
    if "reason" in problem.params and isinstance(problem.params.get("params"), dict):
        why = reason_text(lang, {"reason": problem.params["reason"], "params": problem.params["params"]})
        sentence += " " + t(lang, "dataset.first_reason", row=problem.params["row"], reason=why)
    if (cause := problem.params.get("cause")) in CAUSES:
        sentence += " " + t(lang, f"dataset.cause_{cause}")
    return sentence


def recognised_text(lang: str, info: DatasetInfo) -> str:
    """What the file was: shape, language, format with its encoding where that is not plain UTF-8."""
    told = info.file_counts[0]["name"] if info.file_counts else info.file_name
    file_format = Path(told).suffix.lstrip(".").upper() or "-"
    if info.files:
        file_format = t(
            lang,
            "dataset.files_count",
            count=f"{sum(bool(one.get('kept')) for one in info.file_counts) or len(info.files):,}",
        )
    elif info.encoding not in ("utf-8", "utf-8-sig", *FORMATS.values()):
        file_format += f" ({info.encoding.upper()})"
    shape, language = (
        t(lang, f"dataset.shape_{info.shape}"),
        strings(lang).get(f"dataset.language_{info.language}", info.language),
    )
    return t(lang, "dataset.recognised", shape=shape, language=language, format=file_format)


def origin_text(lang: str, info: DatasetInfo) -> str:
    """Which dataset of which hub it is, with config, splits and commit; empty for files."""
    said = info.origin
    if not said:
        return ""
    titles = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
    named = {"config": "-", "split": "-", "commit": "-", "id": "-", **said, "hub": titles.get(said.get("hub", ""), "-")}
    return t(lang, "dataset.origin", **{**named, "commit": named["commit"][:12]})


def split_text(lang: str, counts: Counts) -> str:
    """`60 rows read; 54 for training, 6 for validation`."""
    key = "dataset.split" if counts.eval else "dataset.split_none"
    names = ("read", "train", "eval", "test")
    told = {name: about(lang, getattr(counts, name), counts.exact or name == "read") for name in names}
    said = t(lang, key, **told) + (t(lang, "dataset.split_test", test=told["test"]) if counts.test else "")
    return said + (t(lang, "dataset.split_joined", joined=f"{counts.joined:,}") if counts.joined else "")


def about(lang: str, count: int, exact: bool) -> str:
    """A count, and a word where it comes from a sample."""
    return f"{count:,}" if exact else t(lang, "dataset.about", count=f"{count:,}")


def other_shapes_text(lang: str, info: DatasetInfo) -> str:
    """What rows of another shape than the file's there are, and that they are left out; empty without any."""
    words = [
        t(lang, "dataset.other_shape_one", shape=t(lang, f"dataset.shape_{shape}"), rows=f"{rows:,}")
        for shape, rows in sorted(info.other_shapes.items(), key=lambda one: -one[1])
        if shape in SHAPES
    ]
    if not words:
        return ""
    first = next((f"{one['row']:,}" for one in info.dropped_rows(1_000) if one["reason"] == "other_shape"), "?")
    own = t(lang, f"dataset.shape_{info.shape}")
    return t(lang, "dataset.other_shapes", shape=own, others=_joined(lang, words), first=first)


def mixed_text(lang: str, info: DatasetInfo) -> str:
    """The shapes that rows were read by, with their numbers; empty where it is one."""
    if len(info.shapes) < 2:
        return ""
    shapes = sorted(info.shapes.items(), key=lambda one: -one[1])
    said = [
        t(lang, "dataset.other_shape_one", shape=t(lang, f"dataset.shape_{shape}"), rows=f"{rows:,}")
        for shape, rows in shapes
        if shape in SHAPES
    ]
    return t(lang, "dataset.mixed_shapes", shapes=_joined(lang, said))


def version_text(lang: str, info: DatasetInfo, stored: Sequence[DatasetInfo]) -> str:
    """`version 2 of 3`, by age; empty where there is one."""
    same = [one for one in stored if one.first == info.first]
    number = sum(one.created <= info.created for one in same)
    return t(lang, "rows.choice_version", number=number, count=len(same)) if len(same) > 1 else ""


def numbers_text(lang: str, numbers: list[int]) -> str:
    """`1–3, 5, 6`: numbers in their order, runs of three and more by their ends."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = [[f"{run[0]:,}–{run[-1]:,}"] if len(run) > 2 else [f"{one:,}" for one in run] for run in runs]
    return _joined(lang, [word for words in said for word in words])


def read_text(lang: str, info: DatasetInfo) -> str:
    """Which column was read as what, where its name does not say it, and what is done with such rows:
    `Read: content as the question, summary as the answer.`"""
    parts = sorted(((PARTS.index(part), part, column) for part, column in info.columns.items() if part in PARTS))
    said = [
        t(lang, "dataset.read_as_one", column=column, part=t(lang, f"dataset.part_{part}")) for _, part, column in parts
    ]
    renamed = any(part != column for _, part, column in parts)
    sentences = [t(lang, "dataset.read_as", columns=_joined(lang, said))] if renamed else []
    if info.shape in NOTED:
        sentences.append(t(lang, f"dataset.note_{info.shape}"))
    return " ".join(sentences)


def files_text(lang: str, info: DatasetInfo, limit: int = 20) -> str:
    """What was read of each of several files: `Read: train.jsonl (19 rows, for training), notes.txt (1 row)`."""
    found = [one for one in info.file_counts if len(info.file_counts) > 1 and one.get("kept")]
    said = [
        t(lang, f"dataset.file_{one['split']}" if one.get("split") else "dataset.file_one",
          name=one["name"], rows=f"{one['kept']:,}")
        for one in found[:limit]
    ]  # fmt: skip
    if len(found) > limit:
        said.append(t(lang, "dataset.files_more", count=f"{len(found) - limit:,}"))
    return t(lang, "dataset.files_read", names=_joined(lang, said)) if said else ""


def tasks_text(lang: str, info: DatasetInfo, task: str = LM) -> str:
    """Where a task can train only some of the rows, or none: how many, and what the others are for."""
    tasks = info.tasks
    rows = tasks.pop(task, 0)
    if rows >= info.kept:
        return ""
    counts = {"rows": f"{rows:,}", "kept": f"{info.kept:,}"}
    return t(lang, "dataset.not_all_trained", task=task, tasks=_joined(lang, list(tasks)), **counts)


def row_text(info: DatasetInfo, one: dict[str, Any], lang: str) -> str:
    """The number of a row that was left out, with its file's name where there are several."""
    file, row = one["params"].get("file"), f"{one['row']:,}"
    if not info.files or not isinstance(file, int) or not 0 <= file < len(info.files):
        return row
    return t(lang, "dataset.place", file=info.files[file], row=row)


def left_text(lang: str, info: DatasetInfo) -> list[str]:
    """A sentence for each file that came with the others and was not read."""
    problems = [one["problem"] for one in (*info.left_files, *info.file_counts) if one.get("problem")]
    return [problem_text(lang, Problem(one["code"], **one["params"])) for one in problems]


def unused_text(lang: str, info: DatasetInfo, limit: int | None = None) -> str:
    """`Not used: label (300 rows), meta.id (12 rows)`; empty where everything is used."""
    names = list(info.unused.items())
    said = [
        t(lang, "dataset.unused_one_row" if rows == 1 else "dataset.unused_one", name=name, rows=f"{rows:,}")
        for name, rows in names[:limit]
    ]
    if len(names) > len(said):
        said.append(t(lang, "dataset.unused_more", count=f"{len(names) - len(said):,}"))
    return t(lang, "dataset.unused", names=_joined(lang, said)) if said else ""


def _joined(lang: str, words: list[str]) -> str:
    return ("、" if lang == "zh-CN" else ", ").join(words)

"""Counts and reasons of a dataset in the reader's language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from estimator.problems import Problem
from studio.datasets.store import DatasetInfo
from studio.i18n import explain, t


def reason_text(lang: str, dropped: dict[str, Any]) -> str:
    """`{"reason", "params"}` as half a sentence; numbers get thousands separators."""
    params = {key: f"{value:,}" if isinstance(value, int) else value for key, value in dropped["params"].items()}
    return t(lang, f"dataset.reason_{dropped['reason']}", **params)


def problem_text(lang: str, problem: Problem) -> str:
    """A `Problem` of an upload; where it stems from one row's reason, that is said too."""
    sentence = explain(lang, problem)
    if "reason" in problem.params and isinstance(problem.params.get("params"), dict):
        why = reason_text(lang, {"reason": problem.params["reason"], "params": problem.params["params"]})
        sentence += " " + t(lang, "dataset.first_reason", row=problem.params["row"], reason=why)
    return sentence


def recognised_text(lang: str, info: DatasetInfo) -> str:
    """What the file was: shape, language, format with its encoding where that is not plain UTF-8."""
    file_format = Path(info.file_name).suffix.lstrip(".").upper() or "-"
    if info.encoding not in ("utf-8", "utf-8-sig", "parquet"):
        file_format += f" ({info.encoding.upper()})"
    shape, language = t(lang, f"dataset.shape_{info.shape}"), t(lang, f"dataset.language_{info.language}")
    return t(lang, "dataset.recognised", shape=shape, language=language, format=file_format)


def split_text(lang: str, info: DatasetInfo) -> str:
    key = "dataset.split" if info.eval_rows else "dataset.split_none"
    return t(lang, key, train=f"{info.train_rows:,}", eval=f"{info.eval_rows:,}")

"""`journal.jsonl`: one JSON object a line, appended by the worker and read by every page.

A line is written whole with one `write` and flushed, so that a kill leaves at most one torn line, which readers skip
and the next writer closes off. What a line of each kind holds stands in `KINDS`; all have `time`, epoch seconds. A line
that is none of these is skipped and counted, whatever it is: the file lies on a user's disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.disk.records import fits, parse

FILE_NAME = "journal.jsonl"
RESERVE_NAME = ".reserve"
RESERVE_BYTES = 64 * 1024
LONGEST_LINE_BYTES = 2**20
BLOCK_BYTES = 8 * 2**20
PHASES = ("preparing", "loading", "training", "evaluating", "saving")
ENDINGS = ("finished", "stopped", "failed")
MEASURES = ("cuda_allocated", "resident_growth")
SPLITS = ("train", "eval")
HELDOUT = ("base", "trained")
_NUMBER, _COUNT = float | None, int | None


def _is_problem(value: Any) -> bool:
    """What `Problem.from_dict` takes, or None."""
    return value is None or fits(dict, value) and fits(str, value.get("code")) and fits(dict, value.get("params", {}))


KINDS: dict[str, dict[str, Any]] = {
    # the page set a worker on the run, which has not spoken yet
    "launched": {},
    # the worker's first word: the step of the checkpoint it goes on from, or null
    "started": {"pid": _COUNT, "resume_from": _COUNT},
    # while rows are encoded: how many are, of how many
    "phase": {"name": PHASES, "total_steps": _COUNT, "done": _COUNT, "of": _COUNT, "seconds_left": _COUNT},
    "data": {"split": SPLITS, "kept": int, "dropped": int, "reasons": dict[str, int], "trained_tokens": int},
    # of the peak with the longest row there is; the upper end where it is a range
    "prediction": {"predicted_bytes": int, "high_bytes": _COUNT},
    "metrics": {
        "step": int,
        "loss": _NUMBER,
        "learning_rate": _NUMBER,
        "grad_norm": _NUMBER,
        "mean_token_accuracy": _NUMBER,
        "epoch": _NUMBER,
    },
    "eval": {"step": int, "eval_loss": _NUMBER},
    # what trains, once its files are here: all its parameters, and how many tokens its tokenizer has
    "base": {"parameters": int, "vocabulary": int},
    # the same rows of the validation split under the base alone, and under what was trained: mean loss of each per
    # trained token
    "heldout": {"weights": HELDOUT, "step": int, "losses": list[float], "tokens": list[int], "split_rows": int},
    "checkpoint": {"step": int},
    # of this attempt's steps, evaluations between them included
    "trained": {"seconds": float, "cpu_seconds": float},
    "memory": {"measured_bytes": int, "how": MEASURES},
    # with the problem's code and params when failed
    "ended": {"status": ENDINGS, "problem": _is_problem},
}
"""Values of each kind of line: a type (one that may be None may be missing too), the words allowed, or a test."""


class Journal:
    """The writing end. One process writes at a time: who holds the folder's lock."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE_NAME
        torn = path.exists() and path.stat().st_size > 0 and _last_byte(path) != b"\n"
        self._file = path.open("ab")
        if torn:
            self._file.write(b"\n")
        self._reserve = folder / RESERVE_NAME

    def write(self, kind: str, **values: object) -> None:
        if kind not in KINDS:
            raise ValueError(f"no kind of line: {kind}")
        line = json.dumps({"time": time.time(), "kind": kind, **values}, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def keep_reserve(self) -> None:
        """Take space for the last words. Random bytes, written now: a file system may store zeros as nothing, or
        later."""
        with self._reserve.open("wb") as file:
            file.write(os.urandom(RESERVE_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def release_reserve(self) -> None:
        """Give back the space kept for the last words: on a full disk there would be none to say so."""
        with contextlib.suppress(OSError):
            self._reserve.unlink()

    def close(self) -> None:
        self._file.close()


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


@dataclass
class Course:
    """What a journal says so far: the state a page draws. Points of an attempt that was resumed from an earlier step
    are dropped from that step on, so that a curve never runs backwards."""

    started_at: float | None = None
    resumed_from: int | None = None
    attempts: int = 0
    total_steps: int | None = None
    phase: str | None = None
    rows_read: dict[str, Any] | None = None
    """While rows are encoded: `done`, `of`, `seconds_left`."""
    ended: str | None = None
    problem: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evals: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    base: dict[str, Any] | None = None
    heldout: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By whose weights: `base`, `trained`."""
    predicted_bytes: int | None = None
    predicted_high_bytes: int | None = None
    measured_bytes: int | None = None
    measured_how: str | None = None
    trained_seconds: float | None = None
    trained_cpu_seconds: float | None = None
    last_time: float | None = None
    training_since: float | None = None
    training_from_step: int = 0
    skipped_lines: int = 0
    unreadable: Problem | None = None
    """`record.*`, where there is a journal and none of it can be read."""

    @property
    def step(self) -> int:
        return self.metrics[-1]["step"] if self.metrics else 0

    @property
    def seconds_left(self) -> float | None:
        """From the pace of this attempt; None before the second point."""
        done = self.step - self.training_from_step
        if self.training_since is None or not self.total_steps or done < 1:
            return None
        pace_s: float = (self.metrics[-1]["time"] - self.training_since) / done
        return max(0.0, (self.total_steps - self.step) * pace_s)

    def take(self, line: dict[str, Any]) -> None:
        """Add one line of the journal. Raises ValueError for one that says nothing in the form of its kind."""
        kinds = KINDS.get(line["kind"]) if isinstance(line.get("kind"), str) else None
        if (
            kinds is None
            or not fits(float, line.get("time"))
            or not all(_is(kind, line.get(name)) for name, kind in kinds.items())
        ):
            raise ValueError(line)
        self.last_time = line["time"]
        getattr(self, f"_take_{line['kind']}")(line)

    def _take_launched(self, line: dict[str, Any]) -> None:
        self.phase, self.ended, self.problem = None, None, None

    def _take_started(self, line: dict[str, Any]) -> None:
        self.started_at = self.started_at or line["time"]
        self.attempts += 1
        self.resumed_from = line.get("resume_from")
        self.phase, self.ended, self.problem, self.training_since = "preparing", None, None, None
        kept = self.resumed_from or 0
        self.metrics = [point for point in self.metrics if point["step"] <= kept]
        self.evals = [point for point in self.evals if point["step"] <= kept]
        self.checkpoints = [step for step in self.checkpoints if step <= kept]
        self.heldout.pop("trained", None)

    def _take_phase(self, line: dict[str, Any]) -> None:
        self.phase = line["name"]
        self.rows_read = line if line.get("of") and line.get("done") else None
        self.total_steps = line.get("total_steps") or self.total_steps
        if line["name"] == "training" and self.training_since is None:
            self.training_since, self.training_from_step = line["time"], self.step

    def _take_data(self, line: dict[str, Any]) -> None:
        self.data[line["split"]] = line

    def _take_prediction(self, line: dict[str, Any]) -> None:
        self.predicted_bytes, self.predicted_high_bytes = line["predicted_bytes"], line.get("high_bytes")

    def _take_metrics(self, line: dict[str, Any]) -> None:
        self.metrics.append(line)

    def _take_eval(self, line: dict[str, Any]) -> None:
        self.evals.append(line)

    def _take_base(self, line: dict[str, Any]) -> None:
        self.base = line

    def _take_heldout(self, line: dict[str, Any]) -> None:
        if len(line["losses"]) != len(line["tokens"]):
            raise ValueError(line)
        self.heldout[line["weights"]] = line

    def _take_checkpoint(self, line: dict[str, Any]) -> None:
        self.checkpoints.append(line["step"])

    def _take_memory(self, line: dict[str, Any]) -> None:
        self.measured_bytes, self.measured_how = line["measured_bytes"], line["how"]

    def _take_trained(self, line: dict[str, Any]) -> None:
        self.trained_seconds, self.trained_cpu_seconds = line["seconds"], line["cpu_seconds"]

    def _take_ended(self, line: dict[str, Any]) -> None:
        self.ended, self.problem = line["status"], line.get("problem")


def _is(kind: Any, value: Any) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    if kind is _is_problem:
        return kind(value)
    return fits(kind, value) and not (kind in (int, _COUNT) and (value or 0) < 0)


class Reader:
    """Follows one journal; each `course()` reads only what was added since the last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._begin()

    def _begin(self) -> None:
        self._offset, self._course, self._in_long_line = 0, Course(), False

    def course(self) -> Course:
        try:
            if not self._path.is_file():
                if self._path.exists():
                    self._course.unreadable = Problem("record.not_file", file=FILE_NAME)
                return self._course
            if self._path.stat().st_size < self._offset:
                self._begin()
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while self._take_block(file.read(BLOCK_BYTES)):
                    file.seek(self._offset)
            self._course.unreadable = None
        except OSError as error:
            self._course.unreadable = Problem(
                "record.unreadable", file=FILE_NAME, reason=error.strerror or type(error).__name__
            )
        return self._course

    def _take_block(self, block: bytes) -> bool:
        """Take the whole lines of a block; whether there may be more behind it."""
        whole = block[: block.rfind(b"\n") + 1]
        if not whole and len(block) == BLOCK_BYTES:  # no line of ours is so long
            self._course.skipped_lines += not self._in_long_line
            self._in_long_line = True
            whole = block
        else:
            self._take_lines(whole.split(b"\n")[:-1])
        self._offset += len(whole)
        return bool(whole)

    def _take_lines(self, lines: list[bytes]) -> None:
        for raw in lines:
            if self._in_long_line:  # its end; counted already
                self._in_long_line = False
                continue
            try:
                if len(raw) > LONGEST_LINE_BYTES:
                    raise ValueError(f"{len(raw)} bytes")
                line = parse(raw, FILE_NAME)
                if not isinstance(line, dict):
                    raise ValueError(line)
                self._course.take(line)
            except (ValueError, Problem):
                self._course.skipped_lines += 1

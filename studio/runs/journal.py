"""`journal.jsonl`: one JSON object a line, appended by the worker and read by every page.

A line is written whole with one `write` and flushed, so that a kill leaves at most one torn line, which readers skip and
the next writer closes off. Kinds of lines (all have `time`, epoch seconds):

  started     pid, resume_from (a checkpoint's step or null), total_steps
  phase       name: preparing, loading, training, evaluating, saving
  data        split, kept, dropped, reasons, longest_tokens, trained_tokens
  prediction  predicted_bytes of the peak with the longest row there is, longest_tokens
  metrics     step, loss, learning_rate, grad_norm, mean_token_accuracy, epoch
  eval        step, eval_loss
  checkpoint  step
  trained     seconds, cpu_seconds (of this attempt's steps, evaluations between them included)
  memory      measured_bytes, how ("cuda_allocated" or "resident_growth")
  ended       status: finished, stopped, failed; problem (code and params) when failed
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "journal.jsonl"
RESERVE_NAME = ".reserve"
RESERVE_BYTES = 64 * 1024


class Journal:
    """The writing end. One process writes at a time."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE_NAME
        torn = path.exists() and path.stat().st_size > 0 and _last_byte(path) != b"\n"
        self._file = path.open("ab")
        if torn:
            self._file.write(b"\n")
        self._reserve = folder / RESERVE_NAME
        self._reserve.write_bytes(b"\0" * RESERVE_BYTES)

    def write(self, kind: str, **values: Any) -> None:
        line = json.dumps({"time": time.time(), "kind": kind, **values}, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def release_reserve(self) -> None:
        """Give back the space kept for the last words: on a full disk there would be none to say so."""
        self._reserve.unlink(missing_ok=True)


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


@dataclass
class Course:
    """What a journal says so far: the state a page draws. Points of an attempt that was resumed from an earlier step are
    dropped from that step on, so that a curve never runs backwards."""

    started_at: float | None = None
    resumed_from: int | None = None
    attempts: int = 0
    total_steps: int | None = None
    phase: str | None = None
    ended: str | None = None
    problem: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evals: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    predicted_bytes: int | None = None
    measured_bytes: int | None = None
    measured_how: str | None = None
    trained_seconds: float | None = None
    trained_cpu_seconds: float | None = None
    last_time: float | None = None
    training_since: float | None = None
    training_from_step: int = 0
    skipped_lines: int = 0

    @property
    def step(self) -> int:
        return self.metrics[-1]["step"] if self.metrics else 0

    @property
    def seconds_left(self) -> float | None:
        """From the pace of this attempt; None before the second point."""
        done = self.step - self.training_from_step
        if self.training_since is None or not self.total_steps or done < 1:
            return None
        pace_s = (self.metrics[-1]["time"] - self.training_since) / done
        return max(0.0, (self.total_steps - self.step) * pace_s)

    def take(self, line: dict[str, Any]) -> None:
        """Add one line of the journal."""
        self.last_time = line["time"]
        getattr(self, f"_take_{line['kind']}", lambda _: None)(line)

    def _take_started(self, line: dict[str, Any]) -> None:
        self.started_at = self.started_at or line["time"]
        self.attempts += 1
        self.resumed_from = line.get("resume_from")
        self.phase, self.ended, self.problem, self.training_since = "preparing", None, None, None
        kept = self.resumed_from or 0
        self.metrics = [point for point in self.metrics if point["step"] <= kept]
        self.evals = [point for point in self.evals if point["step"] <= kept]
        self.checkpoints = [step for step in self.checkpoints if step <= kept]

    def _take_phase(self, line: dict[str, Any]) -> None:
        self.phase = line["name"]
        self.total_steps = line.get("total_steps", self.total_steps)
        if line["name"] == "training" and self.training_since is None:
            self.training_since, self.training_from_step = line["time"], self.step

    def _take_data(self, line: dict[str, Any]) -> None:
        self.data[line["split"]] = line

    def _take_prediction(self, line: dict[str, Any]) -> None:
        self.predicted_bytes = line["predicted_bytes"]

    def _take_metrics(self, line: dict[str, Any]) -> None:
        self.metrics.append(line)

    def _take_eval(self, line: dict[str, Any]) -> None:
        self.evals.append(line)

    def _take_checkpoint(self, line: dict[str, Any]) -> None:
        self.checkpoints.append(line["step"])

    def _take_memory(self, line: dict[str, Any]) -> None:
        self.measured_bytes, self.measured_how = line["measured_bytes"], line["how"]

    def _take_trained(self, line: dict[str, Any]) -> None:
        self.trained_seconds, self.trained_cpu_seconds = line["seconds"], line["cpu_seconds"]

    def _take_ended(self, line: dict[str, Any]) -> None:
        self.ended, self.problem = line["status"], line.get("problem")


class Reader:
    """Follows one journal; each `course()` reads only what was added since the last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._offset = 0
        self._course = Course()

    def course(self) -> Course:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return self._course
        if size < self._offset:
            self._offset, self._course = 0, Course()
        if size > self._offset:
            self._read_on()
        return self._course

    def _read_on(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            block = file.read()
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        for raw in whole.splitlines():
            try:
                line = json.loads(raw)
                self._course.take(line)
            except (ValueError, KeyError):
                self._course.skipped_lines += 1

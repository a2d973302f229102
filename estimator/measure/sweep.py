"""`make gpu-proof`: many recipes on this machine's GPU, into `presets/measurements/<gpu>.csv`.

One process a model measures its rows in turn, each with a model of its own, built and dropped again; what one row
leaves behind ends the process. The next model's process imports its libraries meanwhile. Rows with a result are not run
again, so an interrupted sweep goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.measure import sweep_table
from estimator.measure.sweep_recipes import DRY_RUN, SweepRow, sweep_rows
from estimator.model.catalog import presets_dir

SECONDS = 480
ROW_SECONDS = 120
"""A row that takes longer is ended and recorded as `too_slow`."""
MEASURED_STEPS = 2
LEFT_BYTES = 64 * 2**20
"""A process in which a row leaves more than this allocated measures no other row."""


class Worker:
    """A process that measures rows: a JSON line in, a JSON line out."""

    def __init__(self, device: str, log: Path, command: Sequence[str] | None = None) -> None:
        command = command or [sys.executable, "-m", "estimator.measure.sweep", "--worker", "--device", device]
        # On a CPU that others use too, threads that spin while they wait slow a step down many times.
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "HF_HUB_OFFLINE": "1"}
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                text=True,
                encoding="utf-8",
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer; None where none came in time. A process that ended answers with status `crashed`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        except OSError:  # a closed pipe
            line = ""
        if line:
            return json.loads(line)
        return {"status": "crashed", "reason": f"the process ended with {self.process.wait()}", "is_over": True}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Sweep:
    """One run of the sweep: the rows that have no result yet, until the time is spent."""

    device: str
    folder: Path
    seconds: float
    log: Path
    """What the measuring processes say, tracebacks of failed rows too."""
    began: float = field(default_factory=time.monotonic)
    counts: dict[str, int] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    worker: Worker | None = None
    following: Worker | None = None
    path: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def run(self, rows: list[SweepRow]) -> None:
        """Raises `Problem("measure.no_gpu")`."""
        try:
            self.worker = Worker(self.device, self.log)
            machine = self.worker.ask({"ask": "machine"}, max(self.left, ROW_SECONDS)) or {}
            if not machine.get("gpu"):
                raise Problem(
                    "measure.no_gpu",
                    field="device",
                    reason=machine.get("reason", "the measuring process did not start"),
                )
            self.path, self.versions = self.folder / f"{sweep_table.slug(machine['gpu'])}.csv", machine["versions"]
            done = sweep_table.resume(self.path, rows, self.versions)
            if done:
                print(f"{len(done)} rows are measured already: {self.path}")
            left = [row for row in rows if row.id not in done]
            groups = [list(group) for _, group in groupby(left, key=lambda row: row.recipe.model)]
            for number, group in enumerate(groups):
                self._group(group, is_last=number == len(groups) - 1)
        finally:
            for worker in (self.worker, self.following):
                if worker:
                    worker.close()

    def _group(self, rows: list[SweepRow], is_last: bool) -> None:
        self.worker, self.following = self.worker or self.following or Worker(self.device, self.log), None
        if not is_last and self.left > 0:
            self.following = Worker(self.device, self.log)
        for row in rows:
            if self.left <= 0:
                self.not_run.append(row.id)
                continue
            self.worker = self.worker or Worker(self.device, self.log)
            limit = min(self.left, ROW_SECONDS)
            answer = self.worker.ask({"recipe": row.recipe.to_dict(), "loop": row.loop, "steps": MEASURED_STEPS}, limit)
            if answer is None and limit < ROW_SECONDS:  # not the row's fault
                self.not_run.append(row.id)
            else:
                self._note(row, answer or {"status": "too_slow", "reason": f"no result in {ROW_SECONDS} s"})
            if answer is None or answer.get("is_over"):
                self._end_worker()
        self._end_worker()

    def _end_worker(self) -> None:
        if self.worker:
            self.worker.close()
        self.worker = None

    def _note(self, row: SweepRow, answer: dict[str, Any]) -> None:
        assert self.path is not None  # told with the machine
        sweep_table.append(self.path, sweep_table.line_of(row, {"versions": self.versions} | answer))
        status = answer["status"]
        self.counts[status] = self.counts.get(status, 0) + 1
        allocated, speed = answer.get("peak_allocated_bytes"), answer.get("steps_per_second")
        figures = [human_bytes(allocated)] if allocated else []
        figures += [f"{speed:.2f} steps/s"] if speed else []
        print(
            f"{time.monotonic() - self.began:6.1f} s  {row.id:44} {status:14} "
            f"{', '.join(figures) or answer.get('reason', '')}",
            flush=True,
        )


def serve(device: str) -> None:
    """The measuring process. Its stdout is for answers alone; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import torch  # noqa: F401  (while the process before still measures; nothing here touches the GPU)
    import transformers  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        answer = _machine(device) if request.get("ask") == "machine" else _measured(request, device)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if answer.get("is_over"):
            return


def _machine(device: str) -> dict[str, Any]:
    import torch

    from estimator.measure import measure

    try:
        measure.check_device(device)
    except Problem as problem:
        return {"gpu": None, "reason": problem.params["reason"]}
    return {"gpu": torch.cuda.get_device_name() if device == "cuda" else "cpu", "versions": measure.versions()}


def _measured(request: dict[str, Any], device: str) -> dict[str, Any]:
    """The measurement, or status `failed` and why; `is_over` where this process is not fit for another."""
    from estimator.hub.sources import open_model
    from estimator.measure import measure
    from estimator.measure.meter import forget
    from estimator.recipe.recipe import Recipe

    try:
        recipe = Recipe.from_dict(request["recipe"])
        made = measure.measure(
            recipe, open_model(recipe.model), loop=request["loop"], steps=request["steps"], device=device
        )
    except Exception as error:  # one row's failure is a line of the table, not the end of the sweep
        traceback.print_exc()
        return {
            "status": "failed",
            "reason": " ".join(f"{type(error).__name__}: {error}".split())[:300],
            "is_over": True,
        }
    return vars(made) | {"is_over": forget(device) > LEFT_BYTES}


def listing(rows: list[SweepRow]) -> Iterator[str]:
    for row in rows:
        r = row.recipe
        checkpointing = "checkpointing" if r.gradient_checkpointing else "-"
        evaluates = "evaluation" if r.eval_steps else "-"
        shape = f"B{r.per_device_train_batch_size} S{r.max_length:<5}"
        loop = f"{checkpointing:13} {r.attn_implementation:5} {r.optim:17} {evaluates:10} {row.loop}"
        yield f"{row.id:44} {r.model:26} {r.method:5} {shape} {loop}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m estimator.measure.sweep",
        description="Measure many recipes on this machine's GPU, into presets/measurements/<gpu>.csv.",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"start no row after this long, and end one that runs then (default {SECONDS})",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the table is kept (default: presets/measurements; of a dry run, a temporary folder)",
    )
    parser.add_argument("--list", action="store_true", help="print the recipes and stop; needs no GPU")
    parser.add_argument("--dry-run", action="store_true", help="a handful of rows of the tiny base")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu is for tests: a CPU gives no figures of a GPU"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 where a row failed for another reason than memory, 2 without a GPU."""
    options = build_parser().parse_args(argv)
    if options.worker:
        serve(options.device)
        return 0
    rows = sweep_rows(DRY_RUN) if options.dry_run else sweep_rows()
    if options.list:
        print("\n".join(listing(rows)))
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="lora-studio-"))
    folder = options.folder or (scratch if options.dry_run else presets_dir() / "measurements")
    sweep = Sweep(options.device, folder, options.seconds, scratch / "sweep.log")
    try:
        sweep.run(rows)
    except Problem as problem:
        print(f"gpu-proof: {problem}", file=sys.stderr)
        shutil.rmtree(scratch, ignore_errors=True)
        return 2
    counts = (
        ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sweep.counts.items()) or "nothing measured"
    )
    print(f"{counts}, in {time.monotonic() - sweep.began:.0f} s: {sweep.path}")
    if sweep.not_run:
        print(f"{len(sweep.not_run)} not run, the time was spent: {', '.join(sweep.not_run)}")
    failed = bool(set(sweep.counts) - set(sweep_table.FINISHED))
    if failed:
        print(f"what the processes said: {sweep.log}")
    elif folder != scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

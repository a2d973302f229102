"""The training worker: `python -m studio.workers.train <run folder>`.

Detached from the page. Reads the folder, trains with TRL's SFTTrainer, and writes everything it knows into the folder's
journal. Started on a folder that has complete checkpoints, it goes on from the last of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio.jobs import attempt
from studio.jobs.folder import RunFolder, checkpoint_step
from studio.jobs.journal import Journal, Reader
from studio.jobs.machine import this_machine
from studio.outlook.preflight import judge
from studio.space import Space

TELL_SECONDS, ASK_SECONDS = 2.0, 0.1


def train(run: RunFolder, journal: Journal) -> str:
    return Training(run, journal).run_all()


class Training:
    """One attempt at one run."""

    def __init__(self, run: RunFolder, journal: Journal) -> None:
        self.run, self.journal = run, journal
        self.recipe: Recipe = run.recipe()
        complete = run.complete_checkpoints()
        self.checkpoint = complete[-1] if complete else None
        resume_from = checkpoint_step(self.checkpoint) if self.checkpoint else None
        journal.write("started", pid=os.getpid(), resume_from=resume_from)
        for name in run.drop_incomplete_checkpoints():
            print(f"removed {name}: it was being written when the last attempt ended", file=sys.stderr)

    def run_all(self) -> str:
        """Load, train, save. Returns `finished` or `stopped`."""
        self.journal.write("phase", name="preparing")
        from estimator.hardware import devices
        from estimator.measure import loops
        from estimator.program import loading, program
        from studio.models.bases import open_base
        from studio.rendering import tasks
        from studio.training import memory

        device = program.device()
        devices.check_machine(self.recipe, device)
        folder = open_base(Space.default(), self.recipe.model)
        tokenizer = self._tokenizer(folder)
        try:
            train, evaluation, longest, padded = self._encode(tokenizer)
        except Problem as problem:
            if problem.code == "worker.cancelled":
                return "stopped"
            raise
        self._predict(folder, longest, padded)
        self._remember_base(folder)

        self.journal.write("phase", name="loading")
        loops.load_libraries()
        meter = memory.RunMeter(device)
        model = loading.load_base(self.recipe, folder, training=True, device=device)
        collator = tasks.rows_of(self.recipe.task).collator(tokenizer)
        trainer = self._trainer(program, model, tokenizer, train, evaluation, collator, meter, device)
        return self._train(trainer, tokenizer, meter)

    def _tokenizer(self, folder: Path) -> Any:
        """With the template and the date of the first attempt: another day or a newer template would make other
        rows."""
        from studio.rendering import chat_form, rendering

        kept = chat_form.read(self.run.path)
        tokenizer = rendering.load_tokenizer(
            folder, self.recipe.model, kept or chat_form.now(), self.recipe.chat_template
        )
        if kept is None:
            chat_form.write(self.run.path, tokenizer)
        return tokenizer

    def _remember_base(self, folder: Path) -> None:
        """Keep which base this run trains; a checkpoint is not put on another one. Raises
        `Problem("run.other_base")`."""
        from studio.models import fingerprints

        self.fingerprint = fingerprints.of(folder)
        if self.checkpoint and self.recipe.has_adapters:
            fingerprints.check(
                "run.other_base", self.run.path, self.fingerprint, self.run.info().name, self.recipe.model
            )
        fingerprints.write(self.run.path, self.recipe.model, self.fingerprint)

    def _encode(self, tokenizer: Any) -> tuple[Any, Any, int, bool]:
        """Rows to tokens, through the functions that made the preview, or as they were kept; the tokens of the longest,
        and whether rows differ."""
        import datasets

        from studio.rendering.kept import Encodings

        datasets.disable_caching()  # what TRL packs is a file of this process, not one beside what is kept
        space, info = Space.default(), self.run.facts().info
        kept_before = Encodings(space.datasets, space.cache)
        stopped, tell = now_and_then(self.run.stop_file.exists), partial(self._tell_rows, [0.0])
        encoded, longest, kept, tokens = [], 0, 0, 0
        for split in ("train", "eval"):
            rows, report = None, None
            if held := self.run.rows(split):
                whose = (held, info.dataset_id, info.fingerprint)
                rows, report = kept_before.rows(*whose, tokenizer, self.recipe, stopped, tell)
            if report:
                counts = {"rows_split" if name == "split" else name: value for name, value in report.items()}
                self.journal.write("data", **counts, split=split)  # there `split` is which rows these are
                longest = max(longest, report["longest"])
                kept, tokens = kept + report["examples"], tokens + report["tokens"]
            encoded.append(rows if rows is not None and len(rows) else None)
        if encoded[0] is None:
            raise Problem("run.no_rows", field="max_length", value=self.recipe.max_length)
        return (
            encoded[0],
            encoded[1],
            longest,
            self.recipe.packing or tokens < kept * longest,
        )  # packing leaves a last row

    def _tell_rows(self, told: list[float], event: dict[str, Any]) -> None:
        """How far the rows are, into the journal, now and then."""
        if time.monotonic() - told[0] > TELL_SECONDS:
            told[0] = time.monotonic()
            counts = {"done": event["done"], "of": event["of"], "seconds_left": round(event["seconds_left"])}
            self.journal.write("phase", name="preparing", **counts)

    def _predict(self, folder: Path, longest: int, padded: bool) -> None:
        """Judge the run once more, now that its model is here and its longest row known: batches are padded to that,
        not to `max_length`, unless rows are packed. A model from a hub is checked here for the first time."""
        from estimator.hub.sources import UncountedModel
        from estimator.model.spec import read_config
        from estimator.trace.meta_model import derive

        config = read_config(folder)
        model = UncountedModel(self.recipe.model, config).model(derive(config))
        row_tokens = self.recipe.max_length if self.recipe.packing else max(longest, FIELDS["max_length"].limits["low"])
        real = self.recipe.replace(max_length=row_tokens)
        prediction = judge(real, model, this_machine(), padded)
        self.judged = (real, model, padded)
        self.journal.write("base", parameters=model.inventory.total_parameters, vocabulary=model.spec.vocab_size)
        self.journal.write(
            "prediction",
            predicted_bytes=prediction.predicted_bytes,
            high_bytes=prediction.high_bytes,
            longest_tokens=longest,
        )

    def _trainer(self, program, model, tokenizer, train, evaluation, collator, meter, device) -> Any:
        from studio.training.heldout import Heldout
        from studio.training.reporting import Reporter

        args = program.sft_config(self.recipe, self.run.checkpoints, device=device, evaluates=evaluation is not None)
        reporter = Reporter(self.run, self.journal, self.recipe, meter)
        self.heldout = Heldout(self.run, self.journal, self.recipe, evaluation, collator) if evaluation else None
        callbacks = [*filter(None, [self.heldout]), reporter]  # the reporter's clock begins after the base is measured
        trainer = program.make_trainer(self.recipe, model, tokenizer, train, evaluation, args, collator, callbacks)
        if self.heldout:
            self.heldout.trainer = trainer
        return trainer

    def _train(self, trainer: Any, tokenizer: Any, meter: Any) -> str:
        if self.checkpoint and self.recipe.has_adapters:
            self._check_checkpoint(trainer.model)
        trainer.train(resume_from_checkpoint=str(self.checkpoint) if self.checkpoint else None)
        stopped = trainer.state.global_step < trainer.state.max_steps
        if self.heldout and not stopped:
            self.journal.write("phase", name="evaluating")
            if not _evaluated_last(trainer):
                trainer.evaluate()
            self.heldout.measure("trained")
        self.journal.write("memory", measured_bytes=meter.peak_bytes(), how=meter.how)
        self._calibrate(meter)
        if stopped:
            return "stopped"
        self.journal.write("phase", name="saving")
        self._save(trainer, tokenizer)
        self._note_learned()
        return "finished"

    def _note_learned(self) -> None:
        """What the run's record says of it afterwards, from its journal so far."""
        from studio.jobs.learned import learned

        course = Reader(self.run.path).course()
        course.ended = "finished"
        found = learned(self.recipe, course)
        if found:
            with contextlib.suppress(OSError):  # a full disk must not end a run that has trained
                self.run.add_learned(found.to_dict())

    def _check_checkpoint(self, model: Any) -> None:
        """The checkpoint's adapter is this recipe's, tensor by tensor, and no pickle. Raises `Problem`."""
        from studio.inference import adapter_files

        adapter_files.check_files(self.checkpoint, self.checkpoint.name)
        adapter_files.check_tensors("chat.adapter_tensors", model, "default", self.checkpoint, self.checkpoint.name)

    def _calibrate(self, meter: Any) -> None:
        """Keep the measured peak beside its estimate, for the error bars of later ones."""
        from estimator import estimate
        from estimator.estimates import calibration
        from estimator.estimates.parts import cpu_growth

        recipe, model, padded = self.judged
        if meter.how == "resident_growth":
            grown = cpu_growth(recipe, model=model, padded=padded)
            figures = (calibration.CPU, calibration.RESIDENT_GROWTH, grown.growth_bytes, meter.peak_bytes())
            engine = grown.engine
        else:
            made = estimate(recipe, model=model, padded=padded)
            figures = (meter.card, calibration.RESERVED, made.peak_reserved_bytes, meter.reserved_bytes())
            engine = made.engine
        with contextlib.suppress(OSError):  # a full disk must not end a run that has trained
            calibration.note([calibration.record_of(recipe, *figures, engine=engine)])

    def _save(self, trainer: Any, tokenizer: Any) -> None:
        """The result, renamed into place when it is whole, with the tokenizer and template it was trained with."""
        from studio.export import result
        from studio.inference import adapter_files
        from studio.models import fingerprints
        from studio.rendering import chat_form

        target = self.run.adapter if self.recipe.has_adapters else self.run.model
        building = target.with_name(f".{target.name}")
        shutil.rmtree(building, ignore_errors=True)
        try:
            use_average(trainer)
            # Not `trainer.save_model`: it adds the training arguments as a pickle, which nobody should have to open.
            model = trainer.accelerator.unwrap_model(trainer.model)
            adapter_files.save(model, building) if self.recipe.has_adapters else model.save_pretrained(building)
            tokenizer.save_pretrained(building)
            chat_form.write(building, tokenizer)
            if self.recipe.has_adapters:
                fingerprints.write(building, self.recipe.model, self.fingerprint)
            result.finish(building, self.run, self.recipe)
            shutil.rmtree(target, ignore_errors=True)
            building.rename(target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise


def now_and_then(asked: Callable[[], bool]) -> Callable[[], bool]:
    """A question to the disk that is asked for each row, ten times a second."""
    said, until = False, 0.0

    def answer() -> bool:
        nonlocal said, until
        if time.monotonic() > until:
            said, until = asked(), time.monotonic() + ASK_SECONDS
        return said

    return answer


def use_average(trainer: Any) -> None:
    """Of an optimizer that averages (schedulefree's) put the average into the weights: an evaluation does so, a run
    without one is left at the point where gradients are taken. Any other optimizer has no `eval`."""
    average = getattr(trainer.optimizer, "eval", None)
    if average:
        average()


def _evaluated_last(trainer: Any) -> bool:
    """Whether the last step was evaluated already."""
    last = next((entry for entry in reversed(trainer.state.log_history) if "eval_loss" in entry), None)
    return last is not None and last["step"] == trainer.state.global_step


if __name__ == "__main__":
    sys.exit(attempt.main(sys.argv[1:], train))

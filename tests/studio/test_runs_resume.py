"""Killed, stopped and resumed runs, with real worker processes. Resumed equals undisturbed, to the last bit."""

from __future__ import annotations

import filecmp
import time

import pytest

from estimator.estimates.calibration import CPU, RESIDENT_GROWTH, Calibration
from studio.jobs.folder import COMPLETE
from studio.jobs.supervisor import Supervisor
from studio.jobs.train import TrainJob
from studio.space import Space
from tests.studio.chat_models import make_base
from tests.studio.run_helpers import ended, kill, losses, make_dataset, small_recipe, until


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def undisturbed(base, tmp_path_factory):
    """One finished 4-bit run to compare with; dropout makes it depend on the random state too."""
    root = tmp_path_factory.mktemp("undisturbed")
    (root / "runs").mkdir()
    runs = Supervisor(Space(root))
    view = runs.start(TrainJob(small_recipe(base, lora_dropout=0.1), make_dataset(root / "data")))
    return until(runs, view.id, ended)


def test_a_run_finishes_with_a_curve_evaluations_and_an_adapter(undisturbed):
    course = undisturbed.course
    assert undisturbed.status == "finished"
    assert [step for step, _ in losses(undisturbed)] == list(range(1, 13))
    assert losses(undisturbed)[-1][1] < losses(undisturbed)[0][1]
    assert [point["step"] for point in course.evals] == [4, 8, 12]
    base, trained = course.heldout["base"], course.heldout["trained"]
    assert (base["step"], trained["step"], base["split_rows"]) == (0, 12, 6) and base["tokens"] == trained["tokens"]
    mean = sum(n * loss for n, loss in zip(trained["tokens"], trained["losses"])) / sum(trained["tokens"])
    assert mean == pytest.approx(course.evals[-1]["eval_loss"], rel=1e-5), "the trainer's own loss, row by row"
    assert undisturbed.learned.kind == undisturbed.info.learned["kind"] != "not_measured"
    assert course.data["train"]["kept"] == 40 and course.data["eval"]["kept"] == 6
    assert course.measured_bytes > 0 and course.measured_how == "resident_growth"
    kept = [path.name for path in undisturbed.run.complete_checkpoints()]
    assert kept == ["checkpoint-8", "checkpoint-12"]  # save_total_limit = 2
    names = {path.name for path in undisturbed.run.adapter.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


def test_the_first_measurement_is_the_base_alone(undisturbed, base):
    """The very loss of the base as it is quantized, without the adapters in the model."""
    import torch

    from estimator.program import loading
    from studio.rendering import rendering

    model = loading.load_base(undisturbed.recipe, base, training=True).eval()
    tokenizer = rendering.load_tokenizer(base)
    rows, _ = rendering.encode_rows(undisturbed.run.rows("eval"), tokenizer, undisturbed.recipe)
    with torch.no_grad():
        alone = [model(**rendering.collator(tokenizer)([row])).loss.item() for row in rows]
    assert undisturbed.course.heldout["base"]["losses"] == pytest.approx(alone, rel=1e-4)


def test_killed_before_the_first_checkpoint_it_begins_again_and_equals(undisturbed, base, tmp_path):
    runs = Supervisor(Space.default())
    view = runs.start(TrainJob(undisturbed.recipe, make_dataset(tmp_path / "data")))
    view = until(runs, view.id, lambda v: v.course.step >= 1)
    kill(view)
    view = until(runs, view.id, ended)
    assert view.status == "interrupted"
    assert view.course.step >= 1 and not view.run.complete_checkpoints()
    assert view.resumable and not view.has_result
    view = until(runs, runs.resume(view.id).id, ended)
    assert view.course.attempts == 2 and view.course.resumed_from is None
    _assert_equal(view, undisturbed)
    (record,) = Calibration.of(CPU).records  # of the attempt that trained to the end
    assert (record.figure, record.measured_bytes) == (RESIDENT_GROWTH, view.course.measured_bytes)


def test_killed_while_a_checkpoint_is_written_it_resumes_from_the_last_complete_one(undisturbed, base, tmp_path):
    runs = Supervisor(Space.default())
    view = runs.start(TrainJob(undisturbed.recipe, make_dataset(tmp_path / "data")))
    writing = view.run.checkpoints / "checkpoint-8"
    until(runs, view.id, lambda v: _appears(writing, within_s=1.0) or not v.active, pause_s=0)
    kill(view)
    view = until(runs, view.id, ended)
    assert view.status == "interrupted"
    assert writing.exists() and not (writing / COMPLETE).exists(), "the kill came too late to show anything"
    assert [path.name for path in view.run.complete_checkpoints()] == ["checkpoint-4"]
    before = losses(view)
    assert before[-1][0] >= 7  # the curve is kept
    view = until(runs, runs.resume(view.id).id, ended)
    assert view.course.resumed_from == 4
    _assert_equal(view, undisturbed)


def test_stopped_it_saves_and_resumes_from_there(undisturbed, base, tmp_path):
    runs = Supervisor(Space.default())
    view = runs.start(TrainJob(undisturbed.recipe.replace(max_steps=12, save_steps=0), make_dataset(tmp_path / "data")))
    until(runs, view.id, lambda v: v.course.step >= 2)
    runs.stop(view.id)
    view = until(runs, view.id, ended)
    assert view.status == "stopped" and 2 <= view.course.step < 12
    assert view.course.checkpoints == [view.course.step]
    view = until(runs, runs.resume(view.id).id, ended)
    _assert_equal(view, undisturbed)


def _appears(path, within_s: float) -> bool:
    """Looked for every half millisecond: the moment is short, and to read a run's journal each time is work."""
    deadline = time.monotonic() + within_s
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.0005)
    return path.exists()


def _assert_equal(view, undisturbed):
    """The same losses at every step and the same bytes in the adapter: same data order, same random state."""
    assert view.status == "finished", view.course.problem
    assert losses(view) == losses(undisturbed)
    rows = [[run.course.heldout[weights]["losses"] for weights in ("base", "trained")] for run in (view, undisturbed)]
    assert rows[0] == rows[1]
    name = "adapter_model.safetensors"
    assert filecmp.cmp(view.run.adapter / name, undisturbed.run.adapter / name, shallow=False)

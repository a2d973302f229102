"""The journal: torn lines, resumed attempts, time left."""

from __future__ import annotations

import json

import pytest

from studio.jobs.journal import FILE_NAME, Course, Journal, Reader


def test_what_is_written_is_read(tmp_path):
    journal = Journal(tmp_path)
    journal.write("started", pid=1, resume_from=None)
    journal.write("phase", name="training", total_steps=10)
    journal.write("metrics", step=1, loss=2.5)
    journal.write("eval", step=1, eval_loss=2.0)
    journal.write("memory", measured_bytes=123, how="resident_growth")
    course = Reader(tmp_path).course()
    assert (course.phase, course.total_steps, course.step, course.measured_bytes) == ("training", 10, 1, 123)
    assert course.evals[0]["eval_loss"] == 2.0 and course.ended is None


@pytest.mark.parametrize("torn", [b"{", b'{"time": 1, "kind": "metr', "半".encode()[:2]])
def test_a_line_torn_by_a_kill_costs_that_line_only(tmp_path, torn):
    Journal(tmp_path).write("metrics", step=1, loss=1.0)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(torn)
    assert Reader(tmp_path).course().step == 1
    Journal(tmp_path).write("metrics", step=2, loss=0.5)
    course = Reader(tmp_path).course()
    assert [point["step"] for point in course.metrics] == [1, 2] and course.skipped_lines == 1


def test_a_reader_reads_only_what_is_new_and_equals_a_fresh_one(tmp_path):
    reader, journal = Reader(tmp_path), Journal(tmp_path)
    for step in range(1, 6):
        journal.write("metrics", step=step, loss=1 / step)
        reader.course()
    assert reader.course() == Reader(tmp_path).course()


def test_a_resumed_attempt_takes_back_the_points_after_its_checkpoint(tmp_path):
    journal = Journal(tmp_path)
    for step in (1, 2, 3):
        journal.write("metrics", step=step, loss=step)
    journal.write("checkpoint", step=2)
    journal.write("ended", status="failed", problem={"code": "run.crashed", "params": {}})
    journal.write("started", pid=2, resume_from=2)
    course = Reader(tmp_path).course()
    assert [point["step"] for point in course.metrics] == [1, 2]
    assert (course.ended, course.problem, course.resumed_from, course.checkpoints) == (None, None, 2, [2])


def test_time_left_is_the_pace_of_this_attempt(tmp_path):
    course = Course()
    lines = [
        {"time": 0, "kind": "started", "resume_from": 10},
        {"time": 100, "kind": "phase", "name": "training", "total_steps": 20},
    ]
    course.metrics = [{"time": 0, "step": 10, "loss": 1.0}]
    for line in lines:
        course.take(line)
    assert course.seconds_left is None
    course.take({"time": 108, "kind": "metrics", "step": 12, "loss": 1.0})
    assert course.seconds_left == pytest.approx((20 - 12) * 8 / 2)


def test_nothing_that_is_no_number_gets_into_the_journal(tmp_path):
    with pytest.raises(ValueError):
        Journal(tmp_path).write("metrics", step=1, loss=float("nan"))
    json.loads((tmp_path / FILE_NAME).read_text() or "null")

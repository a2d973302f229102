"""A damaged run is a row that says what is wrong; every other run, and every tab, goes on. What another version wrote
is named."""

from __future__ import annotations

import json
import os
import re
import zipfile
from dataclasses import asdict
from html import unescape
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.export.result import zip_folder
from studio.i18n import LANGUAGES, explain
from studio.inference.choice import Choice
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.journal import FILE_NAME, Course, Journal, Reader
from studio.jobs.supervisor import Supervisor
from studio.space import Space
from studio.web import app
from studio.widgets.run_view import run_view
from studio.widgets.runs_table import comparison, runs_table
from studio.widgets.runs_table import settings as settings_table
from tests.studio.requests import HERE

RECIPE = Recipe(model="org/base")


def make_run(id: str, ended: str = "stopped") -> RunFolder:
    """A run with a curve and an adapter."""
    run = RunFolder(Space.default().runs / id)
    run.adapter.mkdir(parents=True)
    (run.path / "train.jsonl").write_text("{}\n")
    run.write_start(RunInfo(id, f"named {id}", 1.0, "d", "data", "f"), RECIPE)
    journal = Journal(run.path)
    journal.write("started", pid=1, resume_from=None)
    journal.write("phase", name="training", total_steps=4)
    for step in (1, 2):
        journal.write("metrics", step=step, loss=1 / step)
    journal.write("ended", status=ended)
    return run


@pytest.fixture(scope="module")
def page():
    """The whole page, unserved: its handlers by name, and what they share."""
    blocks, shared = app.build(Space.default())
    return (
        {fn.fn.__name__: fn.fn for fn in blocks.fns.values() if fn.fn},
        shared,
        [fn.fn for fn in blocks.fns.values() if fn.fn],
    )


def everywhere(page, id: str) -> str:
    """What the tabs show with this run chosen: none of their handlers fails. The Runs tab's HTML."""
    _, shared, functions = page
    shared.runs = Supervisor(Space.default())
    look_runs, look_train, choices, open_run = (
        next(f for f in functions if f.__name__ == name and f.__module__ == f"studio.{module}")
        for name, module in (
            ("look", "tabs.runs"),
            ("look", "tabs.train"),
            ("_choices", "tabs.chat"),
            ("open_run", "web.frame"),
        )
    )
    shown = look_runs(id, None, "", HERE)
    look_train(id, "", HERE), look_train(None, "", HERE)
    choices(None, id, None, HERE)
    open_run(HERE)
    return unescape("".join(str(part) for part in shown.values()))


def broken(name: str, content: bytes | str | None):
    def damage(run: RunFolder) -> None:
        path = run.path / name
        path.unlink()
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def folder_instead(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()
    (run.path / name).mkdir()


def pipe_instead(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()
    os.mkfifo(run.path / name)


def with_field(name: str, field: str, value: object):
    def damage(run: RunFolder) -> None:
        path = run.path / name
        path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))

    return damage


CONTENTS = {
    "empty": b"", "blanks": b" \n", "missing": None, "torn": b'{"id": "x", "na', "list": b"[1]", "null": b"null",
        "text": b'"x"', "number": b"7",
    "deep": b"[" * 100_000, "zeros": b"\0" * 4096, "binary": bytes(range(256)),
        "half a surrogate": b'{"name": "\\ud800"}', "too large": b" " * (5 << 20),
    "a number of 5,000 digits": b'{"id": ' + b"9" * 5000 + b"}",
}  # fmt: skip
FIELDS = {
    "run.json": [("name", 5), ("name", None), ("created", "now"), ("created", float("nan")), ("created", 1e300),
        ("created", -1), ("created", True),
                 ("created", 10**400), ("predicted_bytes", "much"), ("versions", []), ("dataset_name", {})],
    "recipe.json": [("method", "of another version"), ("r", -1), ("r", "x"), ("r", 10**400), ("r", float("inf")),
        ("model", None), ("model", ""), ("rank_pattern", {"q": []}),
                    ("trainable_token_indices", [-1]), ("target_modules", {}), ("use_dora", 1)],
}  # fmt: skip
DAMAGES = {f"{name}: {what}": (name, broken(name, content)) for name in FIELDS for what, content in CONTENTS.items()}
DAMAGES |= {
    f"{name}: a folder": (name, lambda run, name=name: folder_instead(run, name)) for name in (*FIELDS, FILE_NAME)
}
DAMAGES |= {f"{name}: a pipe": (name, lambda run, name=name: pipe_instead(run, name)) for name in (*FIELDS, FILE_NAME)}
DAMAGES |= {
    f"{name}: {field} {str(value)[:20]}": (name, with_field(name, field, value))
    for name, fields in FIELDS.items()
    for field, value in fields
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_is_a_row_that_says_what_is_wrong(page, name, damage):
    run, good = make_run("bad"), make_run("good")
    damage(run)
    shown = everywhere(page, "bad")
    views = {view.id: view for view in Supervisor(Space.default()).list()}
    view = views["bad"]
    assert view.status == "damaged" and not view.resumable and not view.active
    for language in LANGUAGES:
        (sentence,) = {explain(language, fault) for fault in view.faults}
        assert name in sentence and not re.search(r"\{\w+\}", sentence)
        assert sentence in unescape(runs_table(language, [view], None)) and sentence in unescape(
            run_view(language, view)
        )
    assert explain("en", view.faults[0]) in shown and "Delete it, or download its folder" in shown
    assert views["good"].status == "stopped" and views["good"].resumable and views["good"].course.step == 2
    runs = Supervisor(Space.default())
    with pytest.raises(Problem) as refused:
        runs.resume("bad")
    assert refused.value.code == view.faults[0].code
    runs.delete("bad")
    assert [v.id for v in runs.list()] == [good.id]
    assert runs.restore("bad").damaged


PIDS = [b"", b"[]", b'{"pid": "1"}', b'{"pid": -1, "start_ticks": 0}', b'{"pid": 1e400, "start_ticks": 5}',
    b'{"pid": 0, "start_ticks": 1}',
        b'{"pid": 99999999999999999999, "start_ticks": 1}', b'{"pid": 1, "start_time": 5.0, "attempt": 1}',
        b"[" * 100_000, b"\xff\xfe"]  # fmt: skip


@pytest.mark.parametrize("content", PIDS)
def test_a_broken_record_of_the_process_takes_nothing_from_the_run(page, content):
    run = make_run("run")
    (run.path / "process.json").write_bytes(content)
    everywhere(page, "run")
    view = Supervisor(Space.default()).get("run")
    assert (view.status, view.resumable, view.faults) == ("stopped", True, ())


LINES = [b"[]", b"null", b"7", b'"x"', b"{}", b'{"kind": "metrics"}', b'{"time": 1, "kind": []}',
    b'{"time": 1, "kind": "metrics", "step": "x"}',
         b'{"time": 1, "kind": "metrics", "step": 3, "loss": "low"}', b'{"time": 1, "kind": "metrics", "step": NaN}',
         b'{"time": 1, "kind": "metrics", "step": 3, "loss": Infinity}',
         b'{"time": 1, "kind": "metrics", "step": -5}', b'{"time": 1, "kind": "metrics", "step": 1' + b"0" * 400 + b"}",
         b'{"time": "x", "kind": "ended", "status": "finished"}',
         b'{"time": 1, "kind": "ended", "status": "of another '
         b'version"}', b'{"time": 1, "kind": "ended", "status": "failed", "problem": "x"}',
         b'{"time": 1, "kind": "ended", "status": "failed", "problem": '
         b'{}}', b'{"time": 1, "kind": "phase", "name": "dreaming"}', b'{"time": 1, "kind": "phase", "name": '
         b'["training"]}',
         b'{"time": 1, "kind": "phase", "name": "training", "total_steps": '
         b'"many"}', b'{"time": 1, "kind": "data", "split": "train"}',
         b'{"time": 1, "kind": "data", "split": "train", "kept": 1, "dropped": 1, "reasons": ["x"], '
         b'"trained_tokens": 1}', b'{"time": 1, "kind": "memory", "measured_bytes": {}, "how": "guessed"}',
         b'{"time": 1, "kind": "of_another_version"}', b'{"time": 1, "kind": "take"}', b"[" * 100_000,
             bytes(range(1, 10)) + bytes(range(11, 256)), b"\0" * 10_000, b"x" * (2 << 20),
         b"x" * (20 << 20), b'{"time": 1, "kind": "phase", "name": "\\ud800"}']  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=lambda line: repr(line[:60]))
def test_a_line_of_the_journal_that_says_nothing_is_counted_and_no_more(page, line):
    run = make_run("run")
    whole = Reader(run.path).course()
    content = (run.path / FILE_NAME).read_bytes().splitlines(keepends=True)
    (run.path / FILE_NAME).write_bytes(b"".join(content[:3]) + line + b"\n" + b"".join(content[3:]))
    shown = everywhere(page, "run")
    course = Reader(run.path).course()
    assert course.skipped_lines == 1 and "1 lines of journal.jsonl could not be read" in shown
    course.skipped_lines = 0
    assert course == whole
    assert Supervisor(Space.default()).get("run").resumable


def test_a_problem_of_another_version_in_the_journal_is_shown_with_its_code(page):
    run = make_run("run")
    with (run.path / FILE_NAME).open("a") as file:
        problem = {"code": "run.of_another_version", "params": {"allowed": ["x"], "step": None}}
        file.write(json.dumps({"time": 1, "kind": "ended", "status": "failed", "problem": problem}) + "\n")
    assert "run.of_another_version" in everywhere(page, "run")


@pytest.mark.parametrize("name", ["run.json", "recipe.json"])
def test_a_field_of_another_version_is_named_and_the_run_is_shown_but_not_resumed(page, name):
    run = make_run("run")
    with_field(name, "of_another_version", 1)(run)
    shown = everywhere(page, "run")
    view = Supervisor(Space.default()).get("run")
    assert view.status == "stopped" and view.course.step == 2 and view.recipe == RECIPE
    assert f"{name}: the field of_another_version of another version is not known here" in shown
    with pytest.raises(Problem, match="of_another_version"):
        Supervisor(Space.default()).resume("run")
    if name == "recipe.json":  # which says what its weights are weights of
        with pytest.raises(Problem, match="of_another_version"):
            Choice.of(Space.default(), {"run_id": "run"})


def test_an_older_version_knew_fewer_fields():
    run = make_run("run")
    for name, kept in (
        ("recipe.json", {"model": "org/base", "method": "lora"}),
        (
            "run.json",
            {"id": "run", "name": "old", "created": 1.0, "dataset_id": "d", "dataset_name": "n", "fingerprint": "f"},
        ),
    ):
        (run.path / name).write_text(json.dumps(kept))
    view = Supervisor(Space.default()).get("run")
    assert view.recipe == Recipe(model="org/base", method="lora") and view.resumable and view.name == "old"


WRITTEN_BY = sorted((Path(__file__).parent / "runs_of").iterdir())
"""Records as released versions wrote them, by version: 0.1.0 before there was a number."""
ADDED = {"kind": "train", "place": "here"}
"""Fields that later versions of `run.json` have, and what they mean where they are not said."""
ADDED_TO_RECIPES = {"chat_template": "own"}
"""The same of `recipe.json`."""


@pytest.mark.parametrize("written", WRITTEN_BY, ids=lambda folder: folder.name)
def test_records_of_a_released_version_are_read_whole_and_stay_readable(written):
    run = make_run("run")
    for name in ("run.json", "recipe.json"):
        (run.path / name).write_bytes((written / name).read_bytes())
    of_info, of_recipe = (json.loads((written / name).read_text()) for name in ("run.json", "recipe.json"))
    facts = run.facts()
    assert not facts.faults and asdict(facts.info) == ADDED | of_info
    assert facts.recipe.to_dict() == ADDED_TO_RECIPES | of_recipe
    assert Supervisor(Space.default()).get("run").resumable
    run.add_learned({"verdict": "other"})
    run.write_start(run.info(), run.recipe())
    assert json.loads((run.path / "run.json").read_text()) == {
        "format": 1,
        **ADDED,
        **of_info,
        "learned": {"verdict": "other"},
    }
    assert json.loads((run.path / "recipe.json").read_text()) == {
        "format": 1,
        **ADDED_TO_RECIPES,
        **of_recipe,
    }


@pytest.mark.parametrize("number", [2, 10**400, 0, -1, True, 1.0, "1", None, [1]], ids=lambda value: str(value)[:9])
@pytest.mark.parametrize("name", ["run.json", "recipe.json"])
def test_a_newer_format_is_refused_with_a_sentence_and_the_file_stays(page, name, number):
    run = make_run("run")
    with_field(name, "format", number)(run)
    with_field(name, "of_another_version", 1)(run)
    before = (run.path / name).read_bytes()
    shown = everywhere(page, "run")
    assert (
        f"{name}: its format is " in shown
        and "this version reads format 1. Open it with the version that wrote it" in shown
    )
    assert "of_another_version" not in shown  # what its fields mean is not known
    with pytest.raises(Problem, match="its format is"):
        Supervisor(Space.default()).resume("run")
    run.add_learned({"verdict": "learned"})
    assert (run.path / name).read_bytes() == before and run.result
    with zipfile.ZipFile(zip_folder(run)) as archive:
        assert archive.read(name) == before


def test_a_run_whose_rows_are_gone_says_so_when_it_is_resumed():
    run = make_run("run")
    (run.path / "train.jsonl").unlink()
    with pytest.raises(Problem, match="rows.arrow is missing"):
        Supervisor(Space.default()).resume("run")


def test_the_folder_of_a_damaged_run_can_be_taken_away(page):
    run = make_run("bad")
    broken("run.json", b"")(run)
    (run.path / "elsewhere").symlink_to("/etc")
    os.utime(run.log if run.log.exists() else run.path / "train.jsonl", (0, 0))  # a zip begins in 1980
    with zipfile.ZipFile(zip_folder(run)) as archive:
        assert {"run.json", "recipe.json", "train.jsonl", FILE_NAME} <= set(archive.namelist())
        assert not any("elsewhere" in name for name in archive.namelist())


def test_a_damaged_run_is_compared_with_nothing_lost():
    broken("recipe.json", b"")(make_run("bad"))
    good = make_run("good")
    views = [Supervisor(Space.default()).get(id) for id in ("bad", good.id)]
    assert "org/base" in comparison("en", views) and "named bad" in settings_table("en", views[0]) + runs_table(
        "en", views, None
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values, st.sampled_from(list(RunInfo.__dataclass_fields__)), st.sampled_from(list(RECIPE.to_dict())))
def test_no_value_of_any_field_disables_the_list(home, value, of_info, of_recipe):
    run = RunFolder(Space.default().runs / "run")
    if not run.path.exists():
        make_run("run")
    run.write_start(RunInfo("run", "named", 1.0, "d", "data", "f"), RECIPE)
    with_field("run.json", of_info, value)(run)
    with_field("recipe.json", of_recipe, value)(run)
    (view,) = Supervisor(Space.default()).list()
    for language in LANGUAGES:
        (runs_table(language, [view], "run") + run_view(language, view) + settings_table(language, view)).encode()


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "step",
                "loss",
                "name",
                "total_steps",
                "status",
                "problem",
                "split",
                "reasons",
                "kept",
                "measured_bytes",
                "how",
                "resume_from",
            ]
        ),
        json_values,
    ),
    st.sampled_from(["started", "phase", "metrics", "ended", "data", "memory", "checkpoint", "launched"]),
)
def test_a_line_is_taken_or_refused_whatever_it_holds(values, kind):
    course, same = Course(), Course()
    try:
        course.take({"time": 1.0, "kind": kind, **values})
    except ValueError:
        assert course == same

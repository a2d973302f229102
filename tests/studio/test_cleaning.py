"""Cleaning steps: what they find, what they leave, and that counts add up."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from estimator.core.problems import Problem
from studio.datasets.cleaning.record import Choice
from studio.datasets.cleaning.report import Report
from studio.datasets.cleaning.run import apply, files_of, look
from studio.datasets.cleaning.steps import STEPS, defaults
from studio.datasets.ingest import ingest, run
from studio.datasets.samples import samples
from studio.datasets.store import DatasetStore
from studio.datasets.words import reason_text
from studio.i18n import LANGUAGES, strings
from studio.protocol.serve import Request
from studio.space import Space
from studio.workers import read
from tests.studio.dataset_helpers import chat

SAMPLES = [one for one in samples() if one.shape == "alpaca" and one.format == "jsonl"]
SYLLABLES = "ka ri mo ten sul ver ba lo qui ne dra fo hin per wa tu".split()
ENGLISH = ["".join(random.Random(at).choices(SYLLABLES, k=2 + at % 3)) for at in range(1_500)]
CHINESE = [chr(0x4E00 + 7 * at) for at in range(2_000)]
LONG = "It says enough to be read as a document of some length, which is what the shortest ones are asked to be here."


def text(said: str, row: int = 1) -> dict:
    return {"text": said, "row": row}


def seen(rows, step: str, action: str = "", **options) -> dict:
    """What one step reports."""
    return look(rows, [Choice(step, action, options)]).steps[0]


@pytest.fixture
def store(tmp_path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: one.id)
def test_a_clean_file_raises_no_alarm(sample, store):
    info = run(ingest(store, sample.path))
    report = look(info.rows(), defaults(), files=files_of(info))
    assert report.doubtful == {} and report.kept == report.rows == info.kept
    with pytest.raises(Problem, match="No new version"):
        apply(store, info.id, defaults())
    assert len(store.list()) == 1


def test_every_step_and_reason_is_said_in_both_languages():
    modules = (path.read_text(encoding="utf-8") for path in Path("studio/datasets/cleaning").glob("*.py"))
    sources = [text for text in modules if "Verdict" in text or "Find" in text]
    for lang in LANGUAGES:
        for step in STEPS.values():
            assert f"cleaning.step_{step.name}" in strings(lang) and f"cleaning.step_{step.name}_help" in strings(lang)
            assert all(f"cleaning.option_{name}" in strings(lang) for name in step.options)
            assert all(f"cleaning.action_{action}" in strings(lang) for action in step.actions)
    reasons = [key.removeprefix("cleaning.reason_") for key in strings("en") if key.startswith("cleaning.reason_")]
    whole = "\n".join(sources)
    for reason in reasons:
        assert f'"{reason}"' in whole or reason.startswith(("short_", "empty_")), f"{reason} is said of no row"
    said = re.findall(r'\("([a-z_]+)", \{|"([a-z_]+)", "\[[A-Z]+\]"|yield .*, "([a-z_]+)"$', whole, re.MULTILINE)
    assert len(said) > 10 and {name for names in said for name in names if name} <= {*reasons, "too_long"}


def planted(words: list[str], joint: str, chance: random.Random, rows: int) -> tuple[list[dict], dict[int, int]]:
    """Rows, and for each planted copy the row it was made of: one word in forty is another."""
    said, copies = [], {}
    for _ in range(rows):
        said.append((chance.choices(words, k=60), chance.choices(words, k=60)))
    for at in chance.sample(range(rows), rows // 10):
        made = tuple([chance.choice(words) if chance.random() < 0.025 else word for word in turn] for turn in said[at])
        copies[len(said)] = at
        said.append(made)
    return [chat(*(joint.join(turn) for turn in one)) | {"row": at + 1} for at, one in enumerate(said)], copies


@pytest.mark.parametrize(("words", "joint"), [(ENGLISH, " "), (CHINESE, "")], ids=["en", "zh"])
def test_planted_copies_are_found_and_the_first_stays(words, joint):
    rows, copies = planted(words, joint, random.Random(7), 300)
    found = seen(rows, "near_duplicates")
    assert found.dropped >= 0.9 * len(copies)
    assert set(found.places) <= set(copies)
    assert all(group[0].at in copies.values() and group[0].similarity == 1 for group in found.groups)


def test_what_is_about_something_else_is_no_copy():
    def asked(subject: str, number: str) -> dict:
        return chat(
            f"Could you tell me what the fare from the harbour to {subject} is on a working day in the winter?",
            f"On a working day in the winter the fare from the harbour to {subject} is {number} crowns, paid on board.",
        )

    rows = [asked("Peltor", "12"), asked("Wentor", "12"), asked("Peltor", "14")]
    assert seen(rows, "near_duplicates").touched == 0
    assert seen([*rows, asked("Peltor", "12")], "exact_duplicates").places == [3]


def test_many_questions_on_one_text_are_no_copies():
    context = " ".join(random.Random(3).choices(ENGLISH, k=200))
    rows = [
        {"question": question, "context": context, "row": at + 1, "answers": {"text": [answer], "answer_start": [0]}}
        for at, (question, answer) in enumerate([("Who counted the lamps of it?", "women"), ("What left?", "the ship")])
    ]
    assert seen(rows, "near_duplicates").touched == 0


def test_what_leaks_into_held_out_rows_is_left_out_of_training():
    rows = [chat(f"{LONG} {name}", LONG * 2) | {"row": at} for at, name in enumerate(["one", "two", "three", "one"])]
    splits = np.array([0, 0, 0, 1], np.int8)
    found = look(rows, [Choice("exact_duplicates"), Choice("leaks")], splits=splits)
    exact, leaks = found.steps
    assert exact.touched == 0 and 0 in leaks.places and 3 not in leaks.places
    assert leaks.samples[0].params["of"] == "3"


def test_a_new_version_has_what_is_left_and_the_old_one_stays(store):
    said = [f"{LONG} It is number {number} of its kind." for number in range(20)]
    said += [said[3], "short", f"{LONG} Write to jane.doe@post-office.org today."]
    rows = [text(one, at + 1) for at, one in enumerate(said)]
    info = store.add("mine", rows, eval_share=0.0)
    made = apply(store, info.id, [*defaults(), Choice("emails", "mask")])
    assert made.parent == info.id and made.kept + made.dropped == made.read == info.kept
    assert made.reasons == {"exact_duplicate": 1, "short_text": 1} and made.changed == 1
    assert [one["row"] for one in made.dropped_rows()] == [21, 22]
    assert all(reason_text(lang, one) != one["reason"] for one in made.dropped_rows() for lang in LANGUAGES)
    (masked,) = [row for row in made.rows() if "[EMAIL]" in row["text"]]
    assert masked["row"] == 23 and [row for row in made.rows() if row is not masked][:20] == list(info.rows()[:20])
    counts = {change["step"]: change["counts"]["touched"] for change in made.changes}
    assert counts["exact_duplicates"] == counts["empty"] == counts["emails"] == 1 and counts["phones"] == 0
    assert store.get(info.id).kept == 23


def test_a_dropped_row_is_named_with_its_file(store, tmp_path):
    files = []
    for name in ("a", "b"):
        files.append((tmp_path / f"{name}.jsonl", f"{name}.jsonl"))
        files[-1][0].write_text(json.dumps({"text": LONG}) + "\n", encoding="utf-8")
    info = run(ingest(store, files, eval_share=0.0))
    made = apply(store, info.id, [Choice("exact_duplicates")])
    (dropped,) = made.dropped_rows()
    assert dropped["params"]["file"] == 1 and dropped["params"]["of"] == "a.jsonl: 1"


def test_a_look_is_told_as_json_and_ends_when_it_is_stopped():
    rows = [text(LONG, 1), text("", 2)]
    report = look(rows, defaults())
    assert Report.from_json(json.loads(json.dumps(report.as_json()))) == report

    def stop() -> None:
        raise Problem("dataset.cleaning_cancelled", file="mine")

    with pytest.raises(Problem, match="cancelled"):
        look(rows, defaults(), stop)


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        (Choice("wash"), "unknown_step"),
        (Choice("empty", "mask"), "step_action"),
        (Choice("empty", options={"words": 1}), "step_option"),
        (Choice("empty", options={"text_characters": -1}), "step_value"),
        (Choice("empty", options={"text_characters": True}), "step_value"),
        (Choice("near_duplicates", options={"similarity": float("nan")}), "step_value"),
    ],
)
def test_what_a_step_does_not_have_is_refused(choice, code):
    with pytest.raises(Problem) as caught:
        look([text(LONG)], [choice])
    assert caught.value.code == f"dataset.{code}"


def test_the_reading_worker_looks_and_cleans_and_is_cancelled(home):
    space = Space.default()
    rows = [text(LONG, 1), text(LONG, 2), text(LONG[::-1], 3)]
    info = DatasetStore(space.datasets, space.trash).add("mine", rows, "text", 0.0)
    params = {"dataset_id": info.id, "steps": [{"step": "exact_duplicates", "action": "warn"}]}
    report = Report.from_json(json.loads(json.dumps(read.look(params, Request(1)))))
    assert report.doubtful == {"exact_duplicates": 1} and report.kept == 3
    assert read.clean({"dataset_id": info.id}, Request(2))["kept"] == 2
    cancelled = Request(3)
    cancelled.cancel()
    with pytest.raises(Problem, match="cancelled"):
        read.clean(params, cancelled)
    assert len(DatasetStore(space.datasets, space.trash).list()) == 2

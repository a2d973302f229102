"""Whether a run learned: figures against references, each verdict and each setting from a journal that has it."""

from __future__ import annotations

import json
import math
import random
from statistics import fmean

import pytest

from estimator.recipe.recipe import Recipe
from studio.i18n import LANGUAGES, explain
from studio.jobs.journal import Course
from studio.jobs.learned import compare, learned, number, student_t
from studio.models.find import EMBEDDED_ID

GOOD = {"model": EMBEDDED_ID, "learning_rate": 2e-3, "r": 16, "lora_alpha": 32, "dtype": "float32"}


def heldout(weights: str, losses: list[float], tokens: list[int] | None = None) -> dict:
    tokens = tokens or [10] * len(losses)
    return {"kind": "heldout", "weights": weights, "step": 9, "losses": losses, "tokens": tokens, "split_rows": 99}


def course(
    *lines: dict, rows: int = 200, steps: int = 60, losses: tuple[float, ...] = (3.0, 1.0), epochs: float = 3.0
) -> Course:
    """A finished run's."""
    data = {"dropped": 0, "reasons": {}, "trained_tokens": 9}
    made = Course()
    for line in [
        {"kind": "base", "parameters": 3_672_320, "vocabulary": 2048},
        {"kind": "data", "split": "train", "kept": rows, **data},
        {"kind": "phase", "name": "training", "total_steps": steps},
        *lines,
        *(
            {"kind": "metrics", "step": steps - len(losses) + n, "loss": x, "epoch": epochs}
            for n, x in enumerate(losses, 1)
        ),
        {"kind": "ended", "status": "finished"},
    ]:
        made.take({"time": 1.0, **line})
    return made


def verdict(before: list[float], after: list[float], **changes) -> str:
    return learned(Recipe(**GOOD), course(heldout("base", before), heldout("trained", after), **changes)).kind


@pytest.mark.parametrize(("degrees", "known"), [(4, 2.7764), (5, 2.5706), (9, 2.2622), (29, 2.0452), (63, 1.9983)])
def test_students_t_is_the_tables(degrees, known):
    assert student_t(degrees) == pytest.approx(known, rel=1e-3)


def test_the_means_are_per_token_and_not_per_row():
    found = compare(heldout("base", [1.0, 4.0], [90, 10]), heldout("trained", [1.0, 2.0], [90, 10]))
    assert (found.first_loss, found.second_loss) == pytest.approx((1.3, 1.1)) and found.gain == pytest.approx(0.2)
    assert (found.better_rows, found.low) == (1, None)


def test_the_interval_is_that_of_paired_differences():
    """Rows of equal length: the textbook's paired t. What both weights find hard about a row does not widen it."""
    first, second = [1.0, 9.0, 2.0, 30.0, 4.0, 11.0], [0.6, 8.5, 1.5, 29.4, 3.7, 10.4]
    gains = [a - b for a, b in zip(first, second)]
    spread = math.sqrt(sum((gain - fmean(gains)) ** 2 for gain in gains) / 5 / 6)
    found = compare(heldout("base", first), heldout("trained", second))
    assert (found.low, found.high) == pytest.approx(
        (fmean(gains) - 2.5706 * spread, fmean(gains) + 2.5706 * spread), rel=1e-3
    )


def test_the_interval_holds_the_truth_as_often_as_it_says():
    draw = random.Random(0)
    held = 0
    for _ in range(2000):
        tokens = [draw.randint(5, 60) for _ in range(12)]
        after = [draw.gauss(2.0, 0.5) for _ in tokens]
        before = [loss + draw.gauss(0.1, 0.3) for loss in after]
        found = compare(heldout("base", before, tokens), heldout("trained", after, tokens))
        held += found.low <= 0.1 <= found.high
    assert 0.92 <= held / 2000 <= 0.97


def test_rows_that_are_not_the_same_are_not_compared():
    assert compare(heldout("base", [1.0, 2.0], [3, 4]), heldout("trained", [1.0, 2.0], [4, 3])) is None


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ([2.0, 2.1, 1.9, 2.2, 2.0, 2.1], [1.0, 1.2, 0.9, 1.1, 1.0, 1.2], "better"),
        ([2.0, 2.1, 1.9, 2.2, 2.0, 2.1], [1.97, 2.06, 1.87, 2.17, 1.96, 2.07], "little"),
        ([11.8, 11.9, 11.7, 11.6, 12.0], [11.5, 11.6, 11.4, 11.3, 11.7], "far"),
        ([1.0, 1.2, 0.9, 1.1, 1.0], [2.0, 2.1, 1.9, 2.2, 2.0], "worse"),
        ([2.0, 2.1, 1.9, 2.2, 2.0], [1.0, 3.1, 0.9, 3.2, 2.0], "unclear"),
        ([2.0, 2.1, 1.9, 2.2, 2.0], [2.0, 2.1, 1.9, 2.2, 2.0], "unclear"),
        ([2.0, 2.1, 1.9, 2.2], [0.1, 0.1, 0.1, 0.1], "few"),
        ([2.0], [0.1], "few"),
    ],
)
def test_each_verdict_comes_of_the_rows(before, after, kind):
    assert verdict(before, after) == kind


def test_only_what_carries_over_is_green():
    good = learned(Recipe(**GOOD), course(heldout("base", [2.0] * 6), heldout("trained", [1.0] * 6)))
    assert good.tone == "good" and not good.settings
    for kind in ([11.8] * 6, [11.5] * 6), ([1.0] * 6, [2.0] * 6), ([2.0], [0.1]):
        assert learned(Recipe(**GOOD), course(heldout("base", kind[0]), heldout("trained", kind[1]))).tone != "good"


def test_what_nobody_measured_is_said():
    assert learned(Recipe(**GOOD), course()).kind == "no_validation"
    evaluated = {"kind": "eval", "step": 60, "eval_loss": 1.25}
    older = learned(Recipe(**GOOD), course(evaluated))
    assert older.kind == "not_measured" and "1.25" in str(older.verdict) and older.heldout is None
    assert learned(Recipe(**GOOD), course(heldout("base", [2.0] * 9), evaluated)).kind == "not_measured"
    unfinished = course(heldout("base", [2.0] * 9))
    unfinished.ended = "stopped"
    assert learned(Recipe(**GOOD), unfinished) is None


def notes(found) -> dict[str, str]:
    return {note.code.split(".")[1]: str(note) for note in (*found.facts, *found.settings)}


def test_the_documents_tutorial_ends_in_what_it_is():
    """r 8, lora_alpha 32, learning rate 1e-4, a dozen rows in a language the base hardly knows: measured on the
    embedded base."""
    tutorial = Recipe(
        **GOOD | {"r": 8, "method": "lora", "learning_rate": 1e-4, "lora_alpha": 32, "gradient_accumulation_steps": 4}
    )
    said = learned(
        tutorial,
        course(heldout("base", [11.9, 11.8]), heldout("trained", [11.6, 11.6]), rows=12, steps=9, losses=(11.9, 11.6)),
    )
    assert said.kind == "few" and said.tone == "open"
    found = notes(said)
    assert (
        "11.86" not in found["foreign"] and "2,048" in found["foreign"] and number(math.log(2048)) in found["foreign"]
    )
    assert "archipelago" in found["base_embedded"] and "among" not in found
    assert "32 / 8 = 4" in found["scale_high"] and "12 rows" in found["few_rows"] and "9 steps" in found["few_steps"]
    assert "10 times below" in found["rate_low"]


@pytest.mark.parametrize(
    ("changes", "made", "code"),
    [
        ({"learning_rate": 0.2}, {}, "rate_high"),
        ({"learning_rate": 1.0, "method": "lora"}, {}, "rate_high"),
        ({"learning_rate": 2e-3, "method": "full"}, {}, "rate_high"),
        ({"learning_rate": 1e-6}, {}, "rate_low"),
        ({"r": 8, "lora_alpha": 32}, {}, "scale_high"),
        ({"r": 64, "lora_alpha": 16}, {}, "scale_low"),
        ({}, {"rows": 12}, "few_rows"),
        ({}, {"epochs": 30.0}, "many_passes"),
        ({}, {"steps": 9}, "few_steps"),
        ({"max_steps": 30}, {"epochs": 0.2, "steps": 30}, "part_seen"),
        ({"warmup_steps": 100}, {"steps": 60}, "all_warmup"),
        ({"lora_dropout": 0.5}, {}, "dropout"),
    ],
)  # fmt: skip
def test_a_setting_that_stands_out_is_named_and_nothing_else(changes, made, code):
    found = learned(Recipe(**GOOD | changes), course(**made))
    assert [note.code for note in found.settings] == [f"setting.{code}"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"r": 8, "lora_alpha": 8},
        {"use_rslora": True, "r": 8, "lora_alpha": 64},
        {"warmup_steps": 10_000, "lr_scheduler_type": "constant"},  # none is done
        {"method": "full", "learning_rate": 2e-4, "lora_alpha": 999},
    ],
)
def test_usual_settings_are_passed_over(changes):
    assert learned(Recipe(**GOOD | changes), course()).settings == ()


def test_the_same_learning_rate_is_judged_by_the_size_of_the_base():
    large = course()
    large.base = {"parameters": 8_030_261_248, "vocabulary": 128_256}
    assert [n.code for n in learned(Recipe(**GOOD | {"model": "meta-llama/Llama-3.1-8B"}), large).settings] == [
        "setting.rate_high"
    ]
    assert learned(Recipe(**GOOD | {"model": "meta-llama/Llama-3.1-8B", "learning_rate": 2e-4}), large).settings == ()


def test_rows_learned_by_heart_and_trained_too_long_are_said():
    evals = [{"kind": "eval", "step": step, "eval_loss": loss} for step, loss in ((20, 1.0), (40, 1.4), (60, 1.9))]
    said = notes(
        learned(
            Recipe(**GOOD),
            course(*evals, heldout("base", [2.0] * 6), heldout("trained", [1.9] * 6), losses=(2.0, 0.01)),
        )
    )
    assert "0.01" in said["by_heart"].replace("0.010", "0.01") and "step 20 (1.00)" in said["past_best"]


@pytest.mark.parametrize("value", [0.0, 0.00344, 0.0996, 0.999, 1.0, 11.8645, -0.0344, -2.5, 1e-9])
def test_numbers_keep_two_figures(value):
    assert float(number(value)) == pytest.approx(value, rel=0.05, abs=1e-6)


def test_both_languages_fill_every_sentence_and_the_record_is_json():
    after = ([1.0] * 6, [2.01] * 6, [1.96] * 6, [5.0] * 6, [1.0, 3.0, 1.0, 3.0, 2.0, 2.0], [1.0])
    for losses in after:
        found = learned(
            Recipe(**GOOD | {"learning_rate": 1.0, "lora_alpha": 500}),
            course(heldout("base", [2.0] * len(losses)), heldout("trained", list(losses)), rows=9, steps=5),
        )
        for lang in LANGUAGES:
            for note in (found.verdict, *found.facts, *found.settings):
                assert "{" not in explain(lang, note)
        assert json.loads(json.dumps(found.to_dict()))["verdict"][0]["text"] == str(found.verdict)

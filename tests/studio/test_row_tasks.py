"""How rows become tokens and batches is read of the recipe's task."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from estimator.recipe.recipe import Recipe
from estimator.recipe.tasks import CAUSAL_LM, TASKS
from studio.datasets.store import DatasetStore
from studio.rendering import painted, rendering, tasks
from studio.rendering.row_tokens import Dropped, Encoded
from tests.studio.dataset_helpers import CHATML, base_folder, chat


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(base_folder(str(tmp_path_factory.mktemp("tasks") / "base"), CHATML))


def test_every_task_says_how_rows_are_read():
    assert set(tasks.ROW_TASKS) == set(TASKS)


def test_another_task_encodes_and_batches_its_own_way(base, tmp_path, monkeypatch):
    """Every row a single token that says how many turns it had; the batch paints them all as trained."""
    other = dataclasses.replace(CAUSAL_LM, name="turns")
    monkeypatch.setattr(Recipe, "task", property(lambda self: other))

    def encode(tokenizer, rows, recipe, cancelled):
        for row in rows:
            turns = len(row["messages"])
            one = Encoded(input_ids=[turns], labels=[turns], offsets=[(0, 1)], text="x")
            yield row, [one] if turns > 1 else Dropped("no_answer", {})

    monkeypatch.setitem(tasks.ROW_TASKS, "turns", tasks.RowTask(encode, ("labels",), lambda tokenizer: None))
    rows = [{"row": 1, **chat("Hello?", "Yes.")}, {"row": 2, "messages": [{"role": "user", "content": "alone"}]}]
    made, report = rendering.encode_rows(rows, rendering.load_tokenizer(Path(base)), Recipe(model=base))
    assert made.column_names == ["labels"] and made["labels"][:] == [[2]]
    assert report["kept"] == 1 and report["reasons"] == {"no_answer": 1}


def test_the_preview_paints_what_the_tasks_own_collator_makes(base, tmp_path, monkeypatch):
    info = DatasetStore(tmp_path / "datasets").add("x", [chat("Hello?", "Yes.")] * 2, eval_share=0)
    tokenizer, recipe = rendering.load_tokenizer(Path(base)), Recipe(model=base, max_length=64)
    (plain, *_) = painted.shown(info, tokenizer, recipe, [0])
    whole = tasks.ROW_TASKS[CAUSAL_LM.name]

    def all_ignored(tokenizer):
        def collate(examples):
            batch = whole.collator(tokenizer)(examples)
            return batch | {"labels": batch["labels"].fill_(-100)}

        return collate

    monkeypatch.setitem(tasks.ROW_TASKS, CAUSAL_LM.name, dataclasses.replace(whole, collator=all_ignored))
    (ignored, *_) = painted.shown(info, tokenizer, recipe, [0])
    assert plain["trained"] > 0 and ignored["trained"] == 0

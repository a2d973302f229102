"""`lora-studio dataset clean|card|mix`, and the report card that one of them prints."""

from __future__ import annotations

import json
import re

import pytest

from studio.__main__ import main
from studio.datasets.cleaning.card import as_markdown, card_of
from studio.datasets.cleaning.record import Choice
from studio.datasets.cleaning.run import apply
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.i18n import LANGUAGES
from studio.space import Space

LONG = "It says enough to be read as a document of some length, which is what the shortest ones are asked to be here."
TEXTS = [f"{LONG} <b>Row</b> {number} says so." for number in range(10)]


@pytest.fixture
def store(home) -> DatasetStore:
    return DatasetStore(Space.default().datasets)


@pytest.fixture
def info(store) -> DatasetInfo:
    said = [*TEXTS, TEXTS[0], "short", f"{LONG} Write to jane.doe@post-office.org."]
    return store.add("my [file]", [{"text": one, "row": at + 1} for at, one in enumerate(said)], "text", 0.0)


def test_a_stored_dataset_is_cleaned_and_told(store, info, capsys):
    assert main(["dataset", "clean", info.id, "--step", "empty", "--step", "emails=mask", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parent"] == info.id and told["kept"] == 12 and told["reasons"] == {"short_text": 1}
    assert [change["options"]["action"] for change in told["changes"]] == ["drop", "mask"]
    assert main(["dataset", "clean", told["id"], "--lang", "zh-CN"]) == 0
    assert "完全重复（去掉）：找到 1 行" in capsys.readouterr().out
    assert main(["dataset", "card", store.list()[0].id]) == 0
    card = capsys.readouterr().out
    for words in ("Exact duplicates (leave out): 1 found", "it has 5 characters", "E-mail addresses (mask)"):
        assert words in card
    assert len(store.list()) == 3


def test_files_are_built_and_cleaned_in_one_go(store, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": one}) + "\n" for one in [*TEXTS, "short"]), encoding="utf-8")
    option = ["--option", "empty.text_characters=200"]
    assert main(["dataset", "clean", str(file), "--step", "empty", *option]) == 2
    assert "Nothing is left" in capsys.readouterr().err
    assert main(["dataset", "clean", str(file), "--step", "empty"]) == 0
    assert "10 rows, 1 left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clean", "nowhere.jsonl"], "neither a stored dataset nor a file"),
        (["clean", "ID", "--step", "wash"], "no step wash"),
        (["clean", "ID", "--step", "empty=mask"], "cannot do mask"),
        (["clean", "ID", "--option", "empty=3"], "NAME.OPTION=VALUE"),
        (["clean", "ID", "--option", "near_duplicates.similarity=much"], "allowed: 0.5–1"),
        (["clean", "ID", "--step", "too_long"], "tokenizer"),
        (["clean", "ID", "--step", "refusals"], "No new version"),
        (["card", "nothing"], "no longer there"),
        (["mix", "ID=much", "--name", "x"], "ID=WEIGHT"),
        (["mix", "ID=0", "--name", "x"], "over 0"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(store, info, capsys, arguments, said):
    assert main(["dataset", *(one.replace("ID", info.id) for one in arguments)]) == 2
    assert said.replace("ID", "") in capsys.readouterr().err.replace(info.id, "") or said == "no longer there"
    assert [one.id for one in store.list()] == [info.id]


def test_datasets_are_mixed_by_weight(store, info, capsys):
    other = store.add("other", [{"text": TEXTS[1], "row": 1}], "text", 0.0)
    assert main(["dataset", "mix", f"{info.id}=1", f"{other.id}=3", "--name", "both", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "both" and told["kept"] == info.kept + 3
    card = as_markdown("en", card_of(store, told["id"]))
    assert re.search(r"Mixed of .*× 1, other × 3", card)


def test_a_check_says_what_is_doubtful(tmp_path, capsys, home):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": one}) + "\n" for one in [*TEXTS, TEXTS[0]]), encoding="utf-8")
    assert main(["dataset", "check", str(file)]) == 0
    assert "Doubtful: Exact duplicates: 1 found; row 11: it is the same as row 1" in capsys.readouterr().out
    assert main(["dataset", "check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["doubtful"]["exact_duplicates"]["rows"] == 1


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_card_tells_the_whole_chain_and_escapes_what_users_wrote(store, info, lang):
    made = apply(store, apply(store, info.id, [Choice("empty")]).id, [Choice("exact_duplicates")])
    card = card_of(store, made.id)
    assert [one.kept for one in card.chain] == [13, 12, 11] and card.is_whole
    assert card.dropped == {"short_text": 1, "exact_duplicate": 1}
    assert sum(card.dropped.values()) + card.info.kept == card.first.kept
    assert card.trained.rows == card.trained.of_rows == 11 and card.trained.characters == card.trained.of_characters
    assert card.report.doubtful == {"emails": 1}
    page = as_markdown(lang, card)
    assert r"my \[file\]" in page and len(page.splitlines()) < 60
    assert json.loads(json.dumps(card.as_json()))["report"]["rows"] == 11
    store.delete(info.id)
    assert not card_of(store, made.id).is_whole

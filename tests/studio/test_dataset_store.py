"""A dataset is there whole or not at all, can be deleted and undone, and no word of a page reaches the file system."""

from __future__ import annotations

import builtins
import errno
import json
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from studio.datasets import draft, splits, versions
from studio.datasets import rows as stored_rows
from studio.datasets.splits import eval_rows
from studio.datasets.store import DatasetStore
from studio.datasets.text import safe_name
from studio.space import Space
from tests.studio.dataset_helpers import chat


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


def rows(count):
    return [{"messages": chat(f"question {i}", f"answer {i}")["messages"]} for i in range(count)]


def test_what_was_added_can_be_read(store):
    info = store.add("first", rows(20), eval_share=0.25, seed=7)
    assert store.get(info.id) == info and store.list() == [info]
    assert (info.kept, info.train_rows, info.eval_rows) == (20, 15, 5)
    read = [*info.rows("train"), *info.rows("eval")]
    assert sorted(row["row"] for row in read) == list(range(1, 21))
    assert {row["row"]: row["messages"][1]["content"] for row in read}[20] == "answer 19"
    assert sorted(file.name for file in info.folder.iterdir()) == [
        "dropped.jsonl",
        "meta.json",
        "rows.arrow",
        "splits.npy",
    ]


def test_newest_first_and_without_a_split(store):
    older, newer = store.add("older", rows(2)), store.add("newer", rows(3), eval_share=0)
    assert [info.name for info in store.list()] == ["newer", "older"]
    assert not newer.rows("eval") and newer.train_rows == 3
    assert len(older.rows("eval")) == older.eval_rows == 1


def test_delete_and_undo(store):
    info = store.add("kept", rows(4))
    store.delete(info.id)
    assert store.list() == []
    with pytest.raises(Problem) as caught:
        store.get(info.id)
    assert caught.value.code == "dataset.gone"
    assert store.restore(info.id) == info and store.list() == [info]
    with pytest.raises(Problem):
        store.restore(info.id)


@pytest.mark.parametrize("id", ["../runs", "", "20260101-000000-ffffff/../x", None, 7, "20260101-000000-ffffff"])
def test_unknown_ids_are_gone_and_nothing_else(store, id):
    for method in (store.get, store.delete, store.restore):
        with pytest.raises(Problem) as caught:
            method(id)
        assert caught.value.code == "dataset.gone"


def test_an_exception_half_way_leaves_nothing(store):
    def failing():
        yield from rows(3)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        store.add("broken", failing())
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("code, problem", [(errno.ENOSPC, "storage.full"), (errno.EROFS, "storage.unwritable")])
@pytest.mark.parametrize("moment", ["open", "write", "rename"])
def test_a_disk_that_refuses_leaves_nothing_and_says_so(store, monkeypatch, code, problem, moment):
    before = store.add("before", rows(2))

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    if moment == "rename":
        monkeypatch.setattr(draft.Path, "rename", refuse)
    elif moment == "open":
        monkeypatch.setattr(draft.Path, "mkdir", refuse)
    else:
        monkeypatch.setattr(stored_rows.Writer, "write", refuse)
    with pytest.raises(Problem) as caught:
        store.add("lost", rows(2), eval_share=0)
    monkeypatch.undo()
    assert caught.value.code == problem and os.strerror(code) in str(caught.value)
    assert [path.name for path in store.root.iterdir()] == [before.id]


def test_a_full_disk_is_noticed_when_the_buffer_is_written(store, monkeypatch):
    """/dev/full takes what is written into the buffer and refuses when it is flushed."""
    real = builtins.open

    def full(self, mode="r", **words):
        return real("/dev/full" if self.name == "rows.arrow" and "w" in mode else self, mode, **words)

    monkeypatch.setattr(draft.Path, "open", full)
    with pytest.raises(Problem) as caught:
        store.add("lost", rows(2), eval_share=0)
    assert caught.value.code == "storage.full"
    assert list(store.root.iterdir()) == []


def test_drafts_of_a_killed_worker_are_swept_but_never_listed(store):
    left = store.root / ".20260101-000000-abcdef.partial"
    left.mkdir(parents=True)
    (left / "rows.arrow").write_bytes(b"half")
    assert store.list() == []
    store.sweep()
    assert left.exists()
    os.utime(left, (0, 0))
    store.sweep()
    assert not left.exists()


DAMAGES = {
    "empty": b"", "torn": b'{"name": "x', "a list": b"[]", "deep": b"[" * 100_000, "binary": bytes(range(256)),
        "zeros": b"\0" * 4096, "a part": b'{"name": "x"}',
    "another version's shape": {"shape": "of_another_version"}, "another version's field": {"of_another_version": 1},
    "a date": {"created": float("nan")},
    "a count": {"kept": "many"}, "reasons": {"reasons": []},
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_dataset_is_named_with_what_is_wrong_and_can_be_deleted_and_the_others_stay(store, damage):
    info, good = store.add("x", rows(2)), store.add("good", rows(3))
    meta = info.folder / "meta.json"
    content = damage if isinstance(damage, bytes) else json.dumps({**json.loads(meta.read_text()), **damage}).encode()
    meta.write_bytes(content)
    assert store.list() == [good]
    ((id, problem),) = store.damaged().items()
    assert id == info.id and problem.code.startswith("record.") and "meta.json" in str(problem)
    if isinstance(damage, dict):
        assert next(iter(damage)) in str(problem)
    with pytest.raises(Problem) as caught:
        store.get(info.id)
    assert caught.value.code == problem.code
    assert store.name(info.id) == info.id
    store.delete(info.id)
    assert store.damaged() == {} and store.list() == [good]


def test_a_dataset_without_its_rows_or_its_meta_is_damaged(store):
    first, second = store.add("x", rows(2)), store.add("y", rows(2))
    (first.folder / "rows.arrow").unlink()
    (second.folder / "meta.json").unlink()
    assert {str(problem) for problem in store.damaged().values()} == {
        "rows.arrow is missing.",
        "meta.json is missing.",
    }


def test_a_dataset_of_an_older_version_takes_defaults_for_what_it_did_not_know(store):
    info = store.add("x", rows(2))
    meta = json.loads((info.folder / "meta.json").read_text())
    (info.folder / "meta.json").write_text(
        json.dumps({key: value for key, value in meta.items() if key not in ("columns", "unused")})
    )
    assert store.list()[0].unused == {} and store.damaged() == {}


MESSAGE = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "tool"]), st.text())
CALL = st.fixed_dictionaries({"name": st.text(), "arguments": st.dictionaries(st.text(), st.integers() | st.text())})
CALLING = st.builds(lambda message, call: {**message, "tool_calls": [call]}, MESSAGE, CALL)
CONTENT = st.one_of(
    st.fixed_dictionaries({"text": st.text()}),
    st.fixed_dictionaries({"messages": st.lists(MESSAGE)}),
    st.fixed_dictionaries({"messages": st.lists(MESSAGE, min_size=1), "tools": st.lists(CALL)}),
    st.fixed_dictionaries({"messages": st.lists(MESSAGE | CALLING)}),
)  # fmt: skip


@given(CONTENT)
def test_rows_are_written_as_json_writes_them(content):
    """Plain rows take a shorter way to the same letters."""
    stored, canonical = draft._written(content)
    assert stored == json.dumps(content, ensure_ascii=False)
    assert canonical == json.dumps(content, ensure_ascii=False, sort_keys=True)


def test_the_fingerprint_is_of_the_rows_and_of_nothing_else(store):
    one, same = store.add("a", rows(5)), store.add("b", rows(5), eval_share=0.5, seed=1, shape="alpaca")
    other = store.add("a", rows(6))
    assert one.fingerprint == same.fingerprint != other.fingerprint


@given(st.integers(0, 400), st.floats(0, 0.5), st.integers(0, 2**32 - 1))
def test_the_split_is_near_its_share_never_empty_never_all(count, share, seed):
    chosen = eval_rows(count, share, seed)
    assert chosen == eval_rows(count, share, seed)
    assert all(0 <= index < count for index in chosen)
    if share > 0 and count >= 2:
        assert 1 <= len(chosen) < count and abs(len(chosen) - count * share) <= 1
    else:
        assert not chosen


@given(st.text(max_size=300))
def test_safe_names_are_one_part_of_a_path_and_no_markup(name):
    safe = safe_name(name)
    assert safe and len(safe) <= draft.NAME_LIMIT_CHARACTERS
    assert not set(safe) & set('/\\<>&"') and safe not in (".", "..") and not safe.startswith(".")
    assert (Space.default().root / safe).parent == Space.default().root
    assert safe_name(safe) == safe
    json.dumps(safe).encode("utf-8")


def test_names_people_try():
    assert safe_name("../../etc/passwd.json") == "passwd.json"
    assert safe_name("<img src=x onerror=alert(1)>.csv") == "_img src=x onerror=alert(1)_.csv"
    assert safe_name("数据.jsonl") == "数据.jsonl"


def test_a_folder_of_the_first_version_is_read(store):
    """As version 0.1 left it: rows a line, each split in a file of its own, no number of a format."""
    info = store.add("x", rows(4), eval_share=0.25, seed=3)
    meta = json.loads((info.folder / "meta.json").read_text())
    for name in ("format", "test_rows", "test_share", "changes", "files", "parent", "series"):
        meta.pop(name, None)
    for split, name in (("train", "train.jsonl"), ("eval", "eval.jsonl")):
        lines = "".join(json.dumps(row) + "\n" for row in info.rows(split))
        (info.folder / name).write_text(lines, encoding="utf-8")
    kept = {split: list(info.rows(split)) for split in ("train", "eval", "test")}
    (info.folder / "meta.json").write_text(json.dumps(meta))
    (info.folder / "rows.arrow").unlink()
    (info.folder / "splits.npy").unlink()
    (old,) = store.list()
    assert {split: list(old.rows(split)) for split in kept} == kept and list(old.rows()) == kept["train"] + kept["eval"]
    assert old.rows("train")[-1] == kept["train"][-1] and old.rows()[3:] == kept["eval"]
    assert versions.derive(store, old.id, old.rows()).fingerprint != ""


def test_rows_are_what_datasets_reads(store):
    from datasets import Dataset

    info = store.add("x", [{"text": "a"}, {"text": "b\n"}, *rows(1)])
    made = Dataset.from_file(str(info.folder / "rows.arrow"))
    assert made["row"][:] == [1, 2, 3] and json.loads(made["data"][1]) == {"text": "b\n"}


@given(st.lists(CONTENT, min_size=1, max_size=40), st.integers(1, 50), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_row_and_any_slice_is_at_hand(store, contents, batch, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BATCH_ROWS", batch)
        patch.setattr(stored_rows, "AT_ONCE", 3)
        info = store.add("x", contents, eval_share=0.3)
        whole = [{**content, "row": number} for number, content in enumerate(contents, start=1)]
        assert list(info.rows()) == whole == [info.rows()[at] for at in range(len(whole))]
        low, high = data.draw(st.integers(-45, 45)), data.draw(st.integers(-45, 45))
        step = data.draw(st.integers(-7, 7).filter(bool))
        assert info.rows()[low:high:step] == whole[low:high:step]
        parts = [info.rows(split) for split in stored_rows.SPLITS]
        assert [len(part) for part in parts] == [info.train_rows, info.eval_rows, 0]
        for part in parts:
            each = [part[at] for at in range(len(part))]
            assert list(part) == each and part[low:high:step] == each[low:high:step]
        assert sorted(row["row"] for part in parts for row in part) == [row["row"] for row in whole]


def test_a_version_keeps_splits_and_knows_where_it_comes_from(store):
    first = store.add("x", rows(20), eval_share=0.25)
    kept = [row for row in first.rows() if row["row"] % 3]
    held_out = {row["row"] for row in first.rows("eval")}
    change = {"step": "every_third", "options": {}, "counts": {"dropped": 6}}
    second = versions.derive(store, first.id, kept, [change], [(row, "short", {}) for row in (3, 6)], {(-1, 1)})
    assert (second.kept, second.dropped, second.changed, second.parent, second.first) == (14, 2, 1, first.id, first.id)
    assert {row["row"] for row in second.rows("eval")} == {row for row in held_out if row % 3}
    assert second.changes == [change] and store.get(first.id) == first
    third = versions.derive(store, second.id, second.rows(), eval_share=0.0, test_share=0.5)
    assert (third.train_rows, third.eval_rows, third.test_rows, third.first) == (7, 0, 7, first.id)
    assert [one.id for one in versions.versions(store, first.id)] == [third.id, second.id, first.id]
    with pytest.raises(Problem, match="Nothing is left"):
        versions.derive(store, first.id, [])
    assert len(store.list()) == 3


def test_a_mix_takes_rows_by_weight_and_holds_out_what_was_held_out(store):
    one, two = store.add("one", rows(40), eval_share=0.25), store.add("two", rows(20), eval_share=0)
    made = versions.mix(store, [(one.id, 2), (two.id, 0.5)], "both")
    by_file = [[row for row in made.rows("train") if row["file"] == at] for at in (0, 1)]
    assert len(by_file[0]) == 2 * one.train_rows and 0 < len(by_file[1]) < 20
    assert made.eval_rows == one.eval_rows and made.files == ["one", "two"]
    for weight in (0, -1, 101, "x", True):
        with pytest.raises(Problem, match="weight"):
            versions.mix(store, [(one.id, weight)], "no")


def test_splits_keep_the_shares_of_labels_and_what_the_file_says():
    labels = ["a"] * 60 + ["b"] * 20 + [None] * 20
    made = splits.chosen(100, 0.1, 7, 0.2, labels=labels)
    counted = Counter(zip(labels, made.tolist()))
    assert [counted[label, splits.EVAL] for label in ("a", "b", None)] == [6, 2, 2]
    own = ["test"] * 10 + [None] * 40
    made = splits.chosen(50, 0.1, 7, 0.5, own=own)
    assert made[:10].tolist() == [splits.TEST] * 10 and Counter(made.tolist())[splits.EVAL] == 4
    assert not (splits.chosen(50, 0.1, 7, own=["eval"] + [None] * 49)[1:]).any()


def test_the_trash_is_emptied_for_good(store):
    info, kept = store.add("x", rows(3)), store.add("y", rows(3))
    store.delete(info.id)
    size = store.trash_bytes()
    assert store.empty_trash() == (1, size) and size > 0 and store.trash_bytes() == 0
    assert store.list() == [kept]
    with pytest.raises(Problem):
        store.restore(info.id)

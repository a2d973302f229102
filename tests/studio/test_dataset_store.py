"""A dataset is there whole or not at all, can be deleted and undone, and no word of a page reaches the file system."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator.core.problems import Problem
from studio.datasets import draft
from studio.datasets.draft import eval_rows
from studio.datasets.store import DatasetStore, read_rows
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
    read = [*read_rows(info.train_file), *read_rows(info.eval_file)]
    assert sorted(row["row"] for row in read) == list(range(1, 21))
    assert {row["row"]: row["messages"][1]["content"] for row in read}[20] == "answer 19"
    assert sorted(file.name for file in info.folder.iterdir()) == [
        "dropped.jsonl",
        "eval.jsonl",
        "meta.json",
        "train.jsonl",
    ]


def test_newest_first_and_without_a_split(store):
    older, newer = store.add("older", rows(2)), store.add("newer", rows(3), eval_share=0)
    assert [info.name for info in store.list()] == ["newer", "older"]
    assert newer.eval_file is None and newer.train_rows == 3
    assert older.eval_file and older.eval_rows == 1


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
        real = draft.Path.open
        refusing = lambda self, *mode, **words: (  # noqa: E731
            _Refusing(code) if self.name == "rows.jsonl" and "w" in mode else real(self, *mode, **words)
        )
        monkeypatch.setattr(draft.Path, "open", refusing)
    with pytest.raises(Problem) as caught:
        store.add("lost", rows(2), eval_share=0)
    monkeypatch.undo()
    assert caught.value.code == problem and os.strerror(code) in str(caught.value)
    assert [path.name for path in store.root.iterdir()] == [before.id]


class _Refusing(io.StringIO):
    """A file whose writing fails, as it would on a full disk."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def write(self, _):
        raise OSError(self.code, os.strerror(self.code))


def test_a_full_disk_is_noticed_when_the_buffer_is_written(store, monkeypatch):
    """/dev/full takes what is written into the buffer and refuses when it is flushed."""
    real = builtins.open

    def full(self, mode="r", **words):
        return real("/dev/full" if self.name == "rows.jsonl" and "w" in mode else self, mode, **words)

    monkeypatch.setattr(draft.Path, "open", full)
    with pytest.raises(Problem) as caught:
        store.add("lost", rows(2), eval_share=0)
    assert caught.value.code == "storage.full"
    assert list(store.root.iterdir()) == []


def test_drafts_of_a_killed_worker_are_swept_but_never_listed(store):
    left = store.root / ".20260101-000000-abcdef.partial"
    left.mkdir(parents=True)
    (left / "rows.jsonl").write_text("{}\n")
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
    first.train_file.unlink()
    (second.folder / "meta.json").unlink()
    assert {str(problem) for problem in store.damaged().values()} == {
        "train.jsonl is missing.",
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

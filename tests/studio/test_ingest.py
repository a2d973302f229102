"""Files of every format become the same rows; files that cannot be read are refused with file, row and remedy."""

from __future__ import annotations

import csv
import gzip
import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from studio.datasets import source as reading
from studio.datasets.files import json_file as read_json
from studio.datasets.ingest import ingest, run
from studio.datasets.samples import samples
from studio.datasets.store import DatasetStore
from studio.datasets.words import problem_text
from studio.i18n import LANGUAGES
from studio.space import Space

ALPACA = [
    {
        "instruction": f"Question {i}, “quoted” 你好?",
        "input": 'a,b\n"c"' if i % 2 else "",
        "output": f"Answer; {i}\tend",
    }
    for i in range(9)
]
TURNS = [
    {"messages": [{"role": "user", "content": r["instruction"]}, {"role": "assistant", "content": r["output"]}]}
    for r in ALPACA
]


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


@pytest.fixture
def bring(store, tmp_path):
    """Write a file and ingest it."""

    def bring(name, data, **options):
        file = tmp_path / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
        return run(ingest(store, file, **options))

    return bring


def as_csv(rows, delimiter=","):
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_parquet(rows, file):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), file, row_group_size=4)
    return file.read_bytes()


def test_the_same_rows_have_the_same_fingerprint_in_every_format_and_encoding(bring, tmp_path):
    text = json.dumps(ALPACA, ensure_ascii=False)
    lines = "\n".join(json.dumps(row) for row in ALPACA)
    files = {
        "a.json": text,
        "pretty.json": json.dumps(ALPACA, indent=2),
        "values.json": lines,
        "lines.jsonl": lines + "\n\n",
        "array.jsonl": text,
        "pretty-array.jsonl": json.dumps(ALPACA, indent=1),
        "commas.csv": as_csv(ALPACA),
        "semicolons.csv": as_csv(ALPACA, ";"),
        "tabs.tsv": as_csv(ALPACA, "\t"),
        "mark.csv": as_csv(ALPACA).encode("utf-8-sig"),
        "wide.csv": as_csv(ALPACA).encode("utf-16"),
        "wide.jsonl": lines.encode("utf-16"),
        "mark.json": text.encode("utf-8-sig"),
        "rows.parquet": as_parquet(ALPACA, tmp_path / "made"),
    }
    infos = {name: bring(name, data) for name, data in files.items()}
    assert {info.fingerprint for info in infos.values()} == {infos["a.json"].fingerprint}
    assert {(info.shape, info.kept, info.dropped, info.train_rows, info.eval_rows) for info in infos.values()} == {
        ("alpaca", 9, 0, 8, 1)
    }
    assert infos["wide.csv"].encoding == "utf-16"
    rows = sorted(
        [*infos["commas.csv"].rows("train"), *infos["commas.csv"].rows("eval")],
        key=lambda row: row["row"],
    )
    assert [row["row"] for row in rows] == list(range(1, 10))
    assert rows[1]["messages"][0]["content"] == ALPACA[1]["instruction"] + '\n\na,b\n"c"'


def test_turns_round_trip_through_every_format(bring, tmp_path):
    share = [
        {
            "conversations": [
                {"from": {"user": "human", "assistant": "gpt"}[m["role"]], "value": m["content"]}
                for m in row["messages"]
            ]
        }
        for row in TURNS
    ]
    cells = [{"messages": json.dumps(row["messages"])} for row in TURNS]
    infos = [
        bring("a.jsonl", "\n".join(json.dumps(row) for row in TURNS)),
        bring("b.json", json.dumps(share)),
        bring("c.csv", as_csv(cells)),
        bring("d.parquet", as_parquet(TURNS, tmp_path / "one")),
        bring("e.parquet", as_parquet(share, tmp_path / "two")),
    ]
    assert len({info.fingerprint for info in infos}) == 1
    assert [info.shape for info in infos] == ["openai", "sharegpt", "openai", "openai", "sharegpt"]


def test_every_sample_is_read_whole_as_what_its_name_says(store):
    found = samples()
    for one in found:
        info = run(ingest(store, one.path))
        assert (info.shape, info.dropped, info.changed) == (one.shape, 0, 0), one.id
        assert info.kept >= 10 and info.language == one.language, one.id
    if found:
        assert {one.format for one in found} == {"json", "jsonl", "csv", "parquet"}
        assert {one.shape for one in found} == {"alpaca", "sharegpt", "openai", "text"}
        assert {one.language for one in found} == {"en", "zh"}


def test_bad_rows_among_good_ones_are_dropped_with_number_and_reason(bring):
    rows = [
        *ALPACA[:3],
        [1],
        {"instruction": "x"},
        {"instruction": "x", "output": ""},
        {"instruction": "\n y", "output": "z"},
    ]
    info = bring("mixed.json", json.dumps(rows))
    assert (info.kept, info.dropped, info.changed) == (4, 3, 1)
    assert [(one["row"], one["reason"]) for one in info.dropped_rows()] == [
        (4, "not_object"),
        (5, "missing"),
        (6, "empty"),
    ]
    assert info.reasons == {"not_object": 1, "missing": 1, "empty": 1}


def test_a_few_odd_rows_at_the_top_do_not_decide(bring):
    info = bring("odd.jsonl", "\n".join(json.dumps(row) for row in [3, {"note": "made by hand"}, *ALPACA]))
    assert (info.shape, info.kept, info.dropped) == ("alpaca", 9, 2)


def test_a_csv_row_with_missing_fields_is_dropped(bring):
    info = bring("short.csv", "instruction,output\na,b\nonly one\nc,d,e\nf,g\n")
    assert [(one["row"], one["reason"]) for one in info.dropped_rows()] == [(2, "fields"), (3, "fields")]
    assert info.dropped_rows()[0]["params"]["line"] == 3


LINES = [json.dumps(row, ensure_ascii=False) for row in ALPACA]
REFUSED = [
    ("empty.json", b"", "dataset.empty", []),
    ("blank.jsonl", b" \n\n", "dataset.empty", []),
    ("none.json", b"[]", "dataset.empty", []),
    ("header.csv", b"instruction,output\n", "dataset.empty", []),
    ("gbk.csv", "instruction,output\n你好吗朋友,我很好谢谢\n".encode("gb18030"), "dataset.encoding",
        ["line 2", "byte 19", "GB18030", "UTF-8"]),
    ("latin.jsonl", '{"text": "caf\u00e9 cr\u00e8me"}\n'.encode("latin-1"), "dataset.encoding",
        ["line 1", "byte 13", "Latin-1"]),
    ("latin7.json", "\n".join(["[", *['{"text": "a"},'] * 5, '{"text": "\u00e9"}]']).encode("latin-1"),
        "dataset.encoding", ["line 7"]),
    ("wide.csv", "instruction,output\na,b\n".encode("utf-16-le"), "dataset.encoding", ["UTF-16"]),
    ("broken.jsonl", "\n".join([LINES[0], *(line[:-1] for line in LINES[1:])]), "dataset.broken_json",
        ["row 2", "line 2"]),
    ("broken.json", "[" + ",\n".join([*LINES[:6], LINES[6].replace('": "', '": ', 1), *LINES[7:]]) + "]",
        "dataset.broken_json", ["row 7", "line 7"]),
    ("cut.json", "[" + ",\n".join(LINES)[:-5], "dataset.broken_json", ["row 9"]),
    ("comma.json", "[" + ",".join(LINES) + ",]", "dataset.broken_json", ["row 10"]),
    ("nocomma.json", "[" + " ".join(LINES) + "]", "dataset.broken_json", ["row 2"]),
    ("tail.json", "[" + ",".join(LINES) + "] extra", "dataset.broken_json", ["row 9"]),
    ("quotes.jsonl", "{'instruction': 'a', 'output': 'b'}\n" * 3, "dataset.broken_json", ["row 1"]),
    ("none.jsonl", '{"instruction": "a", "input": None, "output": "b"}\n' * 3, "dataset.broken_json", ["row 1"]),
    ("break.jsonl", LINES[0] + '\n{"instruction": "a", "output": "b\nc"}\n', "dataset.broken_json", ["row 2"]),
    ("deep.json", "[" * 100_000, "dataset.broken_json", ["row 1"]),
    ("quote.csv", 'instruction,output\na,b\n"open,c\nd,e\n', "dataset.broken_csv", ["row 2", "line 3"]),
    ("inner.csv", 'instruction,output\na,b\n"x"y,c\n', "dataset.broken_csv", ["row 2"]),
    ("one.csv", "instruction,output\na\nb\n", "dataset.fields", ["row 1", "line 2"]),
    ("numbers.json", "[1, 2, 3]", "dataset.not_objects", ["row 1", "number"]),
    ("strings.jsonl", '"a"\n"b"\n', "dataset.not_objects", ["row 1", "string"]),
    ("lists.jsonl", "[1]\n[2]\n", "dataset.not_objects", ["row 1", "array"]),
    ("half.csv", "instruction,input\na,b\n", "dataset.missing_column", ["row 1", "instruction, input", "output"]),
    ("other.json", '[{"a": 1, "b": 2}]', "dataset.unknown_columns", ["row 1", "a, b", "messages"]),
    ("object.json", '{"data": [{"a": 1}]}', "dataset.unknown_columns", ["a"]),
    ("lists.json", '{"train": [{"a": 1}], "test": [{"a": 1}, {"a": 2}]}', "dataset.several_lists",
        ["train (1)", "test (2)"]),
    ("uneven.json", '{"question": ["a", "b"], "answer": ["c"]}', "dataset.uneven_columns",
        ["question (2)", "answer (1)"]),
    ("sentences.csv", "What is it?,A thing.\nAnd that?,Another.\n", "dataset.no_header", ["What is it?"]),
    ("doubled.csv", "question,answer,answer\na,b,c\n", "dataset.doubled_column", ["answer"]),
    ("asked.json", '[{"question": "a", "text": "b"}]', "dataset.text_or_answer", ["question", "text"]),
    ("message.json", '[{"role": "user", "content": "b"}]', "dataset.message_rows", ["role, content", "parent_id"]),
    ("cut.jsonl.gz", gzip.compress(b"x" * 99)[:-9], "dataset.broken_gzip", []),
    ("big5.csv", "question,answer\n請問天氣如何？,今天是晴天，氣溫二十五度。\n".encode("big5"), "dataset.encoding",
        ["line 2", "Big5"]),
    ("shift.csv", "question,answer\n東京の天気は？,今日は晴れです。\n".encode("shift_jis"), "dataset.encoding",
        ["line 2", "Shift-JIS"]),
    ("korean.csv", "question,answer\n날씨가 어때요?,오늘은 맑습니다.\n".encode("cp949"), "dataset.encoding",
        ["line 2", "EUC-KR"]),
    ("blanks.json", '[{"instruction": "a", "output": ""}, {"instruction": "b", "output": " '
    '"}]', "dataset.none_left", ["2 rows"]),
    ("notes.doc", b"x", "dataset.extension", [".doc", ".parquet", ".docx"]),
    ("plain", b"x", "dataset.extension", []),
    ("book.csv", b"PK\x03\x04rest", "dataset.not_text", ["ZIP", "Excel"]),
    ("rows.json", b"PAR1....", "dataset.not_text", ["Parquet"]),
    ("fake.parquet", b"not parquet at all, but long enough", "dataset.not_its_kind", [".parquet"]),
    ("cut.parquet", b"PAR1 and no more", "dataset.broken_parquet", []),
]  # fmt: skip


@pytest.mark.parametrize("name, data, code, words", REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_be_read_is_refused_in_both_languages_and_the_rest_stays(store, bring, name, data, code, words):
    before = bring("before.json", json.dumps(ALPACA))
    with pytest.raises(Problem) as caught:
        bring(name, data)
    assert caught.value.code == code
    for word in [name, *words]:
        assert word in str(caught.value)
    for lang in LANGUAGES:
        sentence = problem_text(lang, caught.value)
        assert name in sentence and "{" not in sentence
    assert [path.name for path in store.root.iterdir()] == [before.id]


def test_none_left_says_why_the_first_row_is_of_no_use(bring):
    with pytest.raises(Problem) as caught:
        bring("blanks.json", '[{"instruction": "a", "output": ""}]')
    assert "Row 1: output is empty" in problem_text("en", caught.value)


def test_a_row_that_never_ends_does_not_fill_the_memory(bring, monkeypatch):
    monkeypatch.setattr(read_json, "ROW_LIMIT_CHARACTERS", 2000)
    monkeypatch.setattr(read_json, "CHUNK_CHARACTERS", 500)
    with pytest.raises(Problem) as caught:
        bring("long.json", '[{"text": "a"}, {"text": "' + "x" * 9000 + '"}')
    assert caught.value.code == "dataset.row_size" and "row 2" in str(caught.value)
    info = bring("long.jsonl", '{"text": "a"}\n{"text": "' + "x" * 9000 + '"}\n{"text": "b"}')
    assert [row["row"] for row in info.rows()] == [1, 3]
    assert [(one["row"], one["reason"]) for one in info.dropped_rows()] == [(2, "row_size")]


def test_a_broken_line_costs_its_row_and_says_where(bring):
    broken = [*LINES[:6], LINES[6][:-1], "{'instruction': 'a'}", *LINES[7:]]
    info = bring("broken.jsonl", "\n".join(broken))
    assert (info.kept, info.dropped) == (8, 2)
    assert [(one["row"], one["reason"]) for one in info.dropped_rows()] == [(7, "json"), (8, "json")]
    first = bring("first.jsonl", "\n".join([LINES[0][:-1], *LINES[1:]]))
    assert (first.kept, [one["row"] for one in first.dropped_rows()]) == (8, [1])


def test_text_that_unfolds_is_bounded(bring, monkeypatch):
    monkeypatch.setattr(reading, "UNFOLDED_BYTES", 500)
    monkeypatch.setattr(reading, "UNFOLDED_TIMES", 2)
    with pytest.raises(Problem) as caught:
        bring("bomb.jsonl.gz", gzip.compress("\n".join(LINES * 99).encode()))
    assert caught.value.code == "dataset.unfolds"


def test_names_with_paths_and_markup_are_stored_as_plain_names(store, tmp_path):
    file = tmp_path / "upload"
    file.write_text(json.dumps(ALPACA))
    info = run(ingest(store, file, "../../<script>alert(1)</script>.json"))
    assert info.file_name == "script_.json" and info.folder.parent == store.root


@pytest.mark.parametrize("share", [-0.1, 0.6, "x", None, True, float("nan")])
def test_a_share_that_is_none_is_refused(bring, share):
    with pytest.raises(Problem) as caught:
        bring("a.json", json.dumps(ALPACA), eval_share=share)
    assert caught.value.code == "dataset.eval_share" and caught.value.field == "eval_share"


def test_cancelling_leaves_nothing(store, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(LINES))
    with pytest.raises(Problem) as caught:
        run(ingest(store, file, cancelled=lambda: True))
    assert caught.value.code == "dataset.cancelled" and list(store.root.iterdir()) == []


def test_cancelling_is_heard_at_every_stage(store, tmp_path, monkeypatch):
    """While blank lines are skipped, while rows are read and split, and while the disk takes them; nothing is left."""
    from studio.datasets import ingest as module

    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0)
    blank, rows = tmp_path / "blank.jsonl", tmp_path / "rows.jsonl"
    blank.write_text(LINES[0] + "\n" * 2_000_000)
    rows.write_text("\n".join(LINES * 30))

    def after(calls):
        asked = iter(range(calls))
        return lambda: next(asked, None) is None

    whole = []
    events = list(ingest(store, rows, cancelled=lambda: bool(whole.append(1))))
    assert [phase for phase, _ in itertools.groupby(event["phase"] for event in events)] == [
        "reading",
        "storing",
        "syncing",
    ]
    for file, calls in [
        (blank, 20),
        *((rows, share * len(whole) // 10) for share in range(0, 10, 2)),
        (rows, len(whole) - 1),
    ]:
        before = len(list(store.root.iterdir()))
        with pytest.raises(Problem) as caught:
            run(ingest(store, file, cancelled=after(calls)))
        assert caught.value.code == "dataset.cancelled" and len(list(store.root.iterdir())) == before


def test_reading_tells_its_share_which_only_grows(store, tmp_path, monkeypatch):
    from studio.datasets import ingest as module

    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0)
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(LINES * 900))
    events = list(ingest(store, file))
    shares = [event["share"] for event in events if event["phase"] == "reading"]
    assert shares == sorted(shares) and 0 <= shares[0] < 0.5 < shares[-1] <= 1
    assert events[-1]["share"] is None  # the disk does not say how far it is
    assert all(event["read"] == 1 for event in events if event["phase"] != "reading")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_streaming_reader_reads_what_json_reads(tmp_path, monkeypatch, values, chunk, indent, escape):
    """Whatever the size of its buffer, also in the middle of a number, an escape or a character."""
    monkeypatch.setattr(read_json, "CHUNK_CHARACTERS", chunk)
    file = tmp_path / "values.json"
    text = json.dumps(values, indent=indent, ensure_ascii=escape)
    file.write_text(text, encoding="utf-8", errors="replace")
    expected = json.loads(
        file.read_text(encoding="utf-8"), parse_int=str, parse_float=str
    )  # numbers as they are written
    read = list(read_json.read(reading.open_source(file)))
    assert [value for _, value in read] == expected
    assert [row for row, _ in read] == list(range(1, len(expected) + 1))

"""Bad files end in a sentence that names them and says what to do, or in rows with every loss counted. Whatever comes,
nothing but `Problem` comes out, and what was there before stays."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from studio.datasets import source as sources
from studio.datasets.files import apart, reading
from studio.datasets.files.office import broken
from studio.datasets.ingest import ingest, run
from studio.datasets.kinds import FORMATS
from studio.datasets.source import RowError, Source
from studio.datasets.store import DatasetStore
from studio.datasets.values import Held
from studio.datasets.words import left_text, problem_text, reason_text
from studio.i18n import LANGUAGES
from studio.space import Space
from tests.studio.bad_files import FILES, LINES

pytest.importorskip("pyarrow")

MEMBERS = re.compile(r"^[a-z]\.[a-z]+$")
"""Files inside archives are called so here."""
FIELD = re.compile(r"\{(file|row|line|column|found|expected|detail|reason|limit|size|value|allowed)\}")
RAW = re.compile(r"Traceback|\bFile \"|site-packages|<[a-z_.]+ object at 0x|errno", re.IGNORECASE)
REMEDIES = re.compile(
    r"\b(save|export|upload|choose|give|split|write|mend|delete|put|rename|check|run|add|unpack|open|pack|download|join|"
    r"free|made to do harm)\b", re.IGNORECASE)  # fmt: skip


class InProcess(apart.Apart):
    """The readers of documents in this process: what is committed here is harmless to their libraries. What they raise
    becomes what the process of its own makes of it."""

    def read(self, source: Source) -> Iterator[tuple[int, object]]:
        if source.format in reading.APART:
            source.encoding = source.format
        with self._guarded(source):
            for number, value in reading.read(source):
                if isinstance(value, (RowError, Held)) or source.format not in reading.APART:
                    yield number, value
                else:
                    yield number, json.loads(json.dumps(value, default=str))

    def parts(self, source: Source) -> list[str]:
        with self._guarded(source):
            return reading.parts(source)

    @contextlib.contextmanager
    def _guarded(self, source: Source) -> Iterator[None]:
        try:
            yield
        except (Problem, MemoryError):
            raise
        except Exception as error:
            if source.format not in reading.APART:
                raise
            raise broken(source, error) from error


@pytest.fixture(scope="module")
def home_with_rows(tmp_path_factory):
    """A store that holds one dataset already, and limits low enough for small files to pass them."""
    root = tmp_path_factory.mktemp("home")
    space = Space(root / "home").prepare()
    store = DatasetStore(space.datasets, space.trash)
    file = root / "before.jsonl"
    file.write_text(LINES)
    run(ingest(store, file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studio.datasets.ingest.Apart", InProcess)
        patch.setattr(sources, "UNFOLDED_BYTES", 2_000_000)
        patch.setattr("studio.datasets.files.excel_file.CELLS", 100_000)
        yield space, store


def listing(space: Space) -> dict[str, int]:
    return {str(path.relative_to(space.root)): path.stat().st_size for path in sorted(space.root.rglob("*"))
            if path.is_file()}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused_by_name_or_read_with_its_losses_counted(name, home_with_rows, tmp_path):
    space, store = home_with_rows
    before = listing(space)
    called = name.rpartition(":")[2]
    (tmp_path / called).write_bytes(FILES[name]())
    try:
        info = run(ingest(store, tmp_path / called, eval_share=0))
    except Problem as problem:
        _check_sentences(problem, called)
    else:
        _check_counts(info)
        store.delete(info.id)
        store.empty_trash()
    assert listing(space) == before
    assert {path.name for path in tmp_path.iterdir()} <= {called, "home"}


def _check_sentences(problem: Problem, called: str) -> None:
    """The file, and what to do, in both languages and without anything of Python."""
    names = [sources.safe_name(called), *MEMBERS.findall(str(problem.params.get("file")))]
    for lang in LANGUAGES:
        sentence = problem_text(lang, problem)
        sentence.encode("utf-8")
        assert any(name in sentence for name in names), sentence
        assert not RAW.search(sentence) and not FIELD.search(sentence) and len(sentence) < 3_000, sentence
    assert REMEDIES.search(problem_text("en", problem)), problem_text("en", problem)


def _check_counts(info) -> None:
    assert info.kept > 0 and len(info.rows()) == info.kept
    if info.shape != "threads":
        assert info.read == info.kept + info.dropped
    assert sum(info.reasons.values()) == info.dropped
    for row in info.rows():
        json.dumps(row, ensure_ascii=False).encode("utf-8")  # no half characters
    for lang in LANGUAGES:
        for one in info.dropped_rows():
            assert reason_text(lang, one) and not RAW.search(reason_text(lang, one))
        assert all(left_text(lang, info)) if info.left_files else True


def test_there_are_many_of_every_kind():
    ends = {name.rpartition(".")[2] for name in FILES}
    kinds = "json jsonl csv parquet arrow xlsx pdf docx epub pptx html zip tar gz txt"
    assert len(FILES) >= 200 and set(kinds.split()) <= ends


@pytest.mark.parametrize("name", ["rows.jsonl", "all.zip"])
def test_a_folder_in_a_files_place_is_no_crash(name, home_with_rows, tmp_path):
    space, store = home_with_rows
    before = listing(space)
    (tmp_path / name).mkdir()
    with pytest.raises(Problem) as caught:
        run(ingest(store, tmp_path / name))
    assert name in str(caught.value) and listing(space) == before


def test_what_is_no_file_is_not_waited_for(home_with_rows, tmp_path):
    import os

    space, store = home_with_rows
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(Problem) as caught:
        run(ingest(store, tmp_path / "pipe.jsonl"))
    assert caught.value.code == "dataset.unreadable" and "pipe.jsonl" in str(caught.value)


# ---- whatever comes

ANY = settings(max_examples=60, deadline=None, derandomize=True, database=None,
               suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
HEADS = {"parquet": b"PAR1", "arrow": b"ARROW1\x00\x00"}
IN_PROCESS = sorted({suffix for suffix, kind in FORMATS.items() if kind in ("json", "jsonl", "csv", "parquet", "arrow",
                                                                            "text", "html")})  # fmt: skip


def _read_of(file: Path, data: bytes) -> list[tuple[int, object]]:
    """What a reader makes of bytes: rows by growing numbers; nothing but `Problem` comes out."""
    file.write_bytes(data)
    try:
        found = list(reading.read(sources.open_source(file)))
    except Problem as problem:
        assert all(problem_text(lang, problem).encode() for lang in LANGUAGES) or True
        return []
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers)) and all(number > 0 for number in numbers)
    return found


@ANY
@given(suffix=st.sampled_from(IN_PROCESS), data=st.binary(max_size=400), has_head=st.booleans())
def test_any_bytes_are_read_or_refused(suffix, data, has_head, tmp_path):
    head = HEADS.get(suffix.lstrip("."), b"") if has_head else b""
    with contextlib.suppress(RowError):
        _read_of(tmp_path / f"x{suffix}", head + data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(("role", "content", "from", "value", "text", "a")) | st.text(max_size=4), inner,
                      max_size=4),
    max_leaves=12,
)  # fmt: skip
NAMES = st.sampled_from(("instruction", "input", "output", "messages", "conversations", "text", "chosen", "rejected",
                         "label", "tokens", "ner_tags", "question", "context", "answers", "system", "history", "tools",
                         "x", "", "role", "parent_id", "id")) | st.text(max_size=5)  # fmt: skip
TABLES = st.lists(st.dictionaries(NAMES, JSON, max_size=5) | JSON, min_size=1, max_size=6)


@ANY
@given(rows=TABLES)
def test_any_rows_are_kept_or_dropped_and_never_lost(rows, home_with_rows, tmp_path):
    space, store = home_with_rows
    before = listing(space)
    file = tmp_path / "any.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"instruction": "q", "output": "a"}]), "utf-8")
    try:
        info = run(ingest(store, file, eval_share=0))
    except Problem as problem:
        assert all("any.jsonl" in problem_text(lang, problem) for lang in LANGUAGES)
    else:
        if info.shape != "threads":
            assert info.read == info.kept + info.dropped
        _check_counts(info)
        store.delete(info.id)
        store.empty_trash()
    assert listing(space) == before


CELLS = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)


@ANY
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=6), delimiter=st.sampled_from(",;\t")
)
def test_any_table_that_csv_writes_is_read_cell_by_cell(rows, delimiter, tmp_path):
    import csv

    file = tmp_path / "any.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow(["first", "second"])
        writer.writerows(rows)
    found = dict(reading.read(sources.open_source(file)))
    whole = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(found) == len(whole)
    for row, value in zip(whole, found.values(), strict=True):
        if len(row) == 2:
            assert list(value.values()) == row
        else:
            assert isinstance(value, RowError) and value.reason == "fields"


COLUMNS = st.dictionaries(
    st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=6),
    st.sampled_from(("text", "whole", "float", "flag", "list", "object", "bytes")), min_size=1, max_size=4,
)  # fmt: skip
VALUES = {"text": st.text(alphabet=st.characters(codec="utf-8"), max_size=6), "whole": st.integers(-(2**63), 2**63 - 1),
          "float": st.floats(), "flag": st.booleans(), "list": st.lists(st.integers(0, 9), max_size=3),
          "object": st.fixed_dictionaries({"a": st.text(alphabet="ab", max_size=2)}),
          "bytes": st.binary(max_size=4)}  # fmt: skip


@ANY
@given(data=st.data(), kind=st.sampled_from(("parquet", "arrow")))
def test_any_table_of_arrow_is_read_row_by_row(data, kind, tmp_path):
    import pyarrow as pa
    from pyarrow import ipc, parquet

    columns = data.draw(COLUMNS)
    rows = data.draw(st.integers(0, 5))
    table = pa.table({name: data.draw(st.lists(st.none() | VALUES[one], min_size=rows, max_size=rows))
                      for name, one in columns.items()})  # fmt: skip
    file = tmp_path / f"any.{kind}"
    if kind == "parquet":
        parquet.write_table(table, file)
    else:
        with ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    found = list(reading.read(sources.open_source(file)))
    assert [number for number, _ in found] == list(range(1, rows + 1))
    assert all(list(value) == list(columns) for _, value in found)


@ANY
@given(data=st.data(), name=st.sampled_from(["rows.parquet", "rows.arrow", "stream.arrow", "rows.jsonl.gz"]))
def test_a_file_with_changed_bytes_is_read_or_refused(data, name, home_with_rows, tmp_path):
    from tests.studio import bad_files

    whole = bytearray({"rows.parquet": bad_files.parquet, "rows.arrow": lambda: bad_files.arrow("arrow"),
                       "stream.arrow": lambda: bad_files.arrow("stream"),
                       "rows.jsonl.gz": lambda: __import__("gzip").compress(LINES.encode())}[name]())  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    _read_of(tmp_path / name, bytes(whole))

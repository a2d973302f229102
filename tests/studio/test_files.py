"""Documents, workbooks, folders and archives become rows; what is not read of them is named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from studio.datasets import source as sources
from studio.datasets.counts import of_file
from studio.datasets.files import excel_file, office, text_file
from studio.datasets.files.apart import Apart
from studio.datasets.ingest import ingest, run
from studio.datasets.source import open_source
from studio.datasets.store import DatasetStore
from studio.datasets.words import files_text, left_text, problem_text, row_text, split_text, tasks_text
from studio.i18n import LANGUAGES
from studio.space import Space
from tests.studio import file_helpers as made

pa = pytest.importorskip("pyarrow")

ROWS = "".join(json.dumps({"question": f"q{i}", "answer": f"a{i}"}) + "\n" for i in range(6)).encode()
PAGE = "<html><head><title>no</title></head><body><h1>Head</h1><p>Some <b>text</b>.</p><script>no()</script>{}</body>"
TABLE = "<table><tr><td>Name</td><td>Sum</td></tr><tr><td>a|b</td><td>2</td></tr></table>"


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


@pytest.fixture
def bring(store, tmp_path):
    def bring(name, data):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return run(ingest(store, file, eval_share=0))

    return bring


def text(info) -> str:
    (row,) = info.rows()
    return row["text"]


def cells(info) -> list[tuple[str, str]]:
    return [tuple(message["content"] for message in row["messages"]) for row in info.rows()]


def refused(bring, name: str, data: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        bring(name, data)
    for lang in LANGUAGES:
        sentence = problem_text(lang, caught.value)
        assert name in sentence and "{" not in sentence
    return caught.value


def test_headings_and_tables_of_documents_are_kept(bring):
    body = made.paragraph("Title", "Heading1") + made.paragraph("Text.") + made.word_table(["A|B", "C"], ["1", "2"])
    assert text(bring("w.docx", made.docx(body))) == "# Title\n\nText.\n\n| A\\|B | C |\n| --- | --- |\n| 1 | 2 |\n"
    html = text(bring("w.html", PAGE.format(TABLE).encode()))
    assert html == "# Head\n\nSome **text**.\n\n| Name | Sum |\n| --- | --- |\n| a\\|b | 2 |\n"
    book = text(bring("b.epub", made.epub({"2.xhtml": PAGE.format(""), "1.xhtml": "<h2>Two</h2><p>End.</p>"})))
    assert book.index("# Head") < book.index("## Two") < book.index("End.") and "no()" not in book


def test_slides_are_read_by_their_titles(bring, tmp_path):
    import pptx

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Plan"
    table = slide.shapes.add_table(2, 2, 0, 0, 100, 100).table
    for place, word in enumerate(("Name", "Sum", "a", "2")):
        table.cell(place // 2, place % 2).text = word
    slide.notes_slide.notes_text_frame.text = "Say it."
    deck.save(tmp_path / "made.pptx")
    said = text(bring("p.pptx", (tmp_path / "made.pptx").read_bytes()))
    assert said == "## Plan\n\n| Name | Sum |\n| --- | --- |\n| a | 2 |\n\nSay it."


def test_pages_of_a_pdf_are_one_text_and_a_scanned_one_is_named(bring):
    lines = [(18, "Heading"), (11, "The first line of text."), (11, "And the second one.")]
    info = bring("p.pdf", made.pdf(lines, [], lines[1:]))
    assert text(info).startswith("## Heading\n\nThe first line") and text(info).count("second") == 2
    assert [(one["row"], one["reason"]) for one in info.dropped_rows()] == [(2, "page_without_text")]


@pytest.mark.parametrize(
    "data, code",
    [
        (made.pdf([], []), "scanned"),
        (made.pdf([(11, "x")], password="p"), "password"),
        (b"%PDF-1.7\n", "broken_document"),
    ],
    ids=["scanned", "locked", "cut"],
)
def test_a_pdf_without_text_is_refused_with_its_reason(bring, data, code):
    assert refused(bring, "p.pdf", data).code == f"dataset.{code}"


def test_a_pdf_that_only_its_owner_may_change_is_read(bring):
    assert "Open" in text(bring("p.pdf", made.pdf([(11, "Open to all.")], password="")))


def test_a_workbook_is_read_sheet_by_sheet_as_a_person_sees_it(bring):
    first = made.sheet_rows(
        ["Sums of the year"],
        ["question", "answer"],
        ["n", 7.0],
        ["f", ("", "<f>1+1</f><v>2</v>")],
        ["none", ("", "<f>1+1</f>")],
        ["error", ('t="e"', "<v>#REF!</v>")],
        ["merged", "x"],
        [None, "y"],
    )
    more = '<mergeCells count="1"><mergeCell ref="A7:A8"/></mergeCells>'
    second = made.sheet_rows(["question", "answer"], ["007", 1.5])
    info = bring("book.xlsx", made.xlsx({"One": f"{first}|{more}", "Two": second}))
    assert cells(info) == [("n", "7"), ("f", "2"), ("merged", "x"), ("merged", "y"), ("007", "1.5")]
    assert [row["row"] for row in info.rows()] == [3, 4, 7, 8, 2]
    assert [(one["row"], one["reason"], one["params"].get("cell")) for one in info.dropped_rows()] == [
        (1, "above_header", None), (5, "cell_formula", "B5"), (6, "cell_error", "B6"),
    ]  # fmt: skip
    assert info.files == ["book.xlsx · One", "book.xlsx · Two"]


def test_a_lone_cell_far_away_is_named_and_not_laid_out(bring):
    rows = made.sheet_rows(["question", "answer"], ["a", "b"]) + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    problem = refused(bring, "far.xlsx", made.xlsx({"One": rows}))
    assert (problem.code, problem.params["rows"]) == ("dataset.wide_sheet", 1048576)


def test_a_document_that_ends_its_process_costs_the_document(store, tmp_path, monkeypatch):
    """The lone cell again, without our look at it: calamine aborts where it cannot lay the sheet out."""
    from studio.datasets.files import apart

    rows = made.sheet_rows(["question", "answer"]) + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    (tmp_path / "far.xlsx").write_bytes(made.xlsx({"One": rows}))
    (tmp_path / "page.html").write_text(PAGE.format(""))
    monkeypatch.setattr(apart, "_FIELDS", ("name", "size_bytes", "part", "encoding"))
    with Apart() as process:
        source = open_source(tmp_path / "page.html")
        assert [value["text"][:6] for _, value in process.read(source)] == ["# Head"]
        process._process.kill()
        with pytest.raises(Problem) as caught:
            list(process.read(open_source(tmp_path / "page.html")))
        assert caught.value.code == "dataset.ended_apart"
        assert [number for number, _ in process.read(source)] == [1]  # a new one reads on


def test_text_is_one_row_to_the_letter_and_a_book_is_several(bring, monkeypatch):
    assert text(bring("a.txt", "  Über\n\n\tall.\n".encode())) == "  Über\n\n\tall.\n"
    assert text(bring("a.md", b"# T\n\n| a | b |\n")) == "# T\n\n| a | b |\n"
    assert text(bring("a.py", b"def f():\n    return 1\n")) == "def f():\n    return 1\n"
    monkeypatch.setattr(text_file, "PART_CHARACTERS", 100)
    book = "".join(f"Paragraph {i} of the book.\n\n" for i in range(30))
    rows = [row["text"] for row in bring("book.txt", book.encode()).rows()]
    assert "".join(rows) == book and len(rows) > 5 and all(row.endswith("\n\n") for row in rows)


def test_rows_in_a_file_called_txt_are_rows(bring):
    assert bring("rows.txt", ROWS).kept == 6


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_arrow_is_read_as_a_stream_and_as_a_file(bring, tmp_path, kind):
    table = pa.Table.from_pylist([{"question": f"q{i}", "answer": str(i)} for i in range(700)])
    path = tmp_path / "made"
    with (pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    data = path.read_bytes()
    info = bring("rows.arrow", data)
    assert (info.kept, cells(info)[699]) == (700, ("q699", "699"))
    assert refused(bring, "cut.arrow", data[: len(data) // 2]).code in ("dataset.broken_arrow", "dataset.empty")


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
           ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}  # fmt: skip


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_rows_are_the_rows(bring, ending):
    packed = PACKERS[ending](ROWS)
    assert bring(f"rows.jsonl{ending}", packed).kept == 6
    assert bring(f"page.html{ending}", PACKERS[ending](PAGE.format("").encode())).kept == 1
    assert refused(bring, f"cut.jsonl{ending}", packed[:-5]).code == "dataset.broken_gzip"


@pytest.mark.parametrize("pack", ["zip", "tar", "tar.gz", "folder"])
def test_a_folder_and_an_archive_are_one_dataset_by_file(bring, store, tmp_path, pack):
    two = b"".join(ROWS.splitlines(keepends=True)[:2])
    members = {"train.jsonl": ROWS, "test.jsonl": two, "README.md": b"# about", "pic.png": b"\x89PNG",
               "bad.json": b"{", "sub/in.zip": b"PK"}  # fmt: skip
    if pack == "folder":
        for name, data in members.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(data)
        info = run(ingest(store, tmp_path / "set", eval_share=0))
    else:
        data = made.zipped(members) if pack == "zip" else made.tarred(members, "w:gz" if pack == "tar.gz" else "w")
        info = bring(f"set.{pack}", data)
    assert (info.kept, info.train_rows, info.test_rows) == (8, 6, 2)
    assert {one["name"]: (one["kept"], one.get("problem", {}).get("code")) for one in info.file_counts} == {
        "bad.json": (0, "dataset.broken_json"), "test.jsonl": (2, None), "train.jsonl": (6, None)}  # fmt: skip
    assert {one["file"]: one["problem"]["code"] for one in info.left_files} == {
        "README.md": "dataset.about_file",
        "pic.png": "dataset.unread_kind",
        "sub/in.zip": "dataset.nested_archive",
    }
    assert [info.files[row["file"]] for row in info.rows("test")] == ["test.jsonl"] * 2
    assert {path.name for path in store.root.iterdir()} == {info.id}


@pytest.mark.parametrize("pack", ["zip", "folder"])
def test_what_is_passed_over_is_told_with_its_number(bring, store, tmp_path, pack):
    members = {"a.jsonl": ROWS, ".hidden.jsonl": ROWS, "venv/b.py": b"x", "__MACOSX/a.jsonl": ROWS}
    if pack == "zip":
        info, count = bring("set.zip", made.zipped(members)), 3
    else:
        for name, data in members.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(data)
        (tmp_path / "set" / "link.jsonl").symlink_to(tmp_path / "set" / "a.jsonl")
        info, count = run(ingest(store, tmp_path / "set", eval_share=0)), 4
    (left,) = info.left_files
    assert left["problem"]["code"] == "dataset.passed_over" and left["problem"]["params"]["count"] == count
    assert info.kept == 6


def test_several_files_are_given_at_once_and_a_missing_one_is_named(store, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(ROWS)
    (tmp_path / "b.csv").write_text("question,answer\nx,y\n")
    paths = [(tmp_path / name, name) for name in ("a.jsonl", "gone.json", "b.csv")]
    info = run(ingest(store, paths))
    assert info.kept == 7 and info.name == "a.jsonl + 2"
    assert [(one["file"], one["problem"]["code"]) for one in info.left_files] == [("gone.json", "dataset.unreadable")]


def test_what_datasets_saves_is_read_with_its_splits(store, tmp_path):
    import datasets

    one = datasets.Dataset.from_list([{"question": "a", "answer": "b"}] * 3)
    datasets.DatasetDict({"train": one, "validation": one.select([0])}).save_to_disk(tmp_path / "saved")
    info = run(ingest(store, tmp_path / "saved"))
    assert (info.train_rows, info.eval_rows) == (3, 1)


def test_an_archive_that_unfolds_beyond_sense_is_refused_before_it_is_unpacked(bring, monkeypatch):
    monkeypatch.setattr(sources, "UNFOLDED_BYTES", 50_000)
    for name, data in (("b.zip", made.zipped({"a.txt": b"0" * 10**6})), ("b.txt.gz", gzip.compress(b"0" * 10**6)),
                       ("b.tar.gz", made.tarred({"a.txt": b"0" * 10**6}, "w:gz"))):  # fmt: skip
        assert refused(bring, name, data).code == "dataset.unfolds"


def test_a_document_that_unfolds_beyond_sense_is_refused_before_a_library_opens_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "UNFOLDED_BYTES", 50_000)
    (tmp_path / "b.docx").write_bytes(made.docx(made.paragraph("0" * 10**6)))
    with pytest.raises(Problem) as caught:
        office.check_zip(sources.open_source(tmp_path / "b.docx"), tmp_path / "b.docx")
    assert caught.value.code == "dataset.unfolds"


@pytest.mark.parametrize("name", ["../x.jsonl", "/etc/x.jsonl", "a/../../x.jsonl", "C:\\x.jsonl", "..\\x.jsonl"])
def test_names_that_climb_out_are_refused(bring, store, name):
    for pack in (made.zipped, made.tarred):
        assert refused(bring, "c.zip" if pack is made.zipped else "c.tar", pack({name: ROWS})).code == "dataset.climbs"
    assert list(store.root.iterdir()) == []


def test_a_full_disk_is_said_before_it_is_full(bring, monkeypatch):
    monkeypatch.setattr(sources, "FREE_BYTES", 2**60)
    assert refused(bring, "a.zip", made.zipped({"a.jsonl": ROWS})).code == "dataset.no_room"


def test_cells_of_excel_are_found_across_the_chunks_of_their_xml(bring, monkeypatch):
    monkeypatch.setattr(excel_file, "XML_READ_BYTES", 64)
    rows = made.sheet_rows(["question", "answer"], ["a", ('t="e"', "<v>#N/A</v>")], ["b", "c"])
    info = bring("book.xlsx", made.xlsx({"One": rows}))
    assert [one["params"]["cell"] for one in info.dropped_rows()] == ["B2"] and info.kept == 1


def test_a_path_may_be_relative_whatever_process_reads_it(store, tmp_path, monkeypatch):
    (tmp_path / "a.docx").write_bytes(made.docx(made.paragraph("Some text that stands here.")))
    monkeypatch.chdir(tmp_path)
    assert "Some text" in text(run(ingest(store, Path("a.docx"), eval_share=0)))


def test_of_several_files_each_is_told_with_its_split_and_a_lost_row_with_its_file(store, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(ROWS + b'{"question": "no answer"}\n')
    (folder / "test.jsonl").write_bytes(ROWS)
    (folder / "LICENSE").write_text("free")
    info = run(ingest(store, folder, eval_share=0))
    for lang in LANGUAGES:
        told = files_text(lang, info)
        assert "train.jsonl" in told and "test.jsonl" in told and "6" in told
        assert "LICENSE" in " ".join(left_text(lang, info)) and "-" not in left_text(lang, info)[0]
    (lost,) = info.dropped_rows()
    assert row_text(info, lost, "en") == "train.jsonl, row 7"
    counts = of_file(info)
    assert (counts.train, counts.test, counts.read) == (6, 6, 13) and "6 for testing" in split_text("en", counts)


def test_what_today_trains_of_the_rows_is_said(store, tmp_path):
    file = tmp_path / "tags.jsonl"
    file.write_text('{"tokens": ["a", "b"], "ner_tags": ["O", "X"]}\n' * 3)
    said = tasks_text("en", run(ingest(store, file, eval_share=0)))
    assert "0 of 3" in said and "TOKEN_CLS" in said

"""Makers of files as they come from damaged disks, wrong exports and hostile hands: `FILES` has them by name.

Each is made when it is asked for, and harmless: what would unfold far is small against a limit that the test lowers.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache

from tests.studio import file_helpers as made

Maker = Callable[[], bytes]
FILES: dict[str, Maker] = {}
"""The name under which a file is brought, and what makes its bytes; what stands before a `:` only tells it apart."""
ROWS = [{"instruction": f"question {i}", "output": f"answer {i}"} for i in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "instruction,output\n" + "".join(f"question {i},answer {i}\n" for i in range(40))
MARKUP = "<img src=x onerror=alert(1)>'\"&<script>alert(1)</script>"
GERMAN = "Über größere Straßen führt keine Brücke zurück nach Köln"
CHINESE = "今天的天气很好我们一起去公园散步吧"


def add(name: str, data: bytes | str | Maker) -> None:
    assert name not in FILES, name
    FILES[name] = data if callable(data) else (lambda: data.encode() if isinstance(data, str) else data)


def cut(name: str, whole: Maker, shares: tuple[float, ...] = (0.1, 0.5, 0.9)) -> None:
    """A file that ends too early, at several places, and one whose middle is gone or zero."""
    for share in shares:
        add(f"cut {share}:{name}", lambda whole=whole, share=share: whole()[: max(1, int(len(whole()) * share))])
    add(f"cut last:{name}", lambda: whole()[:-1])
    add(f"cut first:{name}", lambda: whole()[7:])
    add(f"cut hole:{name}", lambda: _with_hole(whole(), b""))
    add(f"cut zeros:{name}", lambda: _with_hole(whole(), bytes(len(whole()) // 5)))


def _with_hole(data: bytes, filling: bytes) -> bytes:
    at = len(data) * 2 // 5
    return data[:at] + filling + data[at + max(1, len(data) // 5) :]


# ---- whole files, to be spoiled


@cache
def parquet(**how) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    target = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(ROWS), target, **how)
    return target.getvalue()


def table_bytes(columns: dict, schema=None, kind: str = "parquet") -> bytes:
    import pyarrow as pa
    from pyarrow import ipc
    from pyarrow import parquet as pq

    table = pa.table(columns, schema=schema)
    target = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, target)
    else:
        new = ipc.new_file if kind == "arrow" else ipc.new_stream
        with new(target, table.schema) as writer:
            writer.write_table(table)
    return target.getvalue()


@cache
def arrow(kind: str) -> bytes:
    return table_bytes({key: [row[key] for row in ROWS] for key in ROWS[0]}, kind=kind)


@cache
def workbook() -> bytes:
    return made.xlsx({"one": made.sheet_rows(["instruction", "output"], *[list(row.values()) for row in ROWS])})


@cache
def word() -> bytes:
    return made.docx(made.paragraph("Title", "Heading1") + "".join(made.paragraph(f"Text {i}.") for i in range(30)))


@cache
def book() -> bytes:
    return made.epub({f"{i}.xhtml": f"<h1>Chapter {i}</h1><p>It was night.</p>" for i in range(4)})


@cache
def paper() -> bytes:
    return made.pdf([(18, "Heading"), (11, "The first line of text.")], [(11, "The second page.")])


@cache
def slides() -> bytes:
    import pptx

    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Plan"
    target = io.BytesIO()
    deck.save(target)
    return target.getvalue()


def archive() -> bytes:
    return made.zipped({"a.jsonl": LINES, "b.csv": CSV})


# ---- cut off, each format at several places

cut("rows.json", lambda: json.dumps(ROWS).encode())
cut("rows.jsonl", lambda: LINES.encode())
cut("rows.csv", lambda: ("instruction,output\n" + '"a ""quoted"" text\nof two lines",b\n' * 20).encode())
cut("rows.parquet", parquet)
cut("rows.arrow", lambda: arrow("arrow"))
cut("stream.arrow", lambda: arrow("stream"))
cut("book.xlsx", workbook, (0.1, 0.5, 0.95))
cut("paper.docx", word)
cut("novel.epub", book)
cut("paper.pdf", paper)
cut("deck.pptx", slides, (0.3, 0.9))
cut("all.zip", archive)
cut("rows.jsonl.gz", lambda: gzip.compress(LINES.encode()))
cut("rows.jsonl.bz2", lambda: bz2.compress(LINES.encode()), (0.5,))
cut("rows.jsonl.xz", lambda: lzma.compress(LINES.encode()), (0.5,))
cut("all.tar", lambda: made.tarred({"a.jsonl": LINES.encode()}), (0.5,))
cut("all.tgz", lambda: made.tarred({"a.jsonl": LINES.encode()}, "w:gz"), (0.5,))

# ---- empty, or nothing but a mark

for ending in ("json", "jsonl", "csv", "parquet", "arrow", "xlsx", "txt", "md", "pdf", "docx", "html", "zip", "tar"):
    add(f"empty.{ending}", b"")
for ending in ("json", "jsonl", "csv", "txt"):
    add(f"blank.{ending}", "  \n\t\n \n")
    for mark, word_ in ((codecs.BOM_UTF8, "8"), (codecs.BOM_UTF16_LE, "16"), (codecs.BOM_UTF32_BE, "32")):
        add(f"bom{word_}.{ending}", mark)
add("nothing.json", "[]")
add("objects.json", "{}")
add("null.json", "null")
add("empties.jsonl", "{}\n{}\n")
add("header alone.csv", "instruction,output\n")
add("empty.gz:rows.jsonl.gz", gzip.compress(b""))
add("nothing in it.zip", made.zipped({}))
add("a picture in it.zip", made.zipped({"a.png": "x"}))
add("empty files in it.zip", made.zipped({"a.jsonl": "", "b.csv": ""}))

# ---- wrong encoding

for name, encoding in (("latin", "latin-1"), ("cp1252", "cp1252"), ("cp1251", "cp1251"), ("gbk", "gbk"),
                       ("big5", "big5"), ("sjis", "shift_jis"), ("koi8", "koi8-r"), ("euckr", "euc-kr")):  # fmt: skip
    said = {"cp1251": "Погода сегодня", "koi8": "Погода сегодня", "gbk": CHINESE, "big5": "今天天氣很好",
            "sjis": "今日は良い天気", "euckr": "오늘 날씨가"}.get(name, GERMAN)  # fmt: skip
    add(f"{name}.csv", f"instruction,output\n{said},{said}\n".encode(encoding))
    add(f"{name}.jsonl", json.dumps({"instruction": said, "output": "x"}, ensure_ascii=False).encode(encoding))
add("utf16 without mark.csv", CSV.encode("utf-16-le"))
add("utf16 odd.csv", codecs.BOM_UTF16_LE + CSV.encode("utf-16-le") + b"\x41")
add("utf16 half pair.csv", codecs.BOM_UTF16_LE + "a,b\n".encode("utf-16-le") + b"\x00\xd8\x41\x00")
add("utf32 beyond.csv", codecs.BOM_UTF32_LE + "a,b\n".encode("utf-32-le") + b"\xff\xff\xff\x7f")
add("late latin.jsonl", LINES.encode() * 50 + '{"instruction": "q", "output": "Köln"}\n'.encode("latin-1"))
add("half a character.jsonl", LINES.encode() + '{"instruction": "q", "output": "你'.encode()[:-1])
add("bytes.txt", bytes(range(256)) * 20)
add("overlong.txt", b"text \xc0\xaf and \xed\xa0\x80 more")

# ---- NUL bytes and other debris

add("nul.jsonl", LINES.replace("answer 3", "ans\x00wer"))
add("nul escaped.jsonl", LINES.replace("answer 3", "ans\\u0000wer"))
add("nul.csv", CSV.replace("answer 3", "ans\x00wer"))
add("nul alone.jsonl", b"\x00" * 4096)
add("nul tail.jsonl", LINES.encode() + b"\x00" * 4096)
add("nul name.csv", "instr\x00uction,output\na,b\n")
add("controls.txt", "text" + "".join(map(chr, range(32))) + "text")
add("bidi.txt", "abc\u202e\u2066cba\u2069 text")
add("surrogate.jsonl", '{"instruction": "\\ud800", "output": "\\udc00 x"}\n{"\\ud800": 1}\n')
add("surrogate pair.jsonl", '{"instruction": "q", "output": "\\ud83d\\ude00"}\n')

# ---- shapes that are mixed, odd, deep

add("mixed.jsonl", LINES + '{"text": "t"}\n{"messages": [{"role": "user", "content": "q"}]}\n[1]\n3\n"s"\nnull\n')
add("mixed top.jsonl", '[1]\n3\n"s"\n' + LINES)
add("lists.json", "[[1, 2], [3, 4]]")
add("numbers.json", "[1, 2, 3]")
add("words.json", '["a", "b"]')
add("text in text.json", json.dumps(json.dumps(ROWS)))
add("two lists.json", json.dumps({"train": ROWS, "test": ROWS}))
add("uneven.json", json.dumps({"instruction": ["a", "b"], "output": ["c"]}))
add("deep.json", "[" * 100_000 + "]" * 100_000)
add("deep object.jsonl", '{"a":' * 50_000 + "1" + "}" * 50_000 + "\n" + LINES)
add("deep cell.jsonl", LINES + '{"instruction": "q", "output": ' + "[" * 900 + "]" * 900 + "}\n")
add("deep turns.jsonl", '{"messages": ' + '[{"role": "user", "content": ' * 300 + '"x"' + "}]" * 300 + "}\n")
add("wide.jsonl", json.dumps({f"c{i}": i for i in range(20_000)}) + "\n")
add("wide.csv", ",".join(f"c{i}" for i in range(5_000)) + "\n" + ",".join("x" * 5_000) + "\n")
add("unknown.jsonl", '{"foo": 1, "bar": 2}\n' * 3)
add("no answer.jsonl", '{"instruction": "q"}\n' * 3)
add("null cells.jsonl", '{"instruction": null, "output": null}\n' * 3)
add("roles.jsonl", '{"messages": [{"role": "narrator", "content": "x"}]}\n' * 3)
add("no roles.jsonl", '{"messages": [{"content": "x"}, 3, null]}\n' * 3)
add("messages as text.jsonl", "{\"messages\": \"[{'role': 'user', 'content': 'x'}]\"}\n" * 3)
add("pictures.jsonl", '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}\n' * 3)
add("tags.jsonl", '{"tokens": ["a", "b"], "ner_tags": [1]}\n' * 3)
add("span.jsonl", '{"question": "q", "context": "c", "answers": {"text": ["z"], "answer_start": [99]}}\n' * 3)
add(
    "bad calls.jsonl",
    '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [3]}]}\n' * 3,
)

# ---- numbers and names

add("huge number.jsonl", LINES + '{"instruction": "q", "output": ' + "9" * 100_000 + "}\n")
add("huge exponent.jsonl", LINES + '{"instruction": "q", "output": 1e999999999}\n')
add("special floats.jsonl", '{"instruction": NaN, "output": Infinity}\n{"instruction": -Infinity, "output": NaN}\n')
add("special words.csv", "instruction,output\nnan,inf\nNaN,-Infinity\n,NULL\n")
add("doubled.jsonl", '{"instruction": "a", "instruction": "b", "output": "c"}\n' * 3)
add("doubled inside.jsonl", '{"messages": [{"role": "user", "role": "assistant", "content": "x"}]}\n' * 3)
add("doubled.csv", "output,output\na,b\n")
add("doubled blank.csv", ",,\na,b,c\n")
add("python.jsonl", "{'instruction': 'q', 'output': None}\n" * 3)
add("comments.json", '[{"instruction": "q", "output": "a"}, // no\n]')
add("comma.json", '[{"instruction": "q", "output": "a"},]')
add("no commas.json", '[{"text": "a"} {"text": "b"}]')
add("no brackets.json", '{"text": "a"}, {"text": "b"}')
add("tail.json", json.dumps(ROWS) + "tail")
add("javascript.json", "var rows = " + json.dumps(ROWS))
add("line breaks.jsonl", '{"instruction": "a\nb", "output": "c"}\n' * 3)
add("one line.jsonl", " ".join(json.dumps(row) for row in ROWS))
add("carriage.jsonl", LINES.replace("\n", "\r"))
add("separators.jsonl", LINES.replace("answer 3", "a\u2028b\u2029c\x85d"))

# ---- tables

add("ragged.csv", "instruction,output\na\na,b,c\na,b\n,\n,,,,\n")
add("all ragged.csv", "instruction,output\n" + "a,b,c\n" * 5)
add("open quote.csv", 'instruction,output\n"never closed,b\nc,d\n')
add("stray quote.csv", 'instruction,output\n"a"b,c\nd,e\n')
add("backslash quote.csv", 'instruction,output\n"a \\"b\\" c",d\n')
add("wrong quote.csv", "instruction,output\n'a, b','c'\n")
add("no header.csv", "What is the capital of France?,It is Paris.\nAnd of Spain?,It is Madrid.\n")
add("sep.csv", "sep=;\ninstruction;output\na;b\n")
add("sep odd.csv", "sep=\n" + CSV)
add("one column.csv", "text\n" + "a\n" * 5)
add("separators.csv", "instruction;output\na,b;c\n")
add("formulas.csv", "instruction,output\n=cmd|'/c calc'!A0,@SUM(1)\n+1,-1\n=HYPERLINK(\"http://x\"),x\n")
add("markup.csv", f'{json.dumps(MARKUP)},output\n"{MARKUP.replace(chr(34), chr(34) * 2)}",x\n')
add("markup.jsonl", json.dumps({MARKUP: MARKUP, "instruction": MARKUP, "output": MARKUP}) + "\n")
add("markup roles.jsonl", json.dumps({"messages": [{"role": MARKUP, "content": MARKUP}]}) + "\n")
add("huge cell.csv", "instruction,output\n" + "x" * 3_000_000 + ",b\nc,d\n")
add("huge cell.jsonl", json.dumps({"instruction": "x" * 3_000_000, "output": "y"}) + "\n")
add("huge line.jsonl", '{"instruction": "' + "x" * 3_000_000)
add("templates.jsonl", '{"instruction": "{{7*7}} {%x%} ${x} {0.__class__}", "output": "{file}"}\n')


def sheet(*rows: list, more: str = "") -> bytes:
    return made.xlsx({"s": made.sheet_rows(*rows) + ("|" + more if more else "")})


FORMULA, ERROR = ("", "<f>1+1</f>"), ('t="e"', "<v>#REF!</v>")
add("formulas.xlsx", lambda: sheet(["instruction", "output"], [FORMULA, FORMULA], [FORMULA, "b"]))
add("errors.xlsx", lambda: sheet(["instruction", "output"], [ERROR, "b"], ["a", ERROR]))
add("merged.xlsx", lambda: sheet(["instruction", "output"], ["a", "b"],
                                 more='<mergeCells count="1"><mergeCell ref="A1:B9"/></mergeCells>'))  # fmt: skip
add("merged wide.xlsx", lambda: sheet(["instruction", "output"], ["a", "b"],
                                      more='<mergeCells><mergeCell ref="A2:XFD1048576"/></mergeCells>'))  # fmt: skip
add("far cell.xlsx", lambda: made.xlsx({"s": made.sheet_rows(["instruction", "output"], ["a", "b"])
                                       + '<row r="2000"><c r="ZZ2000"><v>1</v></c></row>'}))  # fmt: skip
add("no cells.xlsx", lambda: made.xlsx({"s": ""}))
add("header alone.xlsx", lambda: sheet(["instruction", "output"]))
add("doubled.xlsx", lambda: sheet(["a", "a"], ["x", "y"]))
add("blank rows.xlsx", lambda: made.xlsx({"s": '<row r="1"/><row r="2"/>'}))
add("two sheets.xlsx", lambda: made.xlsx({"a": made.sheet_rows(["foo", "bar"], [1, 2]), "b": ""}))
add("markup.xlsx", lambda: sheet(["instruction", "output"], ["&lt;script&gt;", "x"]))
add("no sheets.xlsx", lambda: made.xlsx({}))
add("broken sheet.xlsx", lambda: made.zipped({"xl/workbook.xml": "<workbook", "[Content_Types].xml": "<x/>"}))
add("row zero.xlsx", lambda: made.xlsx({"s": '<row r="0"><c r="A0"><v>1</v></c></row>'}))
add("beyond the last column.xlsx", lambda: made.xlsx({"s": '<row r="1"><c r="XFE1"><v>1</v></c></row>'}))
add("text as workbook.xlsx", CSV)
add("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
add("locked.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le") + bytes(600))

# ---- Parquet and Arrow of other kinds


def of_types(kind: str) -> bytes:
    """A column of every type beside the answer, with values at the ends of what each can hold."""
    import datetime
    import decimal

    import pyarrow as pa

    types = {
        "int8": [-128, None], "uint64": [2**64 - 1, 0], "double": [float("nan"), float("-inf")], "flag": [True, None],
        "date": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)], "bytes": [b"\xff\xfe", b""],
        "decimal": [decimal.Decimal("1e-9"), None], "nothing": [None, None], "list": [[1, None], []],
        "struct": [{"a": {"b": [1]}}, None],
    }  # fmt: skip
    arrays = {name: pa.array(values) for name, values in types.items() if name not in ("int8", "uint64")}
    arrays |= {"int8": pa.array(types["int8"], pa.int8()), "uint64": pa.array(types["uint64"], pa.uint64())}
    arrays |= {
        "ns": pa.array([2**62, -(2**62)], pa.timestamp("ns")), "zone": pa.array([0, None], pa.timestamp("us", "UTC")),
        "time": pa.array([0, 1], pa.time64("ns")), "span": pa.array([1, None], pa.duration("s")),
        "word": pa.array(["a", None]).dictionary_encode(), "large": pa.array(["x", "y"], pa.large_string()),
        "fixed": pa.array([b"ab", b"cd"], pa.binary(2)), "map": pa.array([[("k", 1), ("k", 2)], []],
                                                                         pa.map_(pa.string(), pa.int64())),
        "instruction": pa.array(["q", "q"]), "output": pa.array(["a", "b"]),
    }  # fmt: skip
    return table_bytes(arrays, kind=kind)


def answer_of(kind: str) -> bytes:
    """The answer in a type that is no text."""
    import datetime

    import pyarrow as pa

    values = {
        "bytes": pa.array([b"a", b"\xff"]), "dates": pa.array([datetime.date(1, 1, 1)] * 2), "nothing": pa.nulls(2),
        "views": pa.array(["a", "b"], pa.string_view()), "floats": pa.array([0.1, float("nan")], pa.float32()),
        "structs": pa.array([{"x": 1}, None]), "lists": pa.array([["a"], []]),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"])),
        "union": pa.UnionArray.from_dense(pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()),
                                          [pa.array(["a"]), pa.array([1])]),
        "extension": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16] * 2, pa.binary(16))),
    }  # fmt: skip
    return table_bytes({"instruction": pa.array(["q", "q"]), "output": values[kind]}, kind="arrow")


for kind in ("parquet", "arrow"):
    add(f"types.{kind}", lambda kind=kind: of_types(kind))
for kind in ("bytes", "dates", "nothing", "views", "floats", "structs", "lists", "runs", "union", "extension"):
    add(f"answer of {kind}.arrow", lambda kind=kind: answer_of(kind))


def without_rows(kind: str) -> bytes:
    import pyarrow as pa

    schema = pa.schema([("instruction", pa.string()), ("output", pa.string())])
    return table_bytes({"instruction": [], "output": []}, schema, kind)


def without_columns(kind: str) -> bytes:
    return table_bytes({}, kind=kind)


def doubled_columns() -> bytes:
    import pyarrow as pa
    from pyarrow import ipc

    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    target = io.BytesIO()
    with ipc.new_file(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


for kind in ("parquet", "arrow", "stream"):
    end = "parquet" if kind == "parquet" else "arrow"
    add(f"no rows {kind}.{end}", lambda kind=kind: without_rows(kind))
    add(f"no columns {kind}.{end}", lambda kind=kind: without_columns(kind))
add("doubled.arrow", doubled_columns)
add("footer lies.parquet", lambda: parquet()[:-8] + struct.pack("<I", 2**31) + b"PAR1")
add("footer noise.parquet", lambda: parquet()[:-60] + bytes(range(52)) + parquet()[-8:])
add("marks alone.parquet", b"PAR1" + bytes(40) + b"PAR1")
add("locked.parquet", lambda: parquet()[:-4] + b"PARE")
add("noise.parquet", b"PAR1" + bytes(range(256)) * 8 + struct.pack("<I", 100) + b"PAR1")
add("noise.arrow", b"ARROW1\x00\x00" + bytes(range(256)) * 8)
add("old.feather", b"FEA1" + bytes(64) + b"FEA1")

# ---- documents

add("scanned.pdf", lambda: made.pdf([], [], []))
add("locked.pdf", lambda: made.pdf([(11, "x")], password="secret"))
add("no pages.pdf", lambda: made.pdf())
add("head alone.pdf", b"%PDF-1.7\n")
add("noise.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 8 + b"\n%%EOF")
add("no end.pdf", lambda: paper().replace(b"%%EOF", b""))
add("no table.pdf", lambda: paper().replace(b"startxref", b"startxxxx"))
add("table elsewhere.pdf", lambda: paper()[: paper().rindex(b"startxref")] + b"startxref\n99999999\n%%EOF")
add("page of itself.pdf", lambda: paper().replace(b"/Kids", b"/Kide"))
add("debris before.pdf", lambda: b"\n\n<!-- x -->\n" + paper())
add("markup.pdf", lambda: made.pdf([(11, "<script>alert</script>")]))
add("no document.docx", lambda: made.zipped({"[Content_Types].xml": "<x/>", "a.txt": "x"}))
add("no body.docx", lambda: made.docx(""))
add("broken xml.docx", lambda: made.docx("<w:p><w:r>"))
add("pictures alone.docx", lambda: made.docx("<w:p><w:r><w:drawing/></w:r></w:p>"))
add("markup.docx", lambda: made.docx(made.paragraph("&lt;script&gt;alert(1)&lt;/script&gt;")))
add("deep.docx", lambda: made.docx("<w:tbl><w:tr><w:tc>" * 60 + "<w:p/>" + "</w:tc></w:tr></w:tbl>" * 60))
add("entities.docx", lambda: made.zipped({
    "[Content_Types].xml": "<x/>", "_rels/.rels": "<x/>",
    "word/document.xml": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'}))  # fmt: skip
add("workbook as document.docx", workbook)
add("old.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
add("rtf.docx", rb"{\rtf1 text}")
add("no chapters.epub", lambda: made.epub({}))
add("no container.epub", lambda: made.zipped({"mimetype": "application/epub+zip", "OEBPS/a.xhtml": "<p>x</p>"}))
add("broken container.epub", lambda: made.zipped({"META-INF/container.xml": "<container"}))
add("no book.epub", lambda: made.zipped({"META-INF/container.xml": '<c><rootfile full-path="gone.opf"/></c>'}))
add("climbing.epub", lambda: made.epub({"../../../etc/passwd": "<p>x</p>"}))
add("locked.epub", lambda: made.epub({"a.xhtml": "<p>x</p>"}, {"META-INF/encryption.xml": "<x>OEBPS/a.xhtml</x>"}))
add("pictures alone.epub", lambda: made.epub({"a.xhtml": '<img src="x"/>'}))
add("no slides.pptx", lambda: made.zipped({"ppt/presentation.xml": "<p/>", "[Content_Types].xml": "<x/>"}))
add("word as slides.pptx", word)
add("scripts alone.html", "<html><head><title>x</title></head><body><script>x()</script></body></html>")
add("deep.html", "<div>" * 2_000 + "x" + "</div>" * 2_000)
add("open tags.html", "<p><b><i><table><tr><td>text <a href='javascript:x()'>link</a>")
add("other charset.html", '<meta charset="no-such-charset"><p>text</p>')
add("lying charset.html", '<meta charset="utf-8"><p>Köln</p>'.encode("latin-1"))
add("utf7.html", '<meta charset="utf-7"><p>+ADw-script+AD4-alert(1)+ADw-/script+AD4-</p>')
add("codec.html", '<meta charset="zip_codec"><p>text</p>')
add("nul.html", "<p>te\x00xt</p>")
add("comment.html", "<!-- <p>no</p> -->")
add("json lines.txt", LINES)

# ---- the ending of another kind

KINDS = {"json": lambda: json.dumps(ROWS).encode(), "csv": lambda: CSV.encode(), "parquet": parquet,
         "arrow": lambda: arrow("arrow"), "xlsx": workbook, "pdf": paper, "docx": word, "zip": archive,
         "png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(64), "sqlite": lambda: b"SQLite format 3\x00" + bytes(64),
         "7z": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(64), "elf": lambda: b"\x7fELF" + bytes(64),
         "pickle": lambda: pickle.dumps(ROWS)}  # fmt: skip
for is_, called in (
    ("json", "csv"), ("json", "parquet"), ("json", "xlsx"), ("json", "pdf"), ("json", "zip"), ("csv", "json"),
    ("csv", "jsonl"), ("csv", "arrow"), ("parquet", "csv"), ("parquet", "json"), ("parquet", "txt"), ("arrow", "jsonl"),
    ("xlsx", "csv"), ("xlsx", "docx"), ("pdf", "txt"), ("pdf", "docx"), ("docx", "md"), ("docx", "epub"),
    ("zip", "jsonl"), ("zip", "parquet"), ("png", "pdf"), ("png", "txt"), ("sqlite", "csv"), ("7z", "zip"),
    ("elf", "py"), ("elf", "txt"), ("pickle", "json"), ("pickle", "parquet"), ("pickle", "txt"), ("pickle", "csv"),
):  # fmt: skip
    add(f"{is_} called.{called}", KINDS[is_])
for protocol in (0, 1, 2, 5):
    add(f"pickle {protocol}.jsonl", pickle.dumps(ROWS, protocol))
add("unknown.bin", b"\x00\x01\x02")
add("rows.pkl", pickle.dumps(ROWS))
add("model.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
add("no ending", LINES)

# ---- archives


def linked(target: str, kind: bytes = tarfile.SYMTYPE) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("a.jsonl")
        link.type, link.linkname = kind, target
        tar.addfile(link)
    return data.getvalue()


def lying_size(size: int) -> bytes:
    """A ZIP whose directory says another size than there is."""
    data = bytearray(made.zipped({"a.jsonl": LINES}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(data)


for path in (
    "../out.jsonl",
    "/etc/out.jsonl",
    "a/../../out.jsonl",
    "..\\out.jsonl",
    "C:\\out.jsonl",
    "a/../../../b.csv",
):
    shown = path.replace("/", "_").replace("\\", "+").replace(":", "=")
    add(f"climbs {shown}.zip", lambda path=path: made.zipped({path: LINES, "ok.jsonl": LINES}))
    add(f"climbs {shown}.tar", lambda path=path: made.tarred({path: LINES.encode()}))
add("link.tar", lambda: linked("/etc/passwd"))
add("hard link.tar", lambda: linked("../../x.jsonl", tarfile.LNKTYPE))
add("device.tar", lambda: linked("", tarfile.CHRTYPE))
add("unfolds.zip", lambda: made.zipped({"a.jsonl": b" " * 3_000_000}))
add("unfolds.jsonl.gz", lambda: gzip.compress(b" " * 3_000_000))
add("unfolds.jsonl.bz2", lambda: bz2.compress(b" " * 3_000_000))
add("unfolds.tgz", lambda: made.tarred({"a.jsonl": b" " * 3_000_000}, "w:gz"))
add("unfolds.docx", lambda: made.docx(made.paragraph(" " * 3_000_000)))
add("unfolds.xlsx", lambda: made.xlsx({"s": " " * 3_000_000}))
add("unfolds twice.zip", lambda: made.zipped({"a.zip": made.zipped({"a.jsonl": b" " * 100_000})}))
add("says more.zip", lambda: lying_size(10_000))
add("says less.zip", lambda: lying_size(10))
add("same name.zip", lambda: _same_name())
add("pickles.zip", lambda: made.zipped({"a.pkl": pickle.dumps(ROWS), "b.jsonl": pickle.dumps(ROWS)}))
add("markup name.zip", lambda: made.zipped({"<img src=x>.jsonl": LINES}))
add("newline name.zip", lambda: made.zipped({"a\nb\u202e.jsonl": LINES}))
add("long name.zip", lambda: made.zipped({"x" * 400 + "/" + "y" * 400 + ".jsonl": LINES}))
add("folder as file.zip", lambda: made.zipped({"a.jsonl/b.txt": "x", "a.jsonl": LINES}))
add("folders alone.zip", lambda: made.zipped({"a.jsonl/": "", "b/": ""}))
add("readme.zip", lambda: made.zipped({"README.md": "# About", "a.jsonl": LINES}))
add("locked.zip", lambda: _locked())
add("method.zip", lambda: _unknown_method())
add("zip of nothing.gz:all.tar.gz", gzip.compress(b""))
add("noise.zip", b"PK\x03\x04" + bytes(range(256)))
add("noise.tar", bytes(range(256)) * 8)
add("noise.jsonl.gz", b"\x1f\x8b" + bytes(range(256)))
add("noise.jsonl.zst", b"\x28\xb5\x2f\xfd" + bytes(range(256)))
add("twice.jsonl.gz", lambda: gzip.compress(gzip.compress(LINES.encode())))
add("tail.jsonl.gz", lambda: gzip.compress(LINES.encode()) + b"tail")
add("checksum.jsonl.gz", lambda: gzip.compress(LINES.encode())[:-8] + bytes(8))


def _same_name() -> bytes:
    import warnings

    data = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(data, "w") as package:
        warnings.simplefilter("ignore")
        package.writestr("a.jsonl", LINES)
        package.writestr("a.jsonl", LINES[:200])
    return data.getvalue()


def _locked() -> bytes:
    """The mark of a password in a ZIP's directory: what is behind it does not matter."""
    data = bytearray(made.zipped({"a.jsonl": LINES}))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    return bytes(data)


def _unknown_method() -> bytes:
    data = bytearray(made.zipped({"a.jsonl": LINES}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 10 : at + 12] = data[8:10] = struct.pack("<H", 97)
    return bytes(data)

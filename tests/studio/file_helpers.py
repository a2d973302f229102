"""Small files of every kind, written by hand: what their libraries read, and nothing more."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return data.getvalue()


def xlsx(sheets: Mapping[str, str]) -> bytes:
    """A workbook; each sheet is the XML of its rows and, behind `|`, of what follows them."""
    names = list(sheets)
    book = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(names, 1))
    links = "".join(
        f'<Relationship Id="r{i}" Type="{R}/worksheet" Target="worksheets/s{i}.xml"/>' for i, _ in enumerate(names, 1)
    )
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{RELATIONS}"><Relationship Id="r1" Type="{R}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets>{book}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELATIONS}">{links}</Relationships>',
    }
    for i, rows in enumerate(sheets.values(), 1):
        inside, _, more = rows.partition("|")
        parts[f"xl/worksheets/s{i}.xml"] = f'<worksheet xmlns="{S}"><sheetData>{inside}</sheetData>{more}</worksheet>'
    return zipped(parts)


def sheet_rows(*rows: list[object], first: int = 1) -> str:
    """Rows of cells: text as it is, numbers as Excel keeps them; None is no cell, a tuple XML of the cell by itself."""
    said = []
    for number, row in enumerate(rows, start=first):
        cells = []
        for place, value in enumerate(row):
            at = f'r="{chr(65 + place)}{number}"'
            if isinstance(value, tuple):
                cells.append(f"<c {at} {value[0]}>{value[1]}</c>")
            elif isinstance(value, str):
                cells.append(f'<c {at} t="inlineStr"><is><t>{value}</t></is></c>')
            elif value is not None:
                cells.append(f"<c {at}><v>{value}</v></c>")
        said.append(f'<row r="{number}">{"".join(cells)}</row>')
    return "".join(said)


def docx(body: str) -> bytes:
    """A document of Word's; `body` is WordprocessingML."""
    return zipped(
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{RELATIONS}"><Relationship Id="r1" Type="{R}/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
        }
    )


def paragraph(text: str, style: str = "") -> str:
    look = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{look}<w:r><w:t>{text}</w:t></w:r></w:p>"


def word_table(*rows: list[str]) -> str:
    lines = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{line}</w:tr>' for line in lines)}</w:tbl>"


def epub(chapters: Mapping[str, str], more: Mapping[str, str] | None = None) -> bytes:
    items = "".join(f'<item id="{name}" href="{name}"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest>'
            f"<spine>{spine}</spine></package>",
            **{f"OEBPS/{name}": text for name, text in chapters.items()},
            **(more or {}),
        }
    )


def pdf(*pages: list[tuple[int, str]], password: str | None = None) -> bytes:
    """Pages of lines, each with the size of its letters in points; a page without lines is a scan's."""
    import pypdf
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = pypdf.PdfWriter()
    for lines in pages:
        page = writer.add_blank_page(595, 842)
        names = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
        font = DictionaryObject({NameObject(key): NameObject(value) for key, value in names.items()})
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
        words = [f"BT /F1 {size} Tf 72 {780 - 24 * at} Td ({text}) Tj ET" for at, (size, text) in enumerate(lines)]
        stream = DecodedStreamObject()
        stream.set_data("\n".join(words).encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(stream)
    if password is not None:
        writer.encrypt(password, "owner", algorithm="RC4-128")
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()

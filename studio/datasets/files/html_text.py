"""HTML as Markdown: headings, lists, tables, code and links' words stay; scripts, styles and navigation go."""

from __future__ import annotations

import re
from typing import Any

_GONE = ("script", "style", "noscript", "template", "head", "nav", "iframe", "svg", "object", "embed", "form", "button")
_LINES = re.compile(r"\n{3,}")
_DEEPEST = 300


def markdown_of(html: str | bytes) -> str:
    """The text of a page. Raises `RecursionError` for what is nested beyond all pages."""
    from bs4 import BeautifulSoup, Comment
    from markdownify import ATX, MarkdownConverter

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(_GONE):
        tag.decompose()
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    if _is_deep(soup):
        raise RecursionError("nested too deeply")
    for table in soup("table"):
        _with_header(table)
    converter = MarkdownConverter(
        heading_style=ATX,
        strip=["img", "a"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        bullets="-",
    )
    return _LINES.sub("\n\n", converter.convert_soup(soup)).strip() + "\n"


def _is_deep(soup: Any) -> bool:
    """Walked without recursion: a level at a time."""
    level, depth = [soup], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            return True
        level = [child for tag in level for child in tag.children if getattr(child, "children", None) is not None]
    return False


def _with_header(table: Any) -> None:
    """Word's and many pages' tables name their columns in ordinary cells: the first row is the header. A bar inside a
    cell would part it in two."""
    if table.find("th") is None and (first := table.find("tr")) is not None:
        for cell in first.find_all("td", recursive=False):
            cell.name = "th"
    for cell in table.find_all(["td", "th"]):
        for text in cell.find_all(string=lambda one: "|" in one):
            text.replace_with(text.replace("|", "\\|"))

"""Places that a template of another tool left open: `{{name}}`, `{instruction}`, `<input>`, `[INSERT NAME]`.

Code, Jinja, LaTeX, HTML and whatever stands in a fence or between backticks are written with the same marks and
mean it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from studio.datasets.cleaning.parts import SPOKEN, parts
from studio.datasets.cleaning.ratios import is_code
from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row

_NAMES = (
    "instruction|instructions|input|inputs|output|question|answer|context|query|prompt|response|completion|text|document"
    "|article|passage|topic|history|system|system_prompt|system_message|user|user_input|user_message|user_query|assistant"
    "|message|messages|name|username|user_name|language|source|target|title|summary|content|keyword|keywords|bot_name|char"
    "|问题|回答|指令|输入|输出|上下文|姓名|名字|内容|主题|标题|文本"
)
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|\\\[.*?\\\]|\\\(.*?\\\)", re.DOTALL
)
"""Fences, code in a line, formulas."""
_JINJA = re.compile(r"\{%-?\s*\w+.*?%\}|\{#.*?#\}", re.DOTALL)
_LATEX = re.compile(r"\\(?:begin|frac|documentclass|usepackage|textbf|section|newcommand|left|sum|int)\b")
_HTML = re.compile(
    r"</[a-z]+\s*>|<(?:html|div|form|body|span|br|p|label|script|table|li|ul|head|svg)\b|<\?xml", re.IGNORECASE
)
_DOUBLE = re.compile(r"(?<![\\{$%A-Za-z0-9_^])\{\{\s*([A-Za-z_][\w .-]{0,40}?|[\u4e00-\u9fff]{1,12})\s*\}\}(?!\})")
_SINGLE = re.compile(rf"(?<![\\${{%A-Za-z0-9_^}}\"'/])\{{({_NAMES})\}}(?![}}\"'/])", re.IGNORECASE)
_ANGLED = re.compile(rf"<({_NAMES}|(?:your|insert|enter|请)[ _][\w ]{{1,30}})>", re.IGNORECASE)
_SQUARE = re.compile(
    r"\[(?:INSERT|ENTER|ADD|FILL|YOUR|PLACEHOLDER)\b[^\]\n]{0,60}\](?!\()"
    r"|\[(?:Insert|insert|Your|your) [^\]\n]{1,60}\](?!\()"
    r"|[\[【](?:请?(?:插入|填写|填入|输入|替换))[^\]】\n]{0,30}[\]】]|[\[【](?:您|你)的[^\]】\n]{1,12}[\]】]"
)


def judge(row: Row, asked: Asked) -> Verdict | None:
    if is_code("", asked.file_of(row)):
        return None
    found = next((one for part in parts(row) if part.role in SPOKEN for one in placeholders(part.text)), None)
    if found is None:
        return None
    return Verdict([("placeholder", {"text": found})], () if asked.action == "drop" else None)


def placeholders(text: str) -> Iterator[str]:
    if not any(mark in text for mark in "{<[【"):
        return
    said = _QUOTED.sub(" ", text)
    is_written_in_code = is_code(said)
    if not (is_written_in_code or _JINJA.search(said) or _LATEX.search(said)):
        yield from (found[0] for pattern in (_DOUBLE, _SINGLE) for found in pattern.finditer(said))
    if not is_written_in_code:
        if not _HTML.search(said):
            yield from (found[0] for found in _ANGLED.finditer(said) if f"</{found[1]}" not in said)
    yield from (found[0] for found in _SQUARE.finditer(said))

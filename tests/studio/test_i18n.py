"""English and Chinese say the same things, and nothing is said outside of them."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from estimator.core.problems import TEMPLATES, Problem
from studio import i18n

ROOT = Path(__file__).parents[2]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_sentences_with_the_same_values():
    english, chinese = i18n.strings("en"), i18n.strings("zh-CN")
    estimators = {f"problem.{code}": text for code, text in TEMPLATES.items()}
    everything = {**estimators, **english}
    assert set(chinese) == set(everything)
    for key, text in everything.items():
        assert placeholders(chinese[key]) == placeholders(text), key


def test_chinese_is_chinese():
    technical = {"recipe.method_lora", "common.title"}
    for key, text in i18n.strings("zh-CN").items():
        plain = re.sub(r"\{[^}]*\}", "", text)
        if key not in technical and len(re.findall(r"[A-Za-z]{4,}", plain)) > 3:
            assert re.search(r"[\u4e00-\u9fff]", plain), key


def test_every_key_in_the_code_exists_and_every_problem_has_a_sentence():
    english = i18n.strings("en")
    for path in [*(ROOT / "studio").rglob("*.py"), *(ROOT / "estimator").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[1] if name == "t" and len(node.args) > 1 else node.args[0]
            if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
                continue
            if name in ("t", "marker"):
                assert first.value in english, f"{path}: {first.value}"
            if name in ("Problem", "say"):
                assert first.value in TEMPLATES, f"{path}: {first.value}"


def test_tabs_have_no_words_of_their_own():
    """A label, a placeholder or a button's text given as a literal would stay English for everyone."""
    spoken = {"label", "info", "placeholder", "title", "empty"}
    for path in (ROOT / "studio" / "tabs").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            for keyword in node.keywords:
                literal = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
                assert not (keyword.arg in spoken and literal and keyword.value.value.strip()), f"{path}:{node.lineno}"
            is_component = isinstance(node.func, ast.Attribute) and node.func.attr in (
                "Button",
                "Markdown",
                "Tab",
                "Accordion",
            )
            if is_component and node.args:
                assert not (isinstance(node.args[0], ast.Constant) and node.args[0].value), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("tag", "lang"),
    [
        ("zh", "zh-CN"),
        ("zh-Hans-CN", "zh-CN"),
        ("ZH-tw", "zh-CN"),
        ("en-GB", "en"),
        ("fr", None),
        ("", None),
        (None, None),
    ],
)
def test_nearest_language(tag, lang):
    assert i18n.nearest(tag) == lang


class Request:
    def __init__(self, query=None, cookies=None, accept=""):
        self.query_params, self.cookies, self.headers = query or {}, cookies or {}, {"accept-language": accept}


def test_the_address_beats_the_cookie_beats_the_browser():
    assert i18n.language(Request({"lang": "en"}, {i18n.COOKIE: "zh-CN"}, "zh")) == "en"
    assert i18n.language(Request({}, {i18n.COOKIE: "zh-CN"}, "en")) == "zh-CN"
    assert i18n.language(Request({}, {}, "fr;q=1, zh-CN;q=0.8, en")) == "zh-CN"
    assert i18n.language(Request({"lang": "<script>"}, {}, "")) == "en"


def test_a_problem_is_said_in_the_readers_language():
    problem = Problem("run.gone", value="x")
    assert "没" in i18n.explain("zh-CN", problem) or "不" in i18n.explain("zh-CN", problem)
    assert i18n.explain("en", problem.to_dict()) == str(problem)


ONE_TERM = {
    "zh-CN": {
        "基础模型": "基座模型", "基底模型": "基座模型", "底座": "基座", "内置小模型": "内置微型基座",
        "训练记录": "运行", "舍弃": "丢弃",
        "回收处": "回收站", "工作进程": "进程", "(?<!站)模型编号": "模型站编号", "标记数": "词元", "令牌": "词元",
        "数据组": "数据集",
    },
    "en": {"foundation model": "base", "backing model": "base", "data ?directory": "data folder", "repo id": "hub id"},
}  # fmt: skip
"""What a sentence may not say, and the word of the glossary for it."""


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_one_thing_has_one_name(lang):
    readme = (ROOT / {"zh-CN": "README.zh-CN.md", "en": "README.md"}[lang]).read_text(encoding="utf-8")
    said = {**i18n.strings(lang), "README": readme, **({"": "\n".join(TEMPLATES.values())} if lang == "en" else {})}
    found = {
        (key, other, term)
        for key, text in said.items()
        for other, term in ONE_TERM[lang].items()
        if re.search(other, text, re.IGNORECASE)
    }
    assert found == set()

"""The language of a dataset is named where there are letters enough, by a library that asks no network."""

from __future__ import annotations

import pytest

from studio.datasets.language import LANGUAGES, NONE, LanguageGuess
from tests.studio.dataset_helpers import chat

SUPPORT = [
    ("My order no. 10234 has not come. Do I get a refund?", "Sorry about that! As per policy, do reply with your "
    "e-mail; a refund takes 5 days."),
    ("Do you ship to Porto?", "Yes, we do. A parcel to Porto costs 5 EUR."),
    ("Reset my password", "Go to Settings, Account, and tap Reset. A link comes as an e-mail."),
    ("How do I cancel?", "Open Plans and tap Cancel. No fee as long as the trial runs."),
]  # fmt: skip
TEXTS = {
    "en": SUPPORT,
    "zh": [("请问今天北京的天气怎么样？", "今天北京晴，最高气温二十五度，适合出门。")],
    "ja": [("東京の天気はどうですか。", "今日は晴れで、気温は二十五度です。")],
    "ko": [("오늘 서울 날씨가 어때요?", "오늘은 맑고 기온은 이십오도입니다.")],
    "de": [("Wer bist du, und was kannst du für mich tun?", "Ich bin ein Programm und beantworte Fragen zu deiner "
    "Bestellung.")],
    "pt": [("Qual é a capital do Brasil e quantas pessoas moram lá?", "A capital é Brasília; quase três milhões de "
    "pessoas moram lá.")],
    "ru": [("Какая сегодня погода в Москве?", "Сегодня ясно, до двадцати пяти градусов.")],
    "other": [("1+1?", "2"), ("{}", "[1, 2]")],
}  # fmt: skip


def guess(pairs):
    language = LanguageGuess()
    for question, answer in pairs:
        language.see(chat(question, answer))
    return language.result()


@pytest.mark.parametrize("expected", TEXTS)
def test_rows_are_named_by_their_language(expected):
    assert guess(TEXTS[expected]) == expected


def test_short_rows_are_looked_at_together_and_code_does_not_count():
    assert (
        guess([("What is 2 plus 2?", "It is 4."), ("What is 3 plus 3?", "It is 6."), ("What is 4 plus 4?", "It is 8.")])
        == "en"
    )
    code = [('{"name": "Lena", "age": 31, "town": "Oslo", "job": "cook", "pets": ["cat"]}', '{"a": 1}')]
    assert guess(SUPPORT * 3 + code) == "en"
    assert guess(SUPPORT + TEXTS["zh"] * 3) == "mixed"
    assert NONE not in LANGUAGES

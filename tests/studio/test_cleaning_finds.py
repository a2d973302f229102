"""What the steps find in texts, what they do not, and that a mask breaks nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.datasets.cleaning.contacts import emails, phones
from studio.datasets.cleaning.garbled import is_lost, mended
from studio.datasets.cleaning.masks import masked
from studio.datasets.cleaning.placeholders import placeholders
from studio.datasets.cleaning.ratios import repeated_shares
from studio.datasets.cleaning.record import Choice, checked
from studio.datasets.cleaning.refusals import refusal
from studio.datasets.cleaning.run import look
from studio.datasets.cleaning.secrets import secrets
from studio.datasets.cleaning.steps import STEPS
from tests.studio.dataset_helpers import chat

KEY = "-----BEGIN {0}PRIVATE KEY-----\n{1}\n-----END {0}PRIVATE KEY-----"
BODY = "MIIEpAIBAAKCAQEA7b2k9Jf3nT0cQ8vLwZxYyH1gR5s\n4tUv6WxYz0BqCdEfGhIjKlMnOpQrStUv"
FOUND = {
    emails: [
        "write to bob@acme.com.", "联系邮箱zhang.san@qq.com。", "mailto:x_y+z@sub.domain.co.uk", "Email:bob@acme.io",
        "<bob@acme.org>", "bob@acme.com, eve@acme.com",
    ],
    phones: [
        "call +1 415-555-2671 now", "手机13812345678", "13812345678", "电话：010-62345678", "(415) 555-2671",
        "+86 138 1234 5678", "联系我 138-1234-5678 谢谢", "phone: 4155552671", "+44 20 7946 0958", "Tel 020 7946 0958",
        "请拨打400-820-8820", "0571-88888888",
    ],
    secrets: [
        "AKI" "AQ3EGRIV7ZK2MTN5X", "ghp" "_aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI3kM5", KEY.format("RSA ", BODY),
        KEY.format("", BODY).replace("\n", "\\n"), "postgres://bob:Tr0ub4dor9@db.acme.com/x",
        "sk" "-a8f3c2e1b4d5f6a7980123cd45ef67ab", "hf" "_QwErTyUiOpZxCvBnMlKjHgFdSaPoIuYtRe",
    ],
    placeholders: [
        "Hello {{name}}, welcome", "Answer: {instruction}", "### Input:\n<input>", "Dear [Your Name],",
        "[INSERT COMPANY]", "请填写：【请插入姓名】", "你好，{{姓名}}", "{问题}的答案是",
    ],
    refusal: [
        "As an AI language model, I don't have feelings.", "I'm sorry, but I can't assist with that.",
        "I’m sorry, but I cannot help with that request.", "I'm unable to help with that.",
        "作为一个人工智能，我没有情感。", "作为AI助手，我…",
        "抱歉，我无法提供这方面的信息。", "我是由OpenAI开发的语言模型。",
        "对不起，我不能满足您的要求",
    ],
    is_lost: ["锟斤拷锟斤拷", "a \ufffd in it", "锛堜竴锛夋祴璇曟枃鏈?"],
}  # fmt: skip
LEFT = {
    emails: [
        "git@github.com:a/b.git", "user@example.com", "logo@2x.png", "@app.route", "postgres://u:p@db.host.com/x",
        "x = a @ b.T", "npm i react@18.2.0", "https://medium.com/@john.doe/x", "[EMAIL]",
    ],
    phones: [
        "order 13812345678", "订单号：13812345678", "QQ号：13812345678", "运单号 13812345678", "ISBN 978-3-16-148410-0",
        "0-306-40615-2", "2024-01-15 12:30:45", "20240115123045", "pi 3.14159265358979", "1700000000",
        "192.168.100.200", "550e8400-e29b-41d4-a716-446655440000", "18446744073709551615", "1,234,567,890",
        "身份证号 110101199003071234", "x=13812345678.5", "4111 1111 1111 1111", "sha 13812345678abc",
        "100-200-3000", "pp. 573-583. 2020.", "from 1990 to 2020: 200 100 300", "[PHONE]",
    ],
    secrets: [
        "AKIAIOSFODNN7EXAMPLE", "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", KEY.format("", "..."),
        "http://user:password@host/", "mongodb://username:<password>@cluster0.mongodb.net",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "task-1234567890abcdef1234567890abcdef",
        "risk-aversion-and-long-words-that-go-on", "[SECRET]",
    ],
    placeholders: [
        "Use `{{name}}` in templates", "```jinja\n{{ name }}\n```", "\\frac{{a}}{b}", 'f"{name}" prints it',
        "<input type='text'>", "<div><input></div>", "see [your docs](http://x)", "print('{}'.format(x))",
        "const s = `${name}`;", "{% for a in b %}{{ a }}{% endfor %}", "<question>What?</question>",
        '{"name": "x"}', "/users/{name}/posts", "[1] Smith", "[EMAIL] [PHONE] [SECRET]",
    ],
    refusal: [
        "I'm sorry to hear that your order is late.", "I can help with that!", "I cannot help but smile at it.",
        "An AI language model predicts the next word.", "抱歉，本店周日不营业。", "作为一个父亲，他很骄傲。",
        "人工智能是一门科学。", "抱歉让您久等了，已经为您退款。", "我是一个热爱人工智能的学生。",
        "As a language teacher, I recommend reading.", "Unfortunately, I can not swim.",
    ],
    is_lost: [
        "正常的中文，没有问题，一切都好，谢谢您的来信！",
        "日本語のテキストです。どうぞよろしくお願いします。", "naïve façade",
    ],
}  # fmt: skip
AS_IT_IS = [
    "正常的中文，没有问题！", "“curly” and ﬁne ｆｕｌｌ", "naïve façade Ünïcödé", "日本語のテキスト",
    "한국어 텍스트", "&lt;div&gt;",
    "русский текст", "10⁻¹⁰ m ± 0.5 °C", "𝓗𝓮𝓵𝓵𝓸 😀👍",
]  # fmt: skip


@pytest.mark.parametrize(("find", "said"), [(find, said) for find, several in FOUND.items() for said in several])
def test_what_is_there_is_found(find, said):
    found = find(said)
    assert list(found) if not isinstance(found, bool) else found


@pytest.mark.parametrize(("find", "said"), [(find, said) for find, several in LEFT.items() for said in several])
def test_what_only_looks_like_it_is_left(find, said):
    assert not list(find(said) or []) if find is not is_lost else not find(said)


@pytest.mark.parametrize(
    ("read", "meant"),
    [
        ("cafÃ© crÃ¨me", "café crème"),
        ("浣犲ソ锛屼笘鐣岋紒", "你好，世界！"),
        *((said, said) for said in AS_IT_IS),
    ],
)
def test_garbled_text_is_mended_and_other_text_is_as_it_was(read, meant):
    assert mended(read) == meant and mended(meant) == meant


WORDS = st.sampled_from(
    ["bob@acme.com", "13812345678", "+1 415-555-2671", "订单13812345678", "x", "你好", '"', "{", ", ", ": ", "\n",
     "1.5", "ghp" "_aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI3kM5", "https://a:Tr0ub4dor9@b.com", "[EMAIL]", " ", "cafÃ©"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=12).map("".join))
def test_masked_twice_is_masked_once_and_nothing_else_changes(text):
    for find in (emails, phones, secrets):
        once = masked(text, find)
        assert masked(once, find) == once
        assert find(text) or once == text
    assert mended(mended(text)) == mended(text)


VALUES = st.recursive(
    WORDS | st.integers(13_000_000_000, 19_999_999_999),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
)


@given(VALUES)
def test_json_stays_json(value):
    written = json.dumps([value], ensure_ascii=False)
    for find in (emails, phones, secrets):
        json.loads(masked(written, find))


def changed(row: dict, step: str, action: str) -> dict | None:
    """The row as a step leaves it; None where it leaves it out."""
    verdict = STEPS[step].judge(row, checked(STEPS[step], Choice(step, action)))
    return row if verdict is None or verdict.rows is None else next(iter(verdict.rows), None)


def test_a_span_stays_where_its_answer_stands():
    context = "Write to bob@acme.com. The office is in Arlen, and eve@acme.com sits there."
    row = {"question": "Where?", "context": context, "row": 1,
           "answers": {"text": ["Arlen"], "answer_start": [context.index("Arlen")]}}  # fmt: skip
    made = changed(row, "emails", "mask")
    start = made["answers"]["answer_start"][0]
    assert made["context"].count("[EMAIL]") == 2 and made["context"][start:].startswith("Arlen")
    torn = {**row, "answers": {"text": ["acme.com. The"], "answer_start": [context.index("acme.com. The")]}}
    report = look([torn], [Choice("emails", "mask")])
    assert report.steps[0].left_alone == 1 and report.changed == 0


def test_tokens_keep_their_number():
    row = {"tokens": ["mail", "bob@acme.com", "or", "138", "1234", "5678"], "tags": [0, 1, 0, 1, 1, 1], "row": 1}
    assert changed(row, "emails", "mask")["tokens"] == ["mail", "[EMAIL]", "or", "138", "1234", "5678"]
    report = look([row], [Choice("phones", "mask")])
    assert report.steps[0].touched == report.steps[0].left_alone == 1 and report.changed == 0


def test_calls_of_tools_are_masked_inside_their_arguments():
    call = {"type": "function", "function": {"name": "send", "arguments": {"to": ["bob@acme.com"], "bob@acme.com": 1}}}
    row = chat("Send it", "ok")
    row["messages"][1] = {"role": "assistant", "content": "", "tool_calls": [call]}
    made = changed(row, "emails", "mask")
    arguments = made["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert arguments == {"to": ["[EMAIL]"], "bob@acme.com": 1}
    assert row["messages"][1]["tool_calls"][0]["function"]["arguments"]["to"] == ["bob@acme.com"]
    assert changed(row, "empty", "drop") is row


def test_only_what_is_trained_is_looked_at_for_refusals_and_emptiness():
    refused = "I'm sorry, but I can't assist with that."
    preference = {"prompt": [], "chosen": "Yes, of course.", "rejected": refused, "row": 1}
    assert changed(preference, "refusals", "drop") is preference
    assert changed({**preference, "chosen": refused, "rejected": "x"}, "refusals", "drop") is None
    unpaired = {"prompt": [], "completion": refused, "label": False, "row": 1}
    assert changed(unpaired, "refusals", "drop") is unpaired
    assert changed({**preference, "rejected": preference["chosen"]}, "empty", "drop") is None
    assert changed({"text": "short", "label": "a", "row": 1}, "empty", "drop") is not None


@pytest.mark.parametrize(
    "said", ["哈" * 300, "ha " * 100, "这句话一直在重复，没有停下来。" * 20, "It goes on and on like this. " * 12]
)
def test_repetition_is_found_in_chinese_and_in_english(said):
    report = look([chat("Go on.", said)], [Choice("ratios")])
    assert report.steps[0].reasons == {"repeats_itself": 1}
    assert max(repeated_shares(" ".join(map(str, range(1_000))))) < 0.5


@pytest.mark.parametrize("said", ["\n" * 20_000, "1-" * 20_000, "{{a " * 9_000, "import\n" * 9_000, "http://" * 9_000])
def test_no_text_keeps_a_step_for_long(said):
    """Of a pattern that tries every end for every beginning the first would take minutes."""
    report = look([{"text": said, "row": 1}], [Choice(name) for name, step in STEPS.items() if not step.needs_tokens])
    assert report.rows == 1


@pytest.mark.parametrize("step", STEPS)
def test_every_step_takes_rows_of_every_form(step):
    said = "Nothing to see here."
    rows = [
        chat(said, said), {"text": said}, {"prompt": [], "chosen": said, "rejected": ""}, {"text": said, "label": [""]},
        {"prompt": chat(said)["messages"], "completion": chat(said, said)["messages"][1:], "label": True},
        {"tokens": ["a"], "tags": ["b"]}, {"anchor": said}, {"anchor": said, "positive": [said], "negatives": []},
        {"question": said, "context": "", "answers": {"text": [], "answer_start": []}},
        {"source": said, "target": ""}, {"text": said, "text_pair": said, "label": 1},
    ]  # fmt: skip
    rows = [{**row, "row": at + 1} for at, row in enumerate(rows)]
    for action in STEPS[step].actions:
        report = look(rows, [Choice(step, action)], tokens=Characters())
        assert report.kept + report.dropped == report.rows == len(rows)


class Characters:
    """A tokenizer with a token a character."""

    def of_row(self, row: dict) -> int:
        return len(row.get("text", ""))

    def of_text(self, text: str) -> int:
        return len(text)

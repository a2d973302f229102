"""The view that cleans: what is escaped, what is looked for, applied and undone, in both languages."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.datasets.cleaning.record import Choice
from studio.datasets.cleaning.report import Report
from studio.datasets.cleaning.run import look
from studio.datasets.cleaning.steps import STEPS, defaults
from studio.datasets.store import DatasetStore
from studio.i18n import LANGUAGES, strings
from studio.services import Shared
from studio.space import Space
from studio.tabs.dataset import cleaning
from studio.widgets.cleaning_view import _apart, cleaning_view
from studio.widgets.token_mask import visible
from studio.workers import read
from tests.studio.dataset_helpers import chat
from tests.studio.requests import listed
from tests.studio.test_tab_dataset import EVIL, Reader, request

TOWN = "The town lies at the mouth of a long river, and its people live from boats, salt and the fair in autumn."
ROWS = [
    chat(f"Tell me about town {EVIL}, the first.", TOWN), chat(f"Tell me about town {EVIL}, the first.", TOWN),
    chat("Who wrote it?", "Ask ada@oxley-harbour.net, she knows all about the salt and the boats."),
    chat("What does it cost?", "cafÃ© au lait is four crowns, and the boat to the other side another two."),
    *(chat(f"Question {word}?", f"An answer about {word}, like no other.") for word in ("salt", "boats", "fair")),
]  # fmt: skip


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


@pytest.fixture
def info(store):
    return store.add("<b>rows", [{"messages": row["messages"]} for row in ROWS])


def report(info, choices) -> Report:
    return look(info.rows(), choices)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_step_has_its_switch_its_words_and_what_it_found_beside(lang, info):
    choices = [Choice(name, step.actions[-1]) for name, step in STEPS.items() if not step.needs_tokens]
    html = cleaning_view(lang, choices, report(info, choices), cleaning._reason)
    read_html = Reader(html)
    assert read_html.tags.count("select") == len(STEPS) and "img" not in read_html.tags and "{" not in html
    assert all(strings(lang)[f"cleaning.step_{name}"] in read_html.text for name in STEPS)
    assert EVIL[:-1] in read_html.text and "ada@oxley-harbour.net" in read_html.text
    labels = html.count("<label for=")
    assert labels == len(STEPS) + sum(len(step.options) for step in STEPS.values())
    form = cleaning_view(lang, [], None, cleaning._reason)
    assert "checked" not in form and 'data-clean="apply"' not in form and 'data-clean="look"' in form


def test_what_was_chosen_stands_after_the_look():
    choices = [Choice("near_duplicates", "warn", {"similarity": 0.9})]
    html = cleaning_view("en", choices, None, cleaning._reason)
    assert html.count(" checked") == 1 and 'value="0.9"' in html and '<option value="warn" selected>' in html


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=50, deadline=None)
def test_before_and_after_are_whole_and_only_what_differs_is_marked(before, after):
    old, new = _apart(before, after)
    for html, text, mark in ((old, before, "del"), (new, after, "ins")):
        assert set(Reader(html).tags) <= {"span", mark}
        assert html.replace(f"<{mark}>", "").replace(f"</{mark}>", "") == visible(text)
    assert ("<del>" in old or "<ins>" in new) == (before != after)
    assert _apart("the cafÃ© is", "the café is")[0].startswith("the <del>caf")


class ReadingWorker:
    """The reading worker in this process."""

    asked: list[str] = []

    def stream(self, method, beat_seconds, **params):
        self.asked.append(method)
        yield {"phase": "looking", "share": 0.5, "kept": 0, "dropped": 0}
        told = SimpleNamespace(cancelled=False, tell=lambda event: None)
        return getattr(read, method.removesuffix("_by_tokens"))(params, told)


@pytest.fixture
def handlers(store):
    with gr.Blocks() as blocks:
        shared = Shared(Space.default(), store, None, ReadingWorker(), None, None, None)
        shared.dataset = gr.State(None)
        left = {"stored": gr.Dropdown([]), "model": gr.Dropdown([])}
        right = cleaning.column()
        cleaning.wire(shared, left, right)
    found = {fn.fn.__name__: (listed(fn.fn, fn.outputs), fn.outputs) for fn in blocks.fns.values() if fn.fn}
    assert {fn.api_visibility for fn in blocks.fns.values()} == {"private"}
    names = {part: name for name, part in right.items()} | {shared.dataset: "dataset"}

    def call(name, *given):
        answer, outputs = found[name]
        made = answer(*given)
        return dict(zip([names.get(part, "wanted") for part in outputs], made, strict=True))

    return call


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_look_then_a_new_version_then_back(handlers, store, info, lang):
    asked = {"do": "look", "choices": [{"step": "exact_duplicates", "action": "drop", "options": {}}]}
    seen = handlers("clean_act", request(lang), asked, info.id, "base")
    assert 'data-clean="apply"' in seen["cleaning"] and seen["cleaning_said"] == "" and len(store.list()) == 1
    made = handlers("clean_act", request(lang), {**asked, "do": "apply"}, info.id, "base")["dataset"]
    assert store.get(made).kept == 6 and store.get(info.id).kept == 7
    form = handlers("clean_form", request(lang), made)["cleaning"]
    assert 'data-clean="undo"' in form and strings(lang)["cleaning.step_exact_duplicates"] in form
    back = handlers("clean_act", request(lang), {"do": "undo"}, made, "base")
    assert back["dataset"] == info.id and [one.id for one in store.list()] == [info.id]
    assert store.restore(made).kept == 6


def test_nothing_to_do_and_nonsense_are_said_and_change_nothing(handlers, store, info):
    none = {"do": "apply", "choices": [{"step": "placeholders", "action": "drop", "options": {}}]}
    assert "Nothing" in handlers("clean_act", request(), none, info.id, "base")["cleaning_said"]
    for choice in ({"step": "<b>"}, "x", {"step": "empty", "action": "<i>"}, {"step": "empty", "options": {"q": 1}},
                   {"step": "near_duplicates", "options": {"similarity": None}}):  # fmt: skip
        said = handlers("clean_act", request(), {"do": "look", "choices": [choice]}, info.id, "base")["cleaning_said"]
        assert "ls-problem" in said and "<b>" not in said and "<i>" not in said
    for asked in (None, {}, {"do": "boom"}, {"do": "undo"}):
        answer = handlers("clean_act", request(), asked, "20990101-000000-ffffff", "base")
        assert set(map(str, answer.values())) == {str(gr.skip())}
    assert len(store.list()) == 1


def test_undo_of_a_version_whose_parent_is_gone_is_said(handlers, store, info):
    asked = {"do": "apply", "choices": [{"step": "exact_duplicates"}]}
    made = handlers("clean_act", request(), asked, info.id, "base")["dataset"]
    store.delete(info.id)
    assert 'data-clean="undo"' not in handlers("clean_form", request(), made)["cleaning"]
    assert "ls-problem" in handlers("clean_act", request(), {"do": "undo"}, made, "base")["cleaning_said"]
    assert store.get(made)


def test_the_step_that_asks_for_tokens_goes_to_whom_has_them(handlers, store, info):
    ReadingWorker.asked.clear()
    asked = {"do": "look", "choices": [{"step": "too_long"}, {"step": "empty"}]}
    handlers("clean_act", request(), asked, info.id, "lora-studio/tiny-base")
    assert ReadingWorker.asked == ["look_by_tokens"]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_report_card_is_shown_and_can_be_saved(handlers, store, info, lang):
    shown = handlers("clean_act", request(lang), {"do": "card"}, info.id, "base")
    assert (
        shown["report_card"].visible
        and "rows" in shown["report_card"].value
        and "<b>" not in shown["report_card"].value
    )
    assert 'download="_b_rows.md"' in shown["card_end"] and "data:text/markdown" in shown["card_end"]
    assert "data-clean" in handlers("clean_form", request(lang), info.id)["card_end"]


def test_defaults_are_what_the_form_begins_with(handlers, info):
    form = handlers("clean_form", request(), info.id)["cleaning"]
    assert form.count(" checked") == len(defaults()) and handlers("clean_form", request(), None)["cleaning"] == ""

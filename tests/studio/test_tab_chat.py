"""The Chat tab's parts: what is kept, what is shown, what is asked, and how a stream is left."""

from __future__ import annotations

import threading
import time
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator.core.problems import Problem
from studio.i18n import LANGUAGES, explain, strings
from studio.inference import conversation
from studio.space import Space
from studio.tabs.answering import Answering
from studio.tabs.chat import BASE, Page, _request
from studio.tabs.streaming import with_ticks
from studio.widgets.compare import marked_html, word_differences, words
from studio.widgets.panes import empty_html, panes_html, short_name
from tests.studio.requests import HERE, VISITOR

EVIL = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"
LABEL = {"model": "/models/tiny-base", "storage": "nf4", "run": None}
RUN = {**LABEL, "run": "keeper r16"}


def answer(text, label=LABEL, stop="end", **changes):
    return {
        **conversation.new_answer(label),
        "text": text,
        "tokens": 5,
        "tokens_per_second": 20.0,
        "stop": stop,
        **changes,
    }


def turn(prompt="Who?", base="one", adapter="two", mode="one_batch"):
    """Answers given as text are wrapped; given whole or as None they are taken as they are."""
    whole = [
        answer(given, label) if isinstance(given, str) else given for given, label in ((base, LABEL), (adapter, RUN))
    ]
    return {"prompt": prompt, "mode": mode, "base": whole[0], "adapter": whole[1]}


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


# --- which run answers


@pytest.mark.parametrize(
    ("chosen", "wanted", "followed", "becomes"),
    [
        (BASE + "tiny", "new", None, ("new", "new")),  # sent before the list that preselects the run has come
        (BASE + "tiny", "new", "old", ("new", "new")),
        (BASE + "tiny", "new", "new", (BASE + "tiny", "new")),  # the reader chose the base since
        ("old", "unfinished", "old", ("old", "old")),
        (None, None, None, (None, None)),
    ],
)
def test_a_run_newly_opened_is_chosen_once(chosen, wanted, followed, becomes):
    assert Page(None)._follow(chosen, wanted, followed, {"old", "new"}) == becomes


def test_a_base_that_is_not_offered_may_be_a_folder_for_this_machine_alone(tmp_path):
    offered = SimpleNamespace(has_result=True, recipe=SimpleNamespace(model="/trained/on"))
    page = Page(SimpleNamespace(runs=SimpleNamespace(list=lambda: [offered]), space=Space(tmp_path)))
    for choice in ("a-run", BASE + "/trained/on", BASE + "org/name"):
        assert page._allowed(VISITOR, choice) == choice
    assert page._allowed(HERE, BASE + str(tmp_path)) == BASE + str(tmp_path)
    with pytest.raises(Problem) as caught:
        page._allowed(VISITOR, BASE + str(tmp_path))
    assert caught.value.code == "model.folder_refused"


# --- differing words


@given(st.text(max_size=60), st.text(max_size=60))
def test_differences_lose_nothing(left, right):
    ours, theirs = word_differences(left, right)
    assert "".join(text for text, _ in ours) == left and "".join(text for text, _ in theirs) == right
    same = [[w.strip() for text, differs in side if not differs for w in words(text)] for side in (ours, theirs)]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("left", "right", "marked"),
    [
        ("the red cat", "the blue cat", [["red "], ["blue "]]),
        ("红色的猫", "蓝色的猫", [["红"], ["蓝"]]),
        ("same words", "same   words", [[], []]),
        ("", "all new", [[], ["all new"]]),
    ],
)
def test_only_the_differing_words_are_marked(left, right, marked):
    assert [[text for text, differs in side if differs] for side in word_differences(left, right)] == marked


def test_marks_are_the_only_tags():
    left, _ = word_differences(EVIL, "nothing")
    assert set(Tags(marked_html(left)).tags) == {"mark"} and Tags(marked_html(left)).text == EVIL


def test_long_answers_are_compared_quickly():
    long = " ".join(f"word{n % 97}" for n in range(4000))
    started = time.perf_counter()
    word_differences(long, long[::-1])
    assert time.perf_counter() - started < 5


# --- what is shown


@pytest.mark.parametrize("lang", LANGUAGES)
def test_nothing_a_model_or_a_user_wrote_becomes_markup(lang):
    evil = {"model": EVIL, "storage": EVIL, "run": EVIL}
    turns = [
        turn(EVIL, base=answer(EVIL, evil), adapter=answer(EVIL, evil, stop=None)),
        turn(EVIL, base=answer(EVIL), adapter=answer("x" + EVIL)),
    ]
    seen = Tags(panes_html(lang, turns, two=True))
    assert not {"img", "script"} & set(seen.tags)
    assert seen.text.count(EVIL) >= 8


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_pane_names_its_weights_and_why_it_ended(lang):
    for stop in ("end", "length", "stopped", "interrupted"):
        seen = Tags(panes_html(lang, [turn(base=answer("a", stop=stop))], two=True)).text
        assert strings(lang)[f"chat.stop_{stop}"] in seen
    assert seen.count("keeper r16") == 2 and "tiny-base · NF4" in seen  # in the head and beside the answer


def test_same_answers_are_said_to_be_the_same():
    assert strings("en")["chat.same"] in panes_html("en", [turn(base=answer("x"), adapter=answer("x", RUN))], two=True)
    assert strings("en")["chat.same"] not in panes_html("en", [turn()], two=True)


def test_a_base_alone_has_one_pane_until_a_run_answered():
    alone = turn(adapter=None, mode="alone")
    assert panes_html("en", [alone], two=False).count('data-pane="adapter"') == 0
    assert panes_html("en", [alone, turn()], two=False).count('data-pane="adapter"') == 3


def test_an_empty_page_says_what_to_do_first():
    assert strings("en")["chat.empty_no_runs"].split(",")[0] in empty_html("en", has_runs=False)
    assert strings("zh-CN")["chat.empty_runs"] in empty_html("zh-CN", has_runs=True)


@pytest.mark.parametrize(("model", "name"), [("/a/b/c/", "c"), ("org/name", "name"), (r"C:\models\x", "x"), ("x", "x")])
def test_short_names(model, name):
    assert short_name(model) == name


# --- what is kept


def test_a_conversation_comes_back_as_it_was():
    kept = [turn(), turn(adapter=None, mode="alone")]
    assert conversation.restore(kept) == kept


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["prompt", "base", "adapter", "text", "model", "storage", "stop", "run", "mode", "tokens"]
                ),
                inner,
                max_size=8,
            )
        ),
    )
)
def test_whatever_a_browser_gives_back_can_be_shown(value):
    for kept in (value, [value]):
        panes_html("en", conversation.restore(kept), two=True)


def test_a_growing_answer_of_a_closed_page_is_interrupted_and_an_unanswered_prompt_comes_back():
    assert conversation.restore([turn(base=answer("half", stop=None))])[0]["base"]["stop"] == "interrupted"
    assert conversation.take_back([turn(), conversation.new_turn("unheard")]) == ([turn()], "unheard")
    assert conversation.take_back([turn()]) == ([turn()], "")


def test_each_pane_goes_on_with_its_own_conversation():
    turns = [turn("A"), turn("B", adapter=None, mode="alone"), turn("C", base="three", adapter="four")]
    said = {pane: [m["content"] for m in conversation.history(turns, pane, "D")] for pane in conversation.PANES}
    assert said == {"base": ["A", "one", "B", "one", "C", "three", "D"], "adapter": ["A", "two", "C", "four", "D"]}


# --- what is asked


def draft(**changes):
    return {"prompt": "hi", "temperature": 0.0, "max_new_tokens": 16, "seed": 0, **changes}


def test_a_request_names_a_run_or_a_base():
    assert _request([], "run-1", draft())["run_id"] == "run-1"
    assert _request([], BASE + "org/m", draft())["model"] == "org/m"


@pytest.mark.parametrize(
    "bad",
    [
        {"prompt": " \n"},
        {"prompt": None},
        {"temperature": 9},
        {"temperature": None},
        {"max_new_tokens": 5000},
        {"seed": 1.5},
        {"seed": "x"},
    ],
)
def test_the_server_refuses_what_the_browser_should_not_have_sent(bad):
    with pytest.raises(Problem) as caught:
        _request([], "run-1", draft(**bad))
    assert caught.value.field == next(iter(bad))
    for lang in LANGUAGES:
        assert caught.value.field in explain(lang, caught.value)


# --- how it streams


def test_a_silent_stream_ticks_and_can_be_left_at_once():
    closed, go_on = threading.Event(), threading.Event()

    def silent():
        try:
            yield "first"
            go_on.wait(10)
            yield "late"
        finally:
            closed.set()

    events = with_ticks(silent(), 0.01)
    assert next(events) == "first" and next(events) is None
    started = time.perf_counter()
    events.close()
    assert time.perf_counter() - started < 1 and not closed.is_set()
    go_on.set()
    assert closed.wait(5)


def test_a_streams_result_and_problem_come_through():
    def good():
        yield 1
        return 2

    def bad():
        yield 1
        raise Problem("chat.memory")

    events = with_ticks(good(), 5)
    assert next(events) == 1
    with pytest.raises(StopIteration) as done:
        next(events)
    assert done.value.value == 2
    with pytest.raises(Problem):
        list(with_ticks(bad(), 5))


class FakeWorker:
    """Streams what it was given; an exception among the events is raised."""

    def __init__(self, *events, result=None):
        self._events, self._result = events, result

    def stream(self, method, **params):
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event
        return self._result


PLAN = {"answering": {"mode": "in_turn", "panes": {"base": LABEL, "adapter": RUN}}}


def said(text, tokens, stop=None):
    return {"text": text, "tokens": tokens, "tokens_per_second": 9.0, "stop": stop, "seconds": 0.1}


def test_a_turn_grows_and_the_workers_last_word_counts():
    result = {"mode": "in_turn", "panes": {"base": said("Hello.", 3, "end"), "adapter": said("Ahoy.", 4, "length")}}
    loading = {**RUN, "seconds": 1.5}
    worker = FakeWorker(
        {"loading": RUN},
        {"loaded": loading},
        PLAN,
        {"panes": {"base": said("Hel", 1)}},
        {"panes": {"base": said("lo", 2)}},
        result=result,
    )
    turn = conversation.new_turn("hi")
    statuses = list(Answering(worker, {}, turn, threading.Event()).statuses("en"))
    assert "Loading keeper r16 on tiny-base (nf4)" in statuses[0]
    assert statuses[-1].startswith("Loaded in 1.5 s.") and "in turn" in statuses[-1]
    assert (turn["base"]["text"], turn["adapter"]["text"], turn["adapter"]["stop"]) == ("Hello.", "Ahoy.", "length")
    assert turn["adapter"]["run"] == "keeper r16" and turn["base"]["run"] is None


def test_what_was_said_before_a_failure_or_a_stop_stays():
    events = [PLAN, {"panes": {"base": said("Hel", 1)}}]
    turn = conversation.new_turn("hi")
    with pytest.raises(Problem):
        list(
            Answering(
                FakeWorker(*events, Problem("worker.gone", worker="chat", status=-9, log="l")),
                {},
                turn,
                threading.Event(),
            ).statuses("en")
        )
    assert (turn["base"]["text"], turn["base"]["stop"], turn["adapter"]) == ("Hel", "interrupted", None)
    turn, stop = conversation.new_turn("hi"), threading.Event()
    for _ in Answering(FakeWorker(*events, *events[1:] * 50), {}, turn, stop).statuses("en"):
        if turn["base"]:
            stop.set()
    assert turn["base"] is None or turn["base"]["stop"] == "stopped"

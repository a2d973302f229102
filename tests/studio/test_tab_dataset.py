"""The Dataset tab: what it shows is escaped, in both languages, and its handlers keep what was there when a file is
bad."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator.core.problems import Problem
from studio import shipped
from studio.datasets.ingest import ingest, run
from studio.datasets.language import LANGUAGES as LETTERS
from studio.datasets.store import SHAPES, DatasetStore, as_json
from studio.datasets.words import numbers_text, recognised_text
from studio.gate import uploaded
from studio.i18n import LANGUAGES, strings
from studio.protocol.serve import Request
from studio.services import Shared
from studio.space import Space
from studio.tabs.dataset import head, picture, tab, words
from studio.tabs.dataset.picture import SHOWN
from studio.tabs.dataset.rows import rows_html
from studio.widgets.excess import excess as widget
from studio.widgets.lengths_view import lengths_said, lengths_table
from studio.widgets.plots import lengths_figure, names_figure
from studio.widgets.token_mask import token_mask, tokens
from studio.workers import read
from tests.studio.dataset_helpers import chat
from tests.studio.requests import listed

EVIL = '<img src=x onerror=alert(1)>"&\u202e'


class Reader(HTMLParser):
    """Text and tags of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


def row(**changes):
    pieces = [["<|im_start|>", False, True], ["user\n", False, False], ["Hi", True, False], ["<|im_end|>", True, True]]
    return {
        "row": 7,
        "split": "train",
        "length": 4,
        "trained": 2,
        "pieces": pieces,
        "more": 0,
        "dropped": None,
        **changes,
    }


def ends(text, length=4):
    return {"length": length, "first": text, "last": text}


def excess(strategy="drop", text="Arlen"):
    choices = {"drop": (0, 0, 0), "truncate": (19, 19, 3800), "split": (20, 39, 7000)}
    sample = {"row": 3, "length": 390, "whole": ends(text, 390), "cut_off": text}
    sample |= {"truncate": {"examples": 1, "parts": [ends(text)]}, "split": {"examples": 5, "parts": [ends(text)] * 3}}
    names = ("rows", "examples", "tokens")
    return {
        "rows": 20, "tokens": 7000, "of_tokens": 8000, "strategy": strategy, "sample": sample,
        "choices": {name: dict(zip(names, figures)) for name, figures in choices.items()},
    }  # fmt: skip


def seen(**changes):
    counts = [3, 0, 1, 2] * 10
    over = [0] * 20 + [1] + counts[21:]  # the bin from 200 on has two rows of just the 200 tokens that fit
    lengths = {"top": 400, "counts": counts, "over": over, "longest": 390, "median": 120, "shortest": 390}
    return {
        "rows": [row(), row(row=8, split="eval")], "offset": 0, "total": 2, "kept": 40, "dropped": 20, "measured": 60,
        "of": 60,
        "splits": {
            "train": {"of": 54, "measured": 54, "reasons": {"too_long": 18}},
            "eval": {"of": 6, "measured": 6, "reasons": {"too_long": 2}},
        },
        "reasons": {"too_long": 20}, "examples": 40, "excess": excess(), "tokens": 900, "trained_tokens": 400,
        "numbers": {"role": {"user": {"turns": 40, "characters": 400}}},
        "batches": {"lengths": [[10, 40]], "trained_share": 0.4, "measured": 40, "of": 40},
        "lengths": lengths,
        "first_dropped": [{"row": 3, "reason": "too_long", "params": {"length": 390, "limit": 200}}], **changes,
    }  # fmt: skip


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


@pytest.fixture
def info(store):
    return store.add("My rows", [{"messages": chat(f"What is {i}?", "The answer.")["messages"]} for i in range(60)])


PIECES = st.lists(st.tuples(st.text(), st.booleans(), st.booleans()), max_size=8)


@given(PIECES)
def test_no_text_becomes_markup(pieces):
    """Read back by a browser's rules, the HTML has our tags only and all of the text."""
    read = Reader(tokens(pieces))
    assert set(read.tags) <= {"span", "mark"} and set(read.attributes) <= {"class", "aria-hidden"}
    for text, _, _ in pieces:
        for word in text.split():
            if word.isalnum():
                assert word in read.text


def test_tint_and_underline_box_and_hidden_characters():
    html = tokens([("a<b", True, False), ("<|im_end|>", True, True), ("\u202ex", False, False)])
    assert html == (
        '<mark class="ls-trained">a&lt;b</mark><span class="ls-special ls-trained">&lt;|im_end|&gt;</span>'
        '<span><span class="ls-special">U+202E</span>x</span>'
    )
    css = (shipped.theme() / "dataset.css").read_text()
    rule = css[css.index("mark.ls-trained") :].split("}")[0]
    assert "underline" in rule and "--ls-trained" in rule


@pytest.mark.parametrize("lang", LANGUAGES)
def test_everything_shown_is_escaped(lang, info):
    evil = row(pieces=[[EVIL, True, False]], dropped={"reason": "template", "params": {"detail": EVIL}}, more=3)
    from dataclasses import replace

    bad_name = replace(info, name=EVIL, file_name=EVIL + ".json", encoding="utf-16")
    shown = picture.picture(
        lang,
        bad_name,
        seen(rows=[evil], first_dropped=[{"row": 1, "reason": "role", "params": {"role": EVIL, "allowed": "x"}}]),
        200,
    )
    raw = {"row": 1, "split": "eval", "text": EVIL, "characters": 5000}
    stored = {"rows": [raw], "offset": 0, "total": 1, "measured": 1, "of": 2, "lengths": seen()["lengths"]}
    parts = [*shown.values(), *picture.picture_in_characters(lang, bad_name, stored, EVIL).values()]
    parts += (widget(lang, seen(excess=excess(strategy, EVIL)), 200) for strategy in ("drop", "truncate", "split"))
    whole = "".join(part for part in parts if isinstance(part, str)) + words.deleted_html(lang, "deleted", EVIL)
    counts = {"kept": 1, "dropped": 2, "read": 0.5}
    for phase, share in (("reading", 0.5), ("joining", None), ("storing", 0.1), ("syncing", None)):
        whole += words.reading(lang, EVIL, {"phase": phase, "share": share, **counts}, 70.0)
    whole += words.trouble_html(lang, EVIL, kept=True)
    read = Reader(whole)
    counting = Reader(words.reading(lang, EVIL, {"phase": "tokenizing", "done": 1234, "of": 4000, "share": 0.31}))
    assert "1,234" in counting.text and "4,000" in counting.text and "img" not in counting.tags
    assert "{" not in read.text
    assert "img" not in read.tags and not any(name.startswith("on") for name in read.attributes)
    assert EVIL[:-1] in read.text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_three_numbers_always(lang, info):
    assert all(strings(lang)[f"dataset.{key}"] in head.head(lang, info) for key in ("kept", "dropped", "changed"))
    assert "<dd>60</dd>" in head.head(lang, info) and head.head(lang, info).count("<dd>0</dd>") == 2
    cut = head.head(lang, info, seen())
    assert "<dd>40</dd>" in cut and "<dd>20</dd>" in cut
    splits = {
        "train": {"of": 54, "measured": 27, "reasons": {"too_long": 10}},
        "eval": {"of": 6, "measured": 6, "reasons": {}},
    }
    sampled = head.head(lang, info, seen(measured=33, splits=splits))
    for count in ("20", "40", "34"):  # dropped, kept, of these for training
        assert strings(lang)["dataset.about"].format(count=count) in sampled
    assert strings(lang)["dataset.empty_title"] in head.head(lang, None)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_not_used_is_named_with_its_rows(lang, info):
    from dataclasses import replace

    told = replace(
        info, columns={"source": "content", "output": "summary"}, unused={"label": 300, EVIL: 12, "meta.id": 1}
    )
    read = Reader(head.head(lang, told))
    assert (
        all(word in read.text for word in ("content", "summary", "label", "300", EVIL[:-1], "meta.id"))
        and "img" not in read.tags
    )
    many = head.head(lang, replace(info, unused={f"column{n}": n for n in range(1, 60)}))
    assert "<details" in many and "column59" in many and "47" in Reader(many).text.split("column12")[1]
    assert "ls-unused" not in head.head(lang, info)


NONE = {"top": 10, "counts": [], "over": [], "longest": 0, "median": 0, "shortest": 0}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_lengths_are_said_and_stand_in_a_table_with_all_that_hovering_tells(lang):
    read = Reader(lengths_said(lang, seen(), 200) + lengths_table(lang, seen()["lengths"], "Tokens"))
    assert "200" in read.text and "20" in read.text and read.tags.count("tr") == 31
    hovered = [
        told for bars in lengths_figure(lang, seen()["lengths"], "Tokens", 200)["data"] for told in bars["customdata"]
    ]
    assert all(low in read.text and high in read.text for low, high, *_ in hovered)
    assert lengths_said(lang, seen(lengths=NONE), 200) == lengths_table(lang, NONE, "Tokens") == ""


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_chart_of_lengths_has_each_row_on_its_side_of_the_line(lang):
    lengths = seen()["lengths"]
    figure = lengths_figure(lang, lengths, "Tokens", 200)
    fits, beyond = figure["data"]
    assert sum(fits["y"]) == sum(lengths["counts"]) - sum(lengths["over"]) and sum(beyond["y"]) == sum(lengths["over"])
    shared = set(fits["x"]) & set(beyond["x"])
    assert shared == {205} and max(fits["x"]) == min(beyond["x"]) == 205
    assert figure["layout"]["barmode"] == "stack" and 200 < figure["layout"]["shapes"][0]["x0"] < 201
    assert "200" in figure["layout"]["annotations"][0]["text"] and beyond["marker"]["pattern"]["shape"]
    without = {**lengths, "over": [0] * 40}
    fitting = lengths_figure(lang, without, "Tokens", 400)
    assert len(fitting["data"]) == 1 and "shapes" not in fitting["layout"]
    assert lengths_figure(lang, NONE, "Tokens", 200) is None
    assert len(lengths_figure(lang, {k: v for k, v in lengths.items() if k != "over"}, "Characters")["data"]) == 1


NAMED = {"role": {EVIL: {"turns": 3, "characters": 90}}} | {
    "label": {"a" * 80 + end: {"rows": rows, "tokens": 9, "trained": 3} for end, rows in (("b", 3), ("c", 1))}
}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_chart_of_names_escapes_them_and_keeps_two_that_look_alike_apart(lang):
    figure = names_figure(lang, NAMED)
    assert "<img" not in json.dumps(figure) and figure["data"][1]["x"] == [1, 3]
    assert len(set(figure["data"][1]["y"])) == 2 and "75.0 %" in figure["data"][1]["customdata"][1]
    assert names_figure(lang, {}) is names_figure(lang, {"label": {}}) is None


@pytest.mark.parametrize("lang", LANGUAGES)
def test_plotly_knows_every_word_of_a_figure_and_no_two_charts_of_one_overlap(lang):
    from plotly.graph_objects import Figure

    for figure in (lengths_figure(lang, seen()["lengths"], "Tokens", 200), names_figure(lang, NAMED)):
        Figure(data=figure["data"], layout=figure["layout"])  # raises where a word is not known
    (above, below) = (figure["layout"][name]["domain"] for name in ("yaxis", "yaxis2"))
    assert 0 <= below[0] < below[1] < above[0] < above[1] <= 1


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rows_say_their_split_their_loss_and_what_is_not_shown(lang, info):
    text = Reader(token_mask(lang, row(split="eval", more=1234, dropped=seen()["first_dropped"][0]))).text
    assert strings(lang)["rows.split_eval"] in text and "1,234" in text and "390" in text and "✕" in text
    for note in ("reasoning_left_out", "system_left_out", "earlier_turns_read", "unknown_tokens"):
        assert strings(lang)[f"dataset.row_note_{note}"] in Reader(token_mask(lang, row(notes=[note]))).text
    nothing = rows_html(lang, seen(kept=0), 200)
    assert "390" in Reader(nothing).text and 'role="alert"' in nothing


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_template_that_is_not_the_bases_own_is_said_with_a_row_by_both(lang):
    other = row(pieces=[[EVIL, True, False]])
    found = {"chosen": "chatml", "has_own": True, "ends": "</s>", "both": [row(), other]}
    read = Reader(rows_html(lang, seen(template=found), 200))
    assert EVIL[:-1] in read.text and "img" not in read.tags and read.tags.count("article") == 4
    assert strings(lang)["dataset.template_differs"].split("{")[0][:8] in read.text and "ChatML" in read.text
    same = Reader(rows_html(lang, seen(template=found | {"both": [row(), row()]}), 200))
    assert same.tags.count("article") == 2 and "ChatML" in same.text
    none = Reader(rows_html(lang, seen(template=found | {"chosen": "own", "has_own": False, "both": []}), 200))
    assert strings(lang)["dataset.template_none"] in none.text
    assert "ls-warn" not in rows_html(lang, seen(template=found | {"chosen": "own", "both": []}), 200)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_shape_and_language_has_a_word(lang, info):
    from dataclasses import replace

    for shape in SHAPES:
        for language in (*LETTERS, "mixed", "other"):
            assert recognised_text(lang, replace(info, shape=shape, language=language))


class FakeWorker:
    """The data worker in this process, without its tokens."""

    def __init__(self, store):
        self.store = store

    def start(self):
        pass

    def stream(self, method, beat_seconds, **params):
        if method == "ingest" and "hub_id" in params:
            return (yield from read.ingest(params, Request(0)))
        if method == "ingest":
            params.pop("login", None)
            paths = [(Path(path), name) for path, name in params["paths"]]
            if "parent" in params:
                params["parent"] = self.store.get(params["parent"])
            result = yield from ingest(self.store, paths, **{key: one for key, one in params.items() if key != "paths"})
            return as_json(result)
        yield {"phase": "tokenizing", "done": 1, "of": 60, "share": 0.02}
        return getattr(self, method)(**params) if hasattr(self, method) else self.call(method, **params)

    def call(self, method, **params):
        """What the reading worker does, in this process."""
        return read.HANDLERS[method](params, Request(0))

    def characters(self, **_):
        raw = {"row": 4, "split": "train", "text": "As stored.", "characters": 10}
        return {"rows": [raw], "offset": 0, "total": 60, "measured": 60, "of": 60, "lengths": seen()["lengths"]}

    def preview(self, dataset_id, max_length, **params):
        if params["model"] == "nowhere/base":
            raise Problem("base.missing", field="model", value="nowhere/base")
        if not isinstance(max_length, int) or max_length < 8:
            raise Problem("recipe.range", field="max_length", value=str(max_length), allowed="8 to 1,048,576")
        return seen()


def request(lang="en", session="s", tab=""):
    return SimpleNamespace(query_params={"lang": lang, "tab": tab}, cookies={}, headers={}, session_hash=session)


@pytest.fixture
def handlers(store):
    """The tab's handlers by name, on a page that is not served."""
    with gr.Blocks() as blocks:
        shared = Shared(Space.default(), store, None, FakeWorker(store), None, None, None)
        shared.dataset = gr.State(None)
        with gr.Tabs():
            shared.tab["dataset"] = gr.Tab("Dataset")
        with shared.tab["dataset"]:
            tab.build(shared)
    found = {fn.fn.__name__: listed(fn.fn, fn.outputs) for fn in blocks.fns.values() if fn.fn}
    assert {fn.api_visibility for fn in blocks.fns.values()} == {"private"}
    return found


SETTINGS = [10]
READ = ["base", 256, "drop", True, "own"]
VIEW = {"id": None, "offset": 0, "find": {}}


def look(handlers, info, *read, lang="en"):
    """What the right side shows, by the names of its parts."""
    return dict(zip(SHOWN, handlers["look"](request(lang), True, info.id, *read, VIEW), strict=True))


def test_a_good_file_then_a_bad_one(handlers, store, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "<b>bad.json"
    good.write_text(json.dumps([{"instruction": "a", "output": "b"}] * 10))
    bad.write_text("[{]")
    handlers["begin"](request(), str(good))
    trouble, id, file, *_ = handlers["upload"](request(), str(good), *SETTINGS)
    assert trouble == "" and file is None and store.get(id).eval_rows == 1
    handlers["begin"](request("zh-CN"), str(bad))
    trouble, kept, file, *_ = handlers["upload"](request("zh-CN"), str(bad), *SETTINGS)
    assert kept == gr.skip() and "<b>" not in trouble and "第 1 行" in trouble
    assert strings("zh-CN")["dataset.nothing_stored"] in trouble
    assert [info.id for info in store.list()] == [id]


@pytest.mark.parametrize("share", [-5, 80, "10", None])
def test_a_share_the_slider_does_not_have_is_refused_by_the_server(handlers, store, tmp_path, share):
    file = tmp_path / "good.json"
    file.write_text(json.dumps([{"text": "a"}] * 3))
    handlers["begin"](request(), str(file))
    trouble, *_ = handlers["upload"](request(), str(file), share)
    assert "eval_share" in trouble and store.list() == []


def test_samples_by_name_only(handlers, store):
    for id in ("../base/config.json", "/etc/passwd", None, 3):
        handlers["begin"](request(), id)
        trouble, *_ = handlers["use"](request(), id, *SETTINGS)
        assert "no sample" in trouble
    assert store.list() == []


def test_cancel_is_heard(handlers, store, tmp_path, monkeypatch):
    from studio.datasets import ingest as module

    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0)
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"text": "a"}] * 300))
    handlers["begin"](request(), str(file))
    busy, _, said, _ = handlers["cancel"](request())
    assert not busy.visible and "cancelled" in said
    trouble, *_ = handlers["upload"](request(), str(file), *SETTINGS)
    assert "cancelled" in trouble and store.list() == [] and list(store.root.iterdir()) == []


def test_cancel_is_heard_while_the_worker_is_silent(handlers, store, tmp_path, monkeypatch):
    """As while it counts the tokens of rows: the stream beats, and the page closes it."""
    closed = []

    def silent(self, method, beat_seconds, **_):
        try:
            while True:
                yield None
                handlers["cancel"](request())
        finally:
            closed.append(method)

    monkeypatch.setattr(FakeWorker, "stream", silent)
    handlers["begin"](request(), "a.json")
    trouble, *_ = handlers["upload"](request(), str(tmp_path / "a.json"), *SETTINGS)
    assert "cancelled" in trouble and closed == ["ingest"]


def test_an_upload_goes_away_once_it_was_read_or_refused_and_a_sample_stays(handlers, store):
    for name, text in (("good.json", '[{"text": "a"}]'), ("bad.json", "[")):
        file = Space.default().uploads / "0123abcd" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        handlers["begin"](request(), str(file))
        handlers["upload"](request(), str(file), *SETTINGS)
        assert list(Space.default().uploads.iterdir()) == []
    first = tab.samples()[0]
    handlers["begin"](request(), first.id)
    handlers["use"](request(), first.id, *SETTINGS)
    assert first.path.exists() and len(store.list()) == 2


def test_uploads_of_an_earlier_start_are_removed_and_new_ones_lie_in_the_data_folder(home, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/nowhere")
    Space.default().prepare()
    (Space.default().uploads / "left").mkdir()
    (Space.default().uploads / "left" / "big.json").write_text("[]")
    outside = home.parent / "outside.json"
    outside.write_text("[]")
    (Space.default().uploads / "link").symlink_to(outside)
    uploaded.sweep(Space.default())
    assert len(list(Space.default().uploads.iterdir())) == 2
    uploaded.keep_uploads_here(Space.default())
    assert list(Space.default().uploads.iterdir()) == [] and outside.exists()
    assert gr.utils.get_upload_folder() == str(Space.default().uploads)
    for path in (outside, Space.default().uploads, Space.default().uploads / ".." / "datasets"):
        uploaded.discard(Space.default(), path)
    assert outside.exists() and Space.default().uploads.is_dir() and Space.default().datasets.is_dir()


def test_a_file_the_browser_did_not_send_is_refused_in_words(handlers, monkeypatch):
    monkeypatch.setattr("studio.tabs.dataset.upload.upload_limit_bytes", lambda folder: 200 * 1024**2)
    said = handlers["refuse"](request("zh-CN"), json.dumps(["../<b>big.json", 3 * 10**8, 1]))
    assert "big.json" in said and "286.1 MiB" in said and "200.0 MiB" in said and "<b>" not in said
    for nonsense in ("", "{}", "[1]", '["a", "b", 1]', "null", '["a", NaN, 1]'):
        assert handlers["refuse"](request(), nonsense) == ""


def test_delete_and_undo_from_the_page(handlers, store, info):
    message, deleted, undo = handlers["delete"](info.id, request())
    assert "My rows" in message and store.list() == [] and undo.visible
    message, undo = handlers["undo"](deleted, request())
    assert "My rows" in message and store.list() == [info] and not undo.visible
    message, *_ = handlers["delete"]("../../x", request())
    assert 'role="alert"' in message


def test_the_list_follows_the_store_and_prefers_what_was_just_added(handlers, store, info):
    other = store.add("newer", [{"text": "a"}] * 2)
    menu, button, *_ = handlers["refresh"](info.id, other.id)
    assert menu.value == info.id and [id for _, id in menu.choices] == [other.id, info.id] and button.interactive
    menu, _, *_ = handlers["refresh"]("gone", None)
    assert menu.value == other.id


def test_the_worker_is_not_asked_before_the_tab_was_opened(handlers, store, info, monkeypatch):
    monkeypatch.setattr(FakeWorker, "start", lambda self: pytest.fail("started"))
    monkeypatch.setattr(FakeWorker, "stream", lambda *_, **__: pytest.fail("asked"))
    assert "<dd>60</dd>" in handlers["turned"](request(), False, info.id, VIEW)[0]
    assert set(map(str, handlers["look"](request(), False, info.id, *READ, VIEW))) == {str(gr.skip())}


def test_wrong_settings_are_said_where_the_rows_were(handlers, store, info):
    shown = look(handlers, info, "base", 1, "drop", True, "own", lang="zh-CN")
    assert "max_length" in shown["rows"] and "<dd>60</dd>" in shown["head"] and shown["views"].visible
    assert (
        strings("en")["dataset.empty_title"]
        in handlers["look"](request(), True, "20990101-000000-ffffff", *READ, VIEW)[0]
    )


def test_a_base_that_is_not_at_hand_shows_the_rows_in_characters_and_no_verdict(handlers, store, info):
    shown = look(handlers, info, "nowhere/base", *READ[1:])
    assert "<dd>60</dd>" in shown["head"] and "As stored." in shown["rows"] and "ls-trained" not in shown["rows"]
    assert "nowhere/base" in shown["rows"] and shown["excess"] == "" and "characters" in shown["lengths"]
    assert "shapes" not in json.loads(shown["chart"].value["plot"])["layout"] and shown["seen"] is None


def test_measuring_can_be_stopped_and_says_how_far_it_is(handlers, store, info, monkeypatch):
    shown = []

    def silent(self, method, beat_seconds, **_):
        yield {"phase": "tokenizing", "done": 15, "of": 60, "share": 0.25}
        while True:
            shown.append(handlers["tick"](request())[1])
            yield None
            handlers["stop"](request())

    monkeypatch.setattr(FakeWorker, "stream", silent)
    parts = look(handlers, info, *READ)
    assert "15 of 60" in shown[0] and 'value="25"' in shown[0]
    assert "<dd>60</dd>" in parts["head"] and "stopped" in parts["rows"]
    assert handlers["ended"](request())[1] == ""


def test_how_rows_are_made_to_fit_is_taken_over_by_the_train_tab(handlers):
    assert handlers["fit"](512, "split", "chatml") == {
        "max_length": 512,
        "excess_length_strategy": "split",
        "chat_template": "chatml",
    }


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_rows_shown_are_named_by_their_numbers_in_the_file(lang, info):
    rows = [row(row=number) for number in (1, 2, 3, 5, 6)]
    text = Reader(rows_html(lang, seen(rows=rows, total=60), 200)).text
    assert "1–3" in text and "5" in text and "6" in text and "60" in text
    assert numbers_text("en", [1, 2, 3, 5, 6]) == "1–3, 5, 6"
    assert numbers_text("zh-CN", [4, 17, 1200]) == "4、17、1,200"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_too_long_is_offered_in_three_ways_with_shares(lang):
    text = Reader(widget(lang, seen(excess=excess("split")), 200)).text
    for word in ("33", "54 %", "100 %", "39", "19", "390"):
        assert word in text
    assert widget(lang, seen(excess=None), 200) == ""


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rows_of_another_shape_are_said_with_counts(lang, store, tmp_path):
    file = tmp_path / "two.jsonl"
    first, later = {"instruction": "a", "output": "b"}, {"text": "a"}
    file.write_text("\n".join(json.dumps(one) for one in [first] * 150 + [later] * 37))
    told = run(ingest(store, file))
    text = Reader(head.head(lang, told)).text
    assert "37" in text and "151" in text and strings(lang)["dataset.shape_text"] in text
    assert (told.read, told.kept, told.dropped, told.other_shapes) == (187, 150, 37, {"text": 37})


def test_light_install_says_how_to_get_the_rest(monkeypatch, store):
    monkeypatch.setattr(tab, "can_train", lambda: False)
    asked = []
    monkeypatch.setattr(tab, "needs_train", lambda: asked.append(True))
    tab.build(SimpleNamespace())
    assert asked == [True]


def test_uploads_are_ingested_by_the_real_function(store, tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"text": "a"}]')
    assert run(ingest(store, file)).kept == 1


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_a_template_leaves_out_is_said_with_rows_and_counts(lang, info):
    notes = {
        "reasoning_left_out": list(range(1, 8)),
        "system_left_out": [3],
        "unknown_tokens": [4],
        "earlier_turns_read": [5],
    }
    html = picture.picture(lang, info, seen(notes=notes, dates=["28 Nov 2026<"]), 200)["head"]
    for word in ("7", "1, 2, 3, 4, 5 …", "28 Nov 2026&lt;"):
        assert word in html
    assert html.count("ls-data-note") == 5 and "{" not in html


def test_several_files_are_one_dataset_and_what_is_not_read_is_said(handlers, store, tmp_path):
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "<b>.png"]
    for file in files[:2]:
        file.write_text(json.dumps({"instruction": "q", "output": "a"}) + "\n")
    files[2].write_bytes(b"\x89PNG")
    handlers["begin"](request(), [str(file) for file in files])
    _, id, *_ = handlers["upload"](request(), [str(file) for file in files], *SETTINGS)
    info = store.get(id)
    assert (info.kept, info.files) == (2, ["a.jsonl", "b.jsonl"]) and info.name == "a.jsonl + 2"
    shown = head.head("en", info)
    assert ".png" in shown and "not read" in shown and "<b>" not in shown


def test_the_trash_is_emptied_after_it_was_asked_once_more(handlers, store, info):
    handlers["delete"](info.id, request())
    *_, empty, sure = handlers["refresh"](None, None, request())
    assert "(1)" in empty.value and empty.visible and not sure.visible
    asked = handlers["ask"](request("zh-CN"))
    assert "彻底删除" in asked.value and store.trash_count() == 1
    said, deleted, undo, empty, sure = handlers["empty"](request())
    assert "1" in said and deleted is None and not undo.visible and not empty.visible and store.trash_count() == 0

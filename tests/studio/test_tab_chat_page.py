"""The Chat tab in a browser, with a worker that says what the test wants: streams, stop, problems, reload, markup."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import gradio as gr
import pytest

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio import i18n
from studio.get.job import Jobs
from studio.jobs.folder import RunInfo
from studio.jobs.supervisor import Supervisor
from studio.space import Space
from studio.tabs import chat
from studio.web import theme
from tests import chromium

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror='window.hacked=1'>"
TINY = "lora-studio/tiny-base"


class ScriptedWorker:
    """Answers word by word until it has said `words`, or the request is closed."""

    def __init__(self) -> None:
        self.words, self.pause_s, self.problem = ["one ", "two "], 0.0, None
        self.asked, self.closed, self.stopped = [], threading.Event(), 0

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped += 1

    def stream(self, method, **params):
        self.asked.append(params)
        run = "keeper r8" if params.get("run_id") else None
        labels = {"base": {"model": TINY, "storage": "nf4", "run": None}}
        labels |= {"adapter": {"model": TINY, "storage": "nf4", "run": run}} if run else {}
        texts = dict.fromkeys(labels, "")
        try:
            yield {"answering": {"mode": "one_batch" if run else "alone", "panes": labels}}
            for count, word in enumerate(self.words, 1):
                time.sleep(self.pause_s)
                new = {pane: word if pane == "base" else word.upper() for pane in labels}
                texts = {pane: text + new[pane] for pane, text in texts.items()}
                yield {
                    "panes": {
                        pane: {"text": new[pane], "tokens": count, "tokens_per_second": 8.0, "stop": None}
                        for pane in labels
                    }
                }
                if self.problem:
                    raise self.problem
            final = {
                pane: {"text": text, "tokens": count, "tokens_per_second": 8.0, "stop": "end"}
                for pane, text in texts.items()
            }
            return {"mode": "one_batch" if run else "alone", "panes": final}
        finally:
            self.closed.set()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A page with this one tab, its scripted worker, and a run to choose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORA_STUDIO_HOME", str(tmp_path_factory.mktemp("page")))
        Space.default().prepare()
        run = Space.default().runs / "run-1"
        (run / "adapter").mkdir(parents=True)
        info = RunInfo("run-1", "keeper r8", 1.0, "d", "keeper", "f")
        (run / "run.json").write_text(json.dumps(info.__dict__))
        (run / "recipe.json").write_text(Recipe(model=TINY).to_json())
        worker = ScriptedWorker()
        shared = SimpleNamespace(
            runs=Supervisor(Space.default()), chat_worker=worker, tab={}, run=None, getting=Jobs(Space.default())
        )
        with gr.Blocks() as page:
            shared.run = gr.State(None)
            with gr.Tabs():
                shared.tab["chat"] = gr.Tab("Chat", id="chat")
            with shared.tab["chat"]:
                chat.build(shared)
        _, url, _ = page.launch(
            prevent_thread_lock=True,
            quiet=True,
            i18n=i18n.for_gradio(),
            theme=theme.theme(),
            css_paths=theme.style_sheets(),
            share=False,
            ssr_mode=False,
        )
        try:
            yield SimpleNamespace(url=url, worker=worker)
        finally:
            page.close()


@pytest.fixture(scope="module")
def visitor(site):
    with chromium.launch() as browser:
        page = browser.new_page(locale="en-US", viewport={"width": 1440, "height": 900})
        open_chat(page, site)
        page.wait_for_selector("#chat-panes .ls-empty", timeout=30_000)
        yield page


@pytest.fixture
def tab(site, visitor):
    """The visitor's page with an empty conversation."""
    yield visitor
    site.worker.__init__()
    visitor.set_viewport_size({"width": 1440, "height": 900})
    visitor.fill("#chat-prompt textarea", "")
    visitor.click("#chat-clear")
    visitor.wait_for_selector("#chat-panes .ls-empty", timeout=15_000)


def open_chat(page, site):
    page.goto(site.url)
    page.wait_for_selector("#chat-prompt textarea", timeout=30_000)


def send(page, text, done=True):
    page.fill("#chat-prompt textarea", text)
    page.press("#chat-prompt textarea", "Enter")
    if done:
        page.get_by_text(text).last.wait_for()
        page.wait_for_selector("#chat-send", timeout=15_000)


def test_both_panes_grow_at_once_and_name_their_weights(tab, site):
    site.worker.pause_s, site.worker.words = 0.15, ["one "] * 12
    send(tab, "count", done=False)
    tab.wait_for_selector(".ls-growing")
    halfway = [tab.inner_text(f".ls-answer[data-pane={pane}] .ls-text") for pane in ("base", "adapter")]
    tab.wait_for_selector("#chat-send", timeout=15_000)
    whole = [tab.inner_text(f".ls-answer[data-pane={pane}] .ls-text").strip() for pane in ("base", "adapter")]
    assert whole == [" ".join(["one"] * 12), " ".join(["ONE"] * 12)]
    assert all(len(half.strip()) < len(end) for half, end in zip(halfway, whole, strict=True))
    heads = [tab.inner_text(f".ls-pane-head[data-pane={pane}]") for pane in ("base", "adapter")]
    assert "tiny-base" in heads[0] and "keeper r8" not in heads[0] and "keeper r8" in heads[1]
    assert "8.0 tokens/s" in heads[0]


def test_the_next_turn_goes_on_with_what_each_pane_said(tab, site):
    send(tab, "first")
    send(tab, "second")
    said = {
        pane: [m["content"].strip() for m in site.worker.asked[-1][f"messages_{pane}"]] for pane in ("base", "adapter")
    }
    assert said == {"base": ["first", "one two", "second"], "adapter": ["first", "ONE TWO", "second"]}


def test_markup_in_an_answer_or_a_prompt_is_shown_not_run(tab, site):
    site.worker.words = [EVIL, " end"]
    send(tab, "say " + EVIL)
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("#chat-panes img").count() == 0
    assert EVIL in tab.inner_text(".ls-answer[data-pane=base] .ls-text")


def test_stop_is_quick_and_keeps_what_was_said(tab, site):
    site.worker.pause_s, site.worker.words = 0.1, ["word "] * 300
    send(tab, "talk", done=False)
    tab.wait_for_selector(".ls-growing")
    started = time.monotonic()
    tab.click("#chat-stop")
    tab.wait_for_selector("#chat-send", timeout=5_000)
    assert time.monotonic() - started < 3
    assert site.worker.closed.wait(3)
    assert "stopped" in tab.inner_text(".ls-answer[data-pane=base] .ls-figures")
    assert tab.inner_text(".ls-answer[data-pane=base] .ls-text").startswith("word")


def test_a_problem_stands_in_the_page_and_the_conversation_stays(tab, site):
    send(tab, "first")
    site.worker.problem = Problem("chat.memory")
    send(tab, "second")
    alert = tab.wait_for_selector("#chat-status [role=alert]")
    assert "memory of this machine" in alert.inner_text()
    assert tab.locator(".ls-turn").count() == 2
    assert "interrupted" in tab.inner_text(".ls-turn:last-child .ls-answer[data-pane=base] .ls-figures")


def test_a_refused_prompt_comes_back_to_its_field(tab, site):
    site.worker.stream = lambda *a, **k: (_ for _ in ()).throw(
        Problem("chat.context", field="max_new_tokens", value=128, prompt=500, context=512, allowed=12)
    )
    try:
        send(tab, "too long", done=False)
        alert = tab.wait_for_selector("#chat-status [role=alert]")
        assert "max_new_tokens: 128" in alert.inner_text() and "at most 12" in alert.inner_text()
        assert tab.input_value("#chat-prompt textarea") == "too long"
    finally:
        del site.worker.stream


def test_a_reload_brings_back_conversation_and_draft(tab, site):
    send(tab, "first")
    tab.fill("#chat-prompt textarea", "half a thought")
    tab.wait_for_timeout(400)
    open_chat(tab, site)
    tab.wait_for_selector(".ls-turn", timeout=15_000)
    tab.wait_for_function("document.querySelector('#chat-prompt textarea').value === 'half a thought'")
    send(tab, "second")
    assert [m["content"].strip() for m in site.worker.asked[-1]["messages_base"]] == ["first", "one two", "second"]


def test_clear_and_unload(tab, site):
    send(tab, "first")
    tab.click("#chat-unload")
    tab.get_by_text("its memory is free").wait_for()
    assert site.worker.stopped == 1 and tab.locator(".ls-turn").count() == 1
    tab.click("#chat-clear")
    tab.wait_for_selector("#chat-panes .ls-empty")
    send(tab, "again")
    assert len(site.worker.asked[-1]["messages_base"]) == 1


def test_differing_words_are_marked_on_demand(tab):
    send(tab, "first")
    plain = "getComputedStyle(document.querySelector('#chat-panes mark')).backgroundColor"
    before = tab.evaluate(plain)
    assert before == "rgba(0, 0, 0, 0)"
    tab.check("#chat-mark input")
    tab.wait_for_function(f"{plain} !== '{before}'", timeout=5_000)


def test_panes_stack_on_a_phone_without_sideways_scrolling(tab):
    send(tab, "first")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_timeout(200)
    boxes = [tab.locator(f".ls-answer[data-pane={pane}]").bounding_box() for pane in ("base", "adapter")]
    assert boxes[0]["x"] == boxes[1]["x"] and boxes[1]["y"] > boxes[0]["y"]
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.locator(".ls-answer[data-pane=adapter] h3").is_visible()


def test_the_base_alone_has_one_pane(tab, site):
    tab.click("#chat-run input")
    tab.get_by_role("option", name="The base alone").first.click()
    send(tab, "just you")
    assert site.worker.asked[-1]["model"] == TINY and "run_id" not in site.worker.asked[-1]
    assert tab.locator(".ls-answer").count() == 1

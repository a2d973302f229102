"""The Chat tab: one prompt, two panes. The page keeps the conversation in the browser; the model lives in its
worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterator
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio import shipped
from studio.gate.security import from_this_machine
from studio.get.known import SMOLLM2
from studio.i18n import language, marker, t
from studio.inference import conversation
from studio.inference.conversation import Turn
from studio.inference.sampling import MAX_NEW_TOKENS, TEMPERATURE, Sampling
from studio.jobs.view import RunView
from studio.models.find import EMBEDDED_ID, base_name
from studio.services import Shared
from studio.tabs import can_train, long
from studio.tabs.answering import Answering
from studio.tabs.getting import GetPanel
from studio.tabs.notices import explained, forget, needs_train
from studio.widgets.panes import empty_html, panes_html, short_name

BASE = "base:"
"""Begins a choice that is a base alone; any other choice is a run's id."""
SAVE_SECONDS = 1.0
"""Between two copies of a growing answer in the browser's storage: what a closed page loses at most."""
DRAFT = {"prompt": "", **Sampling().__dict__}
KEEP_DRAFT = shipped.script("functions/keep_draft")
RESTORE_DRAFT = shipped.script("functions/restore_draft")
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def build(shared: Shared) -> None:
    """Called inside the tab."""
    if not can_train():
        return needs_train()
    Page(shared).build()


class Page:
    """The tab's components and handlers, for all browsers; what belongs to one is in its states."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._stops: dict[str, threading.Event] = {}

    def build(self) -> None:
        self.turns = gr.BrowserState([], storage_key="lora-studio-conversation", secret="lora-studio")
        self.draft = gr.BrowserState(DRAFT, storage_key="lora-studio-draft", secret="lora-studio")
        self.restored = gr.State(False)
        # In the browser, where the choice is: a state of the server is ahead of a choice whose answer is still on its
        # way.
        self.followed = gr.Textbox(visible="hidden")
        with gr.Row(elem_classes="ls-split ls-picture-first"):
            with gr.Column(elem_classes="ls-left"):
                self._decisions()
            with gr.Column(elem_classes="ls-right"):
                self._panes()
        self._wire()

    def _decisions(self) -> None:
        self.choice = gr.Dropdown([], label=marker("chat.run"), info=marker("chat.run_help"), elem_id="chat-run")
        self.get = GetPanel(self.shared, "chat", lambda choice: str(choice).removeprefix(BASE))
        self.temperature = gr.Slider(
            *TEMPERATURE,
            value=DRAFT["temperature"],
            step=0.1,
            label=marker("chat.temperature"),
            info=marker("chat.temperature_help"),
            elem_id="chat-temperature",
        )
        self.longest = gr.Slider(
            *(MAX_NEW_TOKENS[0], 1024),
            value=DRAFT["max_new_tokens"],
            step=1,
            label=marker("chat.max_new_tokens"),
            info=marker("chat.max_new_tokens_help"),
            elem_id="chat-max-new-tokens",
        )
        self.seed = gr.Number(
            value=DRAFT["seed"], label=marker("chat.seed"), info=marker("chat.seed_help"), elem_id="chat-seed"
        )
        for component in (self.choice, self.temperature, self.longest, self.seed):
            component.preprocess = lambda value: value  # `Sampling` refuses bad numbers, in the reader's language
        self.mark = gr.Checkbox(label=marker("chat.mark"), elem_id="chat-mark")
        with gr.Row():
            self.clear = gr.Button(marker("chat.clear"), size="sm", elem_id="chat-clear")
            self.unload = gr.Button(marker("chat.unload"), size="sm", elem_id="chat-unload")

    def _panes(self) -> None:
        self.panes = gr.HTML(elem_id="chat-panes", autoscroll=True)
        self.status = gr.HTML(elem_id="chat-status")
        with gr.Row(elem_id="chat-input"):
            self.prompt = gr.Textbox(
                label=marker("chat.prompt"),
                placeholder=marker("chat.prompt_placeholder"),
                lines=1,
                max_lines=8,
                elem_id="chat-prompt",
                scale=1,
            )
            self.send = gr.Button(
                marker("chat.send"), variant="primary", size="md", elem_id="chat-send", scale=0, min_width=96
            )
            self.stop = gr.Button(
                marker("chat.stop"),
                variant="stop",
                visible=False,
                size="md",
                elem_id="chat-stop",
                scale=0,
                min_width=96,
            )

    def _wire(self) -> None:
        outputs = [self.panes, self.status, self.prompt, self.turns, self.draft, self.restored, self.send, self.stop]
        outputs += [self.choice, self.followed]
        settings = [self.temperature, self.longest, self.seed]
        asked = [self.prompt, self.turns, self.choice, self.shared.run, self.followed, *settings]
        gr.on([self.send.click, self.prompt.submit], self._answer, asked, outputs, **long("answer"), **QUIET)
        self.stop.click(self._stop, None, None, queue=False, **QUIET)
        self.clear.click(self._clear, self.choice, [self.panes, self.status, self.turns], **QUIET)
        mended_by = (
            self.prompt.input,
            *(part.change for part in (self.choice, self.temperature, self.longest, self.seed)),
        )
        forget(self.shared, self.status, *mended_by)
        self.unload.click(self._unload, None, self.status, **long("unload"), **QUIET)
        self.mark.change(
            None, self.mark, None, js="(on) => { document.body.classList.toggle('ls-marking', on) }", **QUIET
        )
        # A BrowserState is read when its tab is first shown, and says so with a change, as it does after every write.
        draft = [self.prompt, *settings]
        for part in draft:
            part.change(None, [self.draft, *draft], self.draft, js=KEEP_DRAFT, **QUIET)
        self.draft.change(None, self.draft, draft, js=RESTORE_DRAFT, **QUIET)
        restored = [self.panes, self.turns, self.prompt, self.restored]
        self.turns.change(self._restore, [self.turns, self.choice, self.restored], restored, **QUIET)
        choices = {
            "inputs": [self.choice, self.shared.run, self.followed],
            "outputs": [self.choice, self.followed],
            **QUIET,
        }
        self.get.wire(self.shared, self.choice)
        self.shared.tab["chat"].select(self._choices, **choices).then(self._empty, self.restored, self.panes, **QUIET)
        self.shared.run.change(self._choices, **choices)
        self.shared.tab["chat"].select(lambda: self.shared.chat_worker.start(), None, None, **QUIET)

    def _choices(
        self, chosen: str | None, wanted: str | None, followed: str | None, request: gr.Request
    ) -> dict[Any, Any]:
        """Finished runs, then the bases alone. A run newly opened elsewhere is preselected; else the choice stays."""
        lang = language(request)
        runs = self._finished()
        named = [(f"{view.name} · {view.dataset_name}", view.id) for view in runs]
        models = dict.fromkeys([EMBEDDED_ID, SMOLLM2, *(view.recipe.model for view in runs)])
        bases = [(t(lang, "chat.base_only", name=short_name(model)), BASE + model) for model in models]
        known = [value for _, value in named + bases]
        chosen, followed = self._follow(chosen, wanted, followed, known)
        offered = gr.Dropdown(named + bases, value=chosen if chosen in known else known[0])
        return {self.choice: offered, self.followed: followed}

    def _allowed(self, request: gr.Request, choice: str) -> str:
        """A run, or a base that is offered; a page may send others too. Raises `Problem` for a folder named from
        elsewhere."""
        name = str(choice).removeprefix(BASE)
        if choice == name or any(view.recipe.model == name for view in self._finished()):
            return choice
        return BASE + base_name(self.shared.space, name, from_this_machine(request))

    def _finished(self) -> list[RunView]:
        return [view for view in self.shared.runs.list() if view.has_result and view.recipe]

    def _follow(
        self, chosen: str | None, wanted: str | None, followed: str | None, known: Container[str]
    ) -> tuple[str | None, str | None]:
        """The choice and the run followed so far: a run newly opened is chosen once; then the reader's choice stays."""
        return (wanted, wanted) if wanted in known and wanted != followed else (chosen, followed)

    def _empty(self, restored: bool, request: gr.Request) -> Any:
        return gr.skip() if restored else self._html(language(request), [], None)

    def _restore(self, kept: Any, choice: str | None, restored: bool, request: gr.Request) -> dict[Any, Any]:
        """The conversation as it was before a reload; a prompt that nothing answered is put back into its field."""
        if restored:
            return {self.restored: gr.skip()}
        turns, prompt = conversation.take_back(conversation.restore(kept))
        panes = self._html(language(request), turns, choice)
        return {self.panes: panes, self.turns: turns, self.prompt: prompt or gr.skip(), self.restored: True}

    def _html(self, lang: str, turns: list[Turn], choice: str | None) -> str:
        if not turns:
            return empty_html(lang, bool(self._finished()))
        return panes_html(lang, turns, two=bool(choice) and not choice.startswith(BASE))

    def _clear(self, choice: str | None, request: gr.Request) -> dict[Any, Any]:
        self._stop(request)
        lang = language(request)
        return {self.panes: self._html(lang, [], choice), self.status: _note(t(lang, "chat.cleared")), self.turns: []}

    def _unload(self, request: gr.Request) -> str:
        """End the worker: only the end of a process gives all of its memory back."""
        for stop in list(self._stops.values()):
            stop.set()
        self.shared.chat_worker.stop()
        return _note(t(language(request), "chat.unloaded"))

    def _stop(self, request: gr.Request) -> None:
        if stop := self._stops.get(request.session_hash):
            stop.set()

    def _answer(
        self,
        request: gr.Request,
        prompt: str,
        kept: Any,
        choice: str | None,
        wanted: str | None,
        followed: str | None,
        *settings: Any,
    ) -> Iterator[dict[Any, Any]]:
        """Stream both answers; whatever goes wrong, the conversation stays and the prompt comes back."""
        prompt = conversation.clean(prompt)
        lang, turns, turn = language(request), conversation.restore(kept), conversation.new_turn(prompt)
        draft = dict(zip(("prompt", "temperature", "max_new_tokens", "seed"), (prompt, *settings)))
        stop = self._stops[request.session_hash] = threading.Event()
        # A prompt may be sent before the list that preselects a run has come: the answer is that run's all the same.
        preselected = self._follow(choice, wanted, followed, {view.id for view in self._finished()})
        changed = dict(zip((self.choice, self.followed), preselected)) if preselected != (choice, followed) else {}
        choice = preselected[0]
        try:
            params = _request(turns, self._allowed(request, choice or BASE + EMBEDDED_ID), draft)
            shown = self._showing(lang, [*turns, turn], choice)
            yield {
                **shown(save=True),
                **self._busy(True),
                self.prompt: "",
                self.draft: {**draft, "prompt": ""},
                self.restored: True,
                **changed,
            }
            saved = time.monotonic()
            for status in Answering(self.shared.chat_worker, params, turn, stop).statuses(lang):
                keep = time.monotonic() - saved > SAVE_SECONDS
                saved = time.monotonic() if keep else saved
                yield {**shown(save=keep), self.status: _note(status)}
            yield self._ended(lang, turns, turn, choice, draft)
        except Problem as problem:
            yield {**self._ended(lang, turns, turn, choice, draft), self.status: explained(lang, problem)}
        finally:
            self._stops.pop(request.session_hash, None)

    def _showing(self, lang: str, turns: list[Turn], choice: str | None) -> Callable[..., dict[Any, Any]]:
        """The panes as they grow, and now and then a copy for the browser to keep."""

        def shown(save: bool) -> dict[Any, Any]:
            return {self.panes: self._html(lang, turns, choice), **({self.turns: turns} if save else {})}

        return shown

    def _ended(
        self, lang: str, turns: list[Turn], turn: Turn, choice: str | None, draft: dict[str, Any]
    ) -> dict[Any, Any]:
        """The page at rest. A prompt that nothing answered goes back into its field."""
        if any(turn[pane] for pane in conversation.PANES):
            return {**self._showing(lang, [*turns, turn], choice)(save=True), **self._busy(False)}
        return {
            **self._showing(lang, turns, choice)(save=True),
            **self._busy(False),
            self.prompt: draft["prompt"],
            self.draft: draft,
        }

    def _busy(self, busy: bool) -> dict[Any, Any]:
        return {self.send: gr.Button(visible=not busy), self.stop: gr.Button(visible=busy)}


def _request(turns: list[Turn], choice: str, draft: dict[str, Any]) -> dict[str, Any]:
    """What the worker is asked. Raises `Problem` naming the field at fault."""
    if not isinstance(draft["prompt"], str) or not draft["prompt"].strip():
        raise Problem("chat.prompt", field="prompt")
    numbers = {key: draft[key] for key in ("temperature", "max_new_tokens", "seed")}
    Sampling(**numbers)
    weights = {"model": choice.removeprefix(BASE)} if choice.startswith(BASE) else {"run_id": choice}
    histories = {f"messages_{pane}": conversation.history(turns, pane, draft["prompt"]) for pane in conversation.PANES}
    return {**weights, **histories, **numbers}


def _note(text: str) -> str:
    return f'<p class="ls-note" role="status">{escape(text)}</p>' if text else ""

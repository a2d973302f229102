"""From messages to text: the chat template that training and chat share, what in its text the assistant wrote, and how
it is asked.

`template_runs` runs the template, `template_examples` finds out what it writes around an answer, `training_templates`
chooses it; `studio.rendering.rendering` makes tokens of the text.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2

from estimator.core.problems import Problem
from studio.rendering.messages import WRITINGS, Messages, Writing, written
from studio.rendering.template_examples import PROBE, USER, Examples, shared
from studio.rendering.template_runs import LeftOut, Refused, Span, words_of
from studio.rendering.training_templates import OWN, chosen_template

_REWRITES = "this template writes an earlier turn differently when others follow it"


@dataclass(frozen=True)
class Turn:
    """What the assistant wrote in one stretch: message `index`, characters `start` to `end` of the text.

    Up to `start` reaches the prompt that asks for this answer.
    """

    index: int
    start: int
    end: int


@dataclass(frozen=True)
class Rendered:
    text: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Kept:
    """What a run began with, and keeps."""

    moment: datetime
    """Local time of its first start, for templates that write the date."""
    chat_template: str | dict[str, str] | None = None
    """As trained, with its markers; by name where a base has several. None: the base's."""


class ChatForm(Examples):
    """How conversations are written for one tokenizer."""

    has_own: bool = True
    """Whether the base brought a template; without one it is given a plain one."""

    def __init__(self, tokenizer: Any, name: str, moment: datetime | None = None) -> None:
        super().__init__(tokenizer, name, moment)
        self._writing = WRITINGS[0]

    def conversation(self, messages: Messages, tools: list[dict[str, Any]] | None = None) -> Iterator[Rendered]:
        """The text and the assistant's turns in it; more than one where calls of tools can be handed over in several
        ways.

        Raises `Refused`, and `Problem` `base.template_*`.
        """
        ways = [self._writing, *(way for way in WRITINGS if way != self._writing)]
        calls = any(message.get("tool_calls") for message in messages)
        refusal, written_once = None, False
        for way in ways if calls else WRITINGS[:1]:
            try:
                rendered = self._rendered(messages, tools, way)
            except Refused as error:
                refusal = refusal or error
                continue
            self._writing, written_once = way, True  # tried first for the next row
            yield rendered
        if refusal and not written_once:
            raise refusal

    def conversations(
        self, many: list[Messages], cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Rendered | None]:
        """What `conversation` gives first of each of many that call no tools; None where it has to be asked itself.
        Raises `Problem` `worker.cancelled`."""
        handed = [written(one, WRITINGS[0], self.wants_parts) for one in many]
        for messages, made in zip(many, self._run_many(handed, cancelled)):
            answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
            if made is None or made[1] is None:
                yield None
                continue
            places = self._unopened(made[0], made[1])
            is_plain = len(answers) in (1, len(places))
            owners = answers * len(places) if len(answers) == 1 else answers
            turns = tuple(Turn(index, *place) for index, place in zip(owners, places))
            yield Rendered(made[0], turns) if is_plain else None

    def _unopened(self, text: str, spans: list[Span]) -> list[Span]:
        """Marked stretches without what the prompt has of them already."""
        opening = self._opening
        if not opening:
            return [span for span in spans if span[0] < span[1]]
        return [
            (start + len(opening) * text.startswith(opening, start, end), end) for start, end in spans if start < end
        ]

    def prompt(self, messages: Messages) -> Rendered:
        """The text up to where the assistant's next answer begins, as trained rows have it, with the turns before."""
        asked = [*messages, {"role": "assistant", "content": PROBE}]
        try:
            whole = self._rendered(asked, None, WRITINGS[0])
            last = next(turn for turn in whole.turns if turn.index == len(messages))
        except (Refused, StopIteration):  # an earlier turn that is written differently now is no matter of the next
            text, _ = self._render(asked, None, WRITINGS[0])
            return Rendered(text[: self._asked_until(text)], ())
        return Rendered(whole.text[: last.start], tuple(turn for turn in whole.turns if turn.end <= last.start))

    def _rendered(self, messages: Messages, tools: Any, way: Writing) -> Rendered:
        text, spans = self._render(messages, tools, way)
        if spans is None:
            return Rendered(text, tuple(self._found(text, messages, tools, way)))
        places = self._unopened(text, spans)
        indices = self._owners(text, messages, tools, way, [start for start, _ in places])
        return Rendered(text, tuple(Turn(index, *place) for index, place in zip(indices, places, strict=True)))

    def _owners(self, text: str, messages: Messages, tools: Any, way: Writing, starts: list[int]) -> list[int]:
        """Which message each marked stretch belongs to."""
        answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if len(answers) in (1, len(starts)):
            return answers * len(starts) if len(answers) == 1 else answers
        begins = [shared(text, self._render(messages[:index], tools, way)[0]) if index else 0 for index in answers]
        return [
            max((index for index, begin in zip(answers, begins) if begin <= start), default=answers[0])
            for start in starts
        ]

    def _found(self, text: str, messages: Messages, tools: Any, way: Writing) -> Iterator[Turn]:
        """The turns in the text of a template that marks none: what changes when another answer stands in their
        place."""
        for index, message in enumerate(messages):
            if message["role"] == "assistant":
                start, end = self._place(text, messages, index, tools, way)
                last = index == len(messages) - 1
                end = len(text.rstrip()) if last else end + len(self._tail) * text.startswith(self._tail, end)
                if start >= end:
                    raise Refused(_REWRITES)
                yield Turn(index, start, end)

    def _place(self, text: str, messages: Messages, index: int, tools: Any, way: Writing) -> Span:
        """First and last character of one answer in the text. Raises `Refused` where a template rewrites what stands
        around it."""
        other = [*messages[:index], {"role": "assistant", "content": PROBE}]
        try:
            probe, whole = self._render([*other, *messages[index + 1 :]], tools, way)[0], text
        except Refused:  # results of tools without the call, say
            probe, whole = self._render(other, tools, way)[0], self._render(messages[: index + 1], tools, way)[0]
        if PROBE not in probe and index < len(messages) - 1:
            raise Refused(_REWRITES)
        start, after = self._asked_until(probe), probe[probe.rfind(PROBE) + len(PROBE) :]
        if not whole.endswith(after) or not text.startswith(whole.rstrip()):
            raise Refused(_REWRITES)
        return min(start, shared(whole, probe)), len(whole) - len(after)

    def _asked_until(self, probe: str) -> int:
        """Where the prompt ends in a text that holds `PROBE` as an answer."""
        if (at := probe.rfind(PROBE)) < 0:
            raise LeftOut("this template leaves answers out")
        return at - len(self._lead) * probe.endswith(self._lead, 0, at)

    @cached_property
    def asks_as_before(self) -> bool:
        """Whether an answer is asked for, when it comes, as it is written once others follow it. Templates of models
        that reason may write earlier turns another way: those are read, since nobody will ask so."""
        rest = [USER, {"role": "assistant", "content": "Another answer."}]
        try:
            text, _ = self._render([USER, {"role": "assistant", "content": PROBE}, *rest], None, WRITINGS[0])
            first = self.prompt([USER]).text
        except Refused:
            return True
        return text.startswith(first) and self._ids(text)[: len(ids := self._ids(first))] == ids


_FORMS: weakref.WeakKeyDictionary[Any, ChatForm] = weakref.WeakKeyDictionary()


def form_of(tokenizer: Any) -> ChatForm:
    """The form kept for a tokenizer; a new one, on the clock of today, where there is none."""
    if tokenizer not in _FORMS:
        _FORMS[tokenizer] = ChatForm(tokenizer, getattr(tokenizer, "name_or_path", ""))
    return _FORMS[tokenizer]


def prepare(tokenizer: Any, name: str, kept: Kept | None = None, chosen: str = OWN) -> None:
    """Give a tokenizer the chat template chosen, fit for training, or the one kept. Raises `Problem`
    `base.template*`."""
    has_own = bool(tokenizer.chat_template)
    form = _FORMS[tokenizer] = ChatForm(tokenizer, name, kept.moment if kept else None)
    form.has_own = has_own
    try:
        with form.bounded():
            tokenizer.chat_template = kept and kept.chat_template or chosen_template(tokenizer, name, chosen)
    except jinja2.TemplateSyntaxError as error:
        reason = f"{words_of(error)} (line {error.lineno})"
        raise Problem("base.template", field="model", value=name, reason=reason) from error


def turn_end(tokenizer: Any) -> int:
    """Id of the token that ends the assistant's turn."""
    return form_of(tokenizer).turn_end


def stop_ids(tokenizer: Any) -> list[int]:
    """Ids that end an answer: the end of the assistant's turn, and of the text."""
    return sorted({turn_end(tokenizer), tokenizer.eos_token_id})

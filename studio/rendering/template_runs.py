"""A chat template is a program of the base's author: here it runs, within bounds (`studio.protocol.bounds`) and on a
clock that a run can keep (`moment`). Whatever it raises is `Refused`, in its own words."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import jinja2

from estimator.core.problems import Problem
from studio.protocol import bounds
from studio.rendering.messages import PLAIN_KEYS, Messages

Span = tuple[int, int]
"""First character and the one after the last."""
AT_ONCE = 100
"""Conversations that share one bound of time, which is that of one: a template takes less than a millisecond a turn."""

FIRST_AT_ONCE, SLOW_SECONDS = 10, 0.25


class Refused(Exception):
    """The template does not take this conversation; the words are its own."""


class LeftOut(Refused):
    """The template does not write answers."""


class TemplateRun:
    """One tokenizer's template, run on conversations."""

    def __init__(self, tokenizer: Any, name: str, moment: datetime | None = None) -> None:
        self.name, self.moment = name, moment
        self.dates: dict[str, str] = {}
        """What the template was told when it last asked for the date, by the format it asked for."""
        self.seconds = bounds.RENDER_SECONDS
        self._at_once = FIRST_AT_ONCE
        self._tokenizer = weakref.proxy(tokenizer)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _run(self, messages: Messages, tools: Any, prompt: bool = False) -> tuple[str, list[Span] | None]:
        """The library's own renderer, with a clock of ours, within bounds. No spans where the template has no
        markers."""
        return self._run_all([messages], tools, prompt)[0]

    def _run_many(
        self, many: list[Messages], cancelled: Callable[[], bool]
    ) -> Iterator[tuple[str, list[Span] | None] | None]:
        """The same of each of many conversations without tools; None for one that is refused, or that was among others
        of which one takes too long: asked alone, it says so. Raises `Problem` `worker.cancelled`."""
        first = 0
        while first < len(many):
            some = many[first : first + min(self._at_once, AT_ONCE)]
            first, began = first + len(some), time.monotonic()
            try:
                yield from self._run_all(some, None)
            except (Refused, Problem):
                for one in some:
                    _check(cancelled)
                    try:
                        yield self._run(one, None)
                    except (Refused, Problem):
                        yield None
            _check(cancelled)
            # A slow template gets fewer at once, so that nobody who cancels waits for long.
            took = time.monotonic() - began
            self._at_once = max(1, len(some) // 2) if took > SLOW_SECONDS else max(self._at_once, 2 * len(some))

    def _run_all(self, many: list[Messages], tools: Any, prompt: bool = False) -> list[tuple[str, list[Span] | None]]:
        from transformers.utils import chat_template_utils as library
        from trl.chat_template_utils import has_generation_markers

        template = self._tokenizer.get_chat_template(None, tools)
        marked = has_generation_markers(template)
        try:
            with self.bounded():
                # Arguments cannot replace `strftime_now` (5.23 hands functions over as the text "<function>"), globals
                # can.
                compiled = library._compile_jinja_template(template)
                if not isinstance(compiled.globals, dict):
                    compiled.globals = dict(compiled.globals)  # of a chain of them Jinja makes one for each rendering
                compiled.globals["strftime_now"] = self._date
                special = self._tokenizer.special_tokens_map
                if marked and not tools and not prompt and all(map(_is_plain, many)):
                    texts, spans = _rendered(compiled, many, special)
                else:
                    texts, spans = library.render_jinja_template(
                        conversations=many, tools=tools or None, chat_template=template,
                        return_assistant_tokens_mask=marked, add_generation_prompt=prompt, **special,
                    )  # fmt: skip
        except Problem:
            raise
        except Exception as error:  # a template may divide by zero, recurse for ever, ask for too long a range
            raise Refused(words_of(error)) from error
        return [(text, [(start, end) for start, end in spans[at]] if marked else None) for at, text in enumerate(texts)]

    def bounded(self) -> Any:
        """For whatever runs the template. Raises `Problem` `base.template_slow` or `base.template_large`."""
        named = {"field": "model", "value": self.name}
        slow = Problem("base.template_slow", **named, seconds=f"{self.seconds:g}")
        return bounds.bounded(slow, Problem("base.template_large", **named), self.seconds)

    def date_as(self, format: str) -> str:
        """What the template would be told."""
        return (self.moment or datetime.now()).strftime(format)

    def _date(self, format: str) -> str:
        self.dates[format] = self.date_as(format)
        return self.dates[format]


def _is_plain(messages: Messages) -> bool:
    return all(message.keys() == PLAIN_KEYS for message in messages)


def _rendered(compiled: Any, many: list[Messages], special: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """What the library's renderer does once it has copied messages into plain ones, which these are: a fifth faster."""
    from transformers.utils import chat_template_utils as library

    texts: list[str] = []
    spans: list[Any] = []
    for messages in many:
        text, places = library._render_with_assistant_indices(
            compiled, messages=messages, tools=None, documents=None, add_generation_prompt=False, **special
        )
        texts.append(text)
        spans.append(places)
    return texts, spans


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Problem("worker.cancelled")


def words_of(error: Exception) -> str:
    """What a template said, or what went wrong in it."""
    own = isinstance(error, jinja2.TemplateError) and not isinstance(
        error, (jinja2.TemplateSyntaxError, jinja2.UndefinedError)
    )
    words = " ".join(str(error).split()) or type(error).__name__
    return (words if own else f"{type(error).__name__}: {words}")[:160]

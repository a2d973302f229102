"""From messages to text: the chat template that training and chat share, what in its text the assistant wrote, and how it is asked.

A template is a program of the base's author. It runs within bounds (`studio.workers.bounds`), on a clock that a run can keep
(`moment`), and whatever it raises is `Refused`, in its own words. `studio.workers.rendering` makes tokens of the text.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2

from estimator.core.problems import Problem
from studio.workers import bounds
from studio.workers.messages import WRITINGS, Messages, Writing, written

Span = tuple[int, int]
"""First character and the one after the last."""

# For a base without a chat template. It uses no token that the base does not have, and ends the assistant's turn with
# the base's own end-of-text token, so that generation stops. `{% generation %}` marks what is trained.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'].capitalize() + ':\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n\\n' }}"
    "{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)
_USER = {"role": "user", "content": "What the user said."}
_PROBE = "What the assistant said."
_REWRITES = "this template writes an earlier turn differently when others follow it"
# Answers that begin differently, so that what they have in common is the template's: another letter, reasoning in either notation.
_OTHERS = (
    {"content": "Another answer."},
    {"content": _PROBE, "reasoning_content": "First a thought."},
    {"content": f"<think>\nFirst a thought.\n</think>\n\n{_PROBE}"},
)


class Refused(Exception):
    """The template does not take this conversation; the words are its own."""


class LeftOut(Refused):
    """The template does not write answers."""


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


class ChatForm:
    """How conversations are written for one tokenizer."""

    def __init__(self, tokenizer: Any, name: str, moment: datetime | None = None) -> None:
        self.name, self.moment = name, moment
        self.dates: dict[str, str] = {}
        """What the template was told when it last asked for the date, by the format it asked for."""
        self.seconds = bounds.RENDER_SECONDS
        self._tokenizer = weakref.proxy(tokenizer)
        self._writing = WRITINGS[0]

    def conversation(self, messages: Messages, tools: list[dict[str, Any]] | None = None) -> Iterator[Rendered]:
        """The text and the assistant's turns in it; more than one where calls of tools can be handed over in several ways.

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

    def prompt(self, messages: Messages) -> Rendered:
        """The text up to where the assistant's next answer begins, as trained rows have it, with the turns before."""
        asked = [*messages, {"role": "assistant", "content": _PROBE}]
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
        opening = self._opening
        places = [
            (start + len(opening) * text.startswith(opening, start, end), end) for start, end in spans if start < end
        ]
        indices = self._owners(text, messages, tools, way, [start for start, _ in places])
        return Rendered(text, tuple(Turn(index, *place) for index, place in zip(indices, places, strict=True)))

    def _owners(self, text: str, messages: Messages, tools: Any, way: Writing, starts: list[int]) -> list[int]:
        """Which message each marked stretch belongs to."""
        answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if len(answers) in (1, len(starts)):
            return answers * len(starts) if len(answers) == 1 else answers
        begins = [_shared(text, self._render(messages[:index], tools, way)[0]) if index else 0 for index in answers]
        return [
            max((index for index, begin in zip(answers, begins) if begin <= start), default=answers[0])
            for start in starts
        ]

    def _found(self, text: str, messages: Messages, tools: Any, way: Writing) -> Iterator[Turn]:
        """The turns in the text of a template that marks none: what changes when another answer stands in their place."""
        for index, message in enumerate(messages):
            if message["role"] == "assistant":
                start, end = self._place(text, messages, index, tools, way)
                last = index == len(messages) - 1
                end = len(text.rstrip()) if last else end + len(self._tail) * text.startswith(self._tail, end)
                if start >= end:
                    raise Refused(_REWRITES)
                yield Turn(index, start, end)

    def _place(self, text: str, messages: Messages, index: int, tools: Any, way: Writing) -> Span:
        """First and last character of one answer in the text. Raises `Refused` where a template rewrites what stands around it."""
        other = [*messages[:index], {"role": "assistant", "content": _PROBE}]
        try:
            probe, whole = self._render([*other, *messages[index + 1 :]], tools, way)[0], text
        except Refused:  # results of tools without the call, say
            probe, whole = self._render(other, tools, way)[0], self._render(messages[: index + 1], tools, way)[0]
        if _PROBE not in probe and index < len(messages) - 1:
            raise Refused(_REWRITES)
        start, after = self._asked_until(probe), probe[probe.rfind(_PROBE) + len(_PROBE) :]
        if not whole.endswith(after) or not text.startswith(whole.rstrip()):
            raise Refused(_REWRITES)
        return min(start, _shared(whole, probe)), len(whole) - len(after)

    def _asked_until(self, probe: str) -> int:
        """Where the prompt ends in a text that holds `_PROBE` as an answer."""
        if (at := probe.rfind(_PROBE)) < 0:
            raise LeftOut("this template leaves answers out")
        return at - len(self._lead) * probe.endswith(self._lead, 0, at)

    @cached_property
    def asks_as_before(self) -> bool:
        """Whether an answer is asked for, when it comes, as it is written once others follow it. Templates of models that reason
        may write earlier turns another way: those are read, since nobody will ask so."""
        rest = [_USER, {"role": "assistant", "content": "Another answer."}]
        try:
            text, _ = self._render([_USER, {"role": "assistant", "content": _PROBE}, *rest], None, WRITINGS[0])
            first = self.prompt([_USER]).text
        except Refused:
            return True
        return text.startswith(first) and self._ids(text)[: len(ids := self._ids(first))] == ids

    @cached_property
    def wants_parts(self) -> bool:
        """Whether content is text in the template's eyes only as a list of parts, as templates of vision models have it."""
        example = [_USER, {"role": "assistant", "content": _PROBE}]
        for parts in (False, True):
            try:
                if _PROBE in self._run(written(example, WRITINGS[0], parts), None)[0]:
                    return parts
            except Refused:
                continue
        return False

    @cached_property
    def _opening(self) -> str:
        """What of a marked stretch the prompt has already: a header, or the `<think>` that the template's own prompt opens."""
        text, spans = self._render([_USER, {"role": "assistant", "content": _PROBE}], None, WRITINGS[0])
        return text[spans[0][0] : self._asked] if spans else ""

    @cached_property
    def _lead(self) -> str:
        """What stands between the prompt and a plain answer: an empty stretch of reasoning, say, or a blank."""
        text, _ = self._render([_USER, {"role": "assistant", "content": _PROBE}], None, WRITINGS[0])
        return text[self._asked : max(text.rfind(_PROBE), self._asked)]

    @cached_property
    def _tail(self) -> str:
        """What ends a turn after its answer, blanks aside."""
        text, _ = self._render([_USER, {"role": "assistant", "content": _PROBE}], None, WRITINGS[0])
        return text[text.rfind(_PROBE) + len(_PROBE) :].rstrip() if _PROBE in text else ""

    @cached_property
    def _asked(self) -> int:
        """Where the prompt ends in the example: as far as the tokens of the template's own prompt and of all kinds of answers agree."""
        text, _ = self._render([_USER, {"role": "assistant", "content": _PROBE}], None, WRITINGS[0])
        user_end = text.rfind(_USER["content"]) + len(_USER["content"])
        texts = [self._example(answer) for answer in ({}, *_OTHERS)]
        texts = [other for other in texts if other and (user_end <= _shared(text, other))]
        ids = self._ids(text)
        agreed = min((_shared(ids, self._ids(other)) for other in texts), default=len(ids))
        longest = min((_shared(text, other) for other in texts), default=text.rfind(_PROBE))
        return next((at for at in range(longest, 0, -1) if self._ids(text[:at]) == ids[:agreed]), longest)

    @cached_property
    def turn_end(self) -> int:
        """Id of the special token that the template writes after an answer.

        A template that leaves the last turn open, or refuses the example, ends with the tokenizer's own end token.
        """
        text = self._example({"content": _PROBE}) or ""
        ids = self._ids(text[text.rfind(_PROBE) + len(_PROBE) :]) if _PROBE in text else []
        special = {id for id, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        return next((id for id in ids if id in special), self._tokenizer.eos_token_id)

    def _example(self, answer: dict[str, str]) -> str | None:
        try:
            if not answer:
                return self._render([_USER], None, WRITINGS[0], prompt=True)[0]
            return self._render([_USER, {"role": "assistant", **answer}], None, WRITINGS[0])[0]
        except Refused:
            return None

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _render(
        self, messages: Messages, tools: Any, way: Writing, prompt: bool = False
    ) -> tuple[str, list[Span] | None]:
        return self._run(written(messages, way, self.wants_parts), tools, prompt)

    def _run(self, messages: Messages, tools: Any, prompt: bool = False) -> tuple[str, list[Span] | None]:
        """The library's own renderer, with a clock of ours, within bounds. No spans where the template has no markers."""
        from transformers.utils import chat_template_utils as library
        from trl.chat_template_utils import has_generation_markers

        template = self._tokenizer.get_chat_template(None, tools)
        marked = has_generation_markers(template)
        try:
            with self.bounded():
                # Arguments cannot replace `strftime_now` (5.23 hands functions over as the text "<function>"), globals can.
                library._compile_jinja_template(template).globals["strftime_now"] = self._date
                texts, spans = library.render_jinja_template(
                    conversations=[messages], tools=tools or None, chat_template=template,
                    return_assistant_tokens_mask=marked, add_generation_prompt=prompt, **self._tokenizer.special_tokens_map,
                )  # fmt: skip
        except Problem:
            raise
        except Exception as error:  # a template may divide by zero, recurse for ever, ask for too long a range
            raise Refused(words_of(error)) from error
        return texts[0], [tuple(span) for span in spans[0]] if marked else None

    def bounded(self) -> Any:
        """For whatever runs the template. Raises `Problem` `base.template_slow` or `base.template_large`."""
        named = {"field": "model", "value": self.name}
        slow = Problem("base.template_slow", **named, seconds=f"{self.seconds:g}")
        return bounds.bounded(slow, Problem("base.template_large", **named), self.seconds)

    def _date(self, format: str) -> str:
        self.dates[format] = (self.moment or datetime.now()).strftime(format)
        return self.dates[format]


def words_of(error: Exception) -> str:
    """What a template said, or what went wrong in it."""
    own = isinstance(error, jinja2.TemplateError) and not isinstance(
        error, (jinja2.TemplateSyntaxError, jinja2.UndefinedError)
    )
    words = " ".join(str(error).split()) or type(error).__name__
    return (words if own else f"{type(error).__name__}: {words}")[:160]


_FORMS: weakref.WeakKeyDictionary[Any, ChatForm] = weakref.WeakKeyDictionary()


def form_of(tokenizer: Any) -> ChatForm:
    """The form kept for a tokenizer; a new one, on the clock of today, where there is none."""
    if tokenizer not in _FORMS:
        _FORMS[tokenizer] = ChatForm(tokenizer, getattr(tokenizer, "name_or_path", ""))
    return _FORMS[tokenizer]


def prepare(tokenizer: Any, name: str, kept: Kept | None = None) -> None:
    """Give a tokenizer a chat template fit for training, or the one kept. Raises `Problem` `base.template*`."""
    form = _FORMS[tokenizer] = ChatForm(tokenizer, name, kept.moment if kept else None)
    try:
        with form.bounded():
            tokenizer.chat_template = kept and kept.chat_template or training_template(tokenizer)
    except jinja2.TemplateSyntaxError as error:
        reason = f"{words_of(error)} (line {error.lineno})"
        raise Problem("base.template", field="model", value=name, reason=reason) from error


def training_template(tokenizer: Any) -> str | dict[str, str]:
    """The base's own template; TRL's variant with generation markers where it knows one; else `DEFAULT_TEMPLATE`.

    Of several named ones `default` is taken, and `tool_use` for rows with tools.
    """
    own = tokenizer.chat_template
    if isinstance(own, dict):
        fit = {kind: _with_markers(tokenizer, own[kind]) for kind in ("default", "tool_use") if own.get(kind)}
        if "default" in fit:
            return fit if len(fit) > 1 else fit["default"]
        own = None
    if not own:
        return ("{{ bos_token }}" if _starts_with_bos(tokenizer) else "") + DEFAULT_TEMPLATE
    return _with_markers(tokenizer, own)


def _with_markers(tokenizer: Any, own: str) -> str:
    from transformers.utils.chat_template_utils import _compile_jinja_template
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    _compile_jinja_template(own)  # a syntax error is the base's, and no row can be written
    if has_generation_markers(own):
        return own
    tokenizer.chat_template = own
    try:
        return get_training_chat_template(tokenizer) or own
    except Exception:  # one that TRL does not know, or that raises on its examples: `_found` finds the assistant's text
        return own


def _starts_with_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def turn_end(tokenizer: Any) -> int:
    """Id of the token that ends the assistant's turn."""
    return form_of(tokenizer).turn_end


def stop_ids(tokenizer: Any) -> list[int]:
    """Ids that end an answer: the end of the assistant's turn, and of the text."""
    return sorted({turn_end(tokenizer), tokenizer.eos_token_id})


def _shared(one: Any, other: Any) -> int:
    """How many first characters, or ids, two have in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low

"""What an example shows of a template: where its prompt ends, what stands before and after an answer, what ends a
turn."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from studio.rendering.messages import WRITINGS, Messages, Writing, written
from studio.rendering.template_runs import Refused, Span, TemplateRun

USER = {"role": "user", "content": "What the user said."}
PROBE = "What the assistant said."
# Answers that begin differently, so that what they have in common is the template's: another letter, reasoning in
# either notation.
_OTHERS = (
    {"content": "Another answer."},
    {"content": PROBE, "reasoning_content": "First a thought."},
    {"content": f"<think>\nFirst a thought.\n</think>\n\n{PROBE}"},
)


class Examples(TemplateRun):
    """Asked for when first needed, and kept."""

    @cached_property
    def wants_parts(self) -> bool:
        """Whether content is text in the template's eyes only as a list of parts, as templates of vision models have
        it."""
        example = [USER, {"role": "assistant", "content": PROBE}]
        for parts in (False, True):
            try:
                if PROBE in self._run(written(example, WRITINGS[0], parts), None)[0]:
                    return parts
            except Refused:
                continue
        return False

    @cached_property
    def _opening(self) -> str:
        """What of a marked stretch the prompt has already: a header, or the `<think>` that the template's own prompt
        opens."""
        text, spans = self._render([USER, {"role": "assistant", "content": PROBE}], None, WRITINGS[0])
        return text[spans[0][0] : self._asked] if spans else ""

    @cached_property
    def _lead(self) -> str:
        """What stands between the prompt and a plain answer: an empty stretch of reasoning, say, or a blank."""
        text, _ = self._render([USER, {"role": "assistant", "content": PROBE}], None, WRITINGS[0])
        return text[self._asked : max(text.rfind(PROBE), self._asked)]

    @cached_property
    def _tail(self) -> str:
        """What ends a turn after its answer, blanks aside."""
        text, _ = self._render([USER, {"role": "assistant", "content": PROBE}], None, WRITINGS[0])
        return text[text.rfind(PROBE) + len(PROBE) :].rstrip() if PROBE in text else ""

    @cached_property
    def _asked(self) -> int:
        """Where the prompt ends in the example: as far as the tokens of the template's own prompt and of all kinds of
        answers agree."""
        text, _ = self._render([USER, {"role": "assistant", "content": PROBE}], None, WRITINGS[0])
        user_end = text.rfind(USER["content"]) + len(USER["content"])
        texts = [self._example(answer) for answer in ({}, *_OTHERS)]
        texts = [other for other in texts if other and (user_end <= shared(text, other))]
        ids = self._ids(text)
        agreed = min((shared(ids, self._ids(other)) for other in texts), default=len(ids))
        longest = min((shared(text, other) for other in texts), default=text.rfind(PROBE))
        return next((at for at in range(longest, 0, -1) if self._ids(text[:at]) == ids[:agreed]), longest)

    @cached_property
    def turn_end(self) -> int:
        """Id of the special token that the template writes after an answer.

        A template that leaves the last turn open, or refuses the example, ends with the tokenizer's own end token.
        """
        text = self._example({"content": PROBE}) or ""
        ids = self._ids(text[text.rfind(PROBE) + len(PROBE) :]) if PROBE in text else []
        special = {id for id, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        return next((id for id in ids if id in special), self._tokenizer.eos_token_id)

    def _example(self, answer: dict[str, str]) -> str | None:
        try:
            if not answer:
                return self._render([USER], None, WRITINGS[0], prompt=True)[0]
            return self._render([USER, {"role": "assistant", **answer}], None, WRITINGS[0])[0]
        except Refused:
            return None

    def _render(
        self, messages: Messages, tools: Any, way: Writing, prompt: bool = False
    ) -> tuple[str, list[Span] | None]:
        return self._run(written(messages, way, self.wants_parts), tools, prompt)


def shared(one: Any, other: Any) -> int:
    """How many first characters, or ids, two have in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low

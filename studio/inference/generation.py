"""Answers as they come: one or several rows of one `generate`, told apart, decoded as they grow, stopped at will.

Nothing of a model's own generation defaults is used (no top-p, no repetition penalty): temperature alone shapes what is
sampled, so that two panes differ by their weights and by nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from studio.inference.sampling import Sampling
from studio.rendering.rendering import stop_ids


class Answer:
    """One row's answer: its tokens, the text that is certain so far, and why it ended.

    A byte-level tokenizer may cut a character in two; text is given out only up to the last whole character.
    """

    def __init__(self, tokenizer: Any, end_ids: set[int]) -> None:
        self._tokenizer, self._end_ids = tokenizer, end_ids
        self._ids: list[int] = []
        self._settled = self._read = (
            0  # ids before `_settled` never change the text after it; `_read` ids are in `text`
        )
        self.text = ""
        self._taken = 0
        self._told: tuple[int, str | None] = (0, None)
        self.tokens = 0
        """Tokens generated, the end of the turn included."""
        self.stop: str | None = None
        """`end` of turn, `length` limit or `stopped` by the reader; None while it grows."""
        self.seconds = 0.0
        self._started: float | None = None

    def start(self) -> None:
        self._started = time.perf_counter()

    def add(self, token: int) -> None:
        """One more token; those after the end of the turn are padding and are dropped."""
        if self.stop:
            return
        self.tokens += 1
        self.seconds = time.perf_counter() - self._started
        if token in self._end_ids:
            self.stop = "end"
            return
        self._ids.append(token)
        known, longer = self._decode(self._ids[self._settled : self._read]), self._decode(self._ids[self._settled :])
        if len(longer) > len(known) and not longer.endswith("\ufffd"):
            self.text += longer[len(known) :]
            self._settled, self._read = self._read, len(self._ids)

    def finish(self, cancelled: bool) -> None:
        """No more tokens come. A character cut in two by the end is left out."""
        self.stop = self.stop or ("stopped" if cancelled else "length")
        rest = self._decode(self._ids[self._settled :])[len(self._decode(self._ids[self._settled : self._read])) :]
        self.text += rest.rstrip("\ufffd")

    @property
    def is_new(self) -> bool:
        """Whether `progress` would tell more than the last time."""
        return (self.tokens, self.stop) != self._told

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    def progress(self) -> dict[str, Any]:
        """The figures, with the text that came since the last call. Another thread may be adding tokens meanwhile."""
        self._told = (self.tokens, self.stop)
        text = self.text
        new, self._taken = text[self._taken :], len(text)
        return {"text": new, **self.figures()}

    def figures(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "stop": self.stop,
        }

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class Rows(BaseStreamer):
    """Hands each row's new token to its answer; `generate` sends the prompts first, then one token a row."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def put(self, value: torch.Tensor) -> None:
        if value.ndim == 1:
            for answer, token in zip(self._answers, value.tolist(), strict=True):
                answer.add(token)

    def end(self) -> None:
        pass


class SharedNoise(LogitsProcessor):
    """Sampling by the Gumbel-max trick: the likeliest token after scores / temperature + Gumbel noise is a sample.

    The noise is drawn on the CPU from one seeded generator, once a step for all rows. So a row's answer does not depend
    on which rows stand beside it or on the device, and two panes with the same scores draw the same token.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._temperature = sampling.temperature
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        exponential = torch.empty(scores.shape[-1]).exponential_(generator=self._generator)
        gumbel = -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()
        return scores / self._temperature + gumbel.to(scores.device)


class StopAsked(StoppingCriteria):
    """Ends every row at the next token once `asked()` is true."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._asked(), dtype=torch.bool, device=input_ids.device)


def left_padded(prompts: list[list[int]], pad_id: int, device: Any) -> dict[str, torch.Tensor]:
    """Prompts of different lengths as one batch; answers begin at the same position, padding is masked out."""
    longest = max(map(len, prompts))
    rows = [[pad_id] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"input_ids": torch.tensor(rows, device=device), "attention_mask": torch.tensor(mask, device=device)}


def answer_together(
    model: Any,
    prompts: list[list[int]],
    answers: list[Answer],
    sampling: Sampling,
    end_ids: set[int],
    asked_to_stop: Callable[[], bool],
    **generate_arguments: Any,
) -> None:
    """One `generate` over all prompts; answer i grows with row i. `generate_arguments` go to PEFT (`adapter_names`)."""
    pad_id = min(end_ids, default=0)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=sorted(end_ids) or None,
        pad_token_id=pad_id,
    )
    for answer in answers:
        answer.start()
    if not asked_to_stop():
        model.generate(
            **left_padded(prompts, pad_id, model.device),
            generation_config=config,
            logits_processor=[SharedNoise(sampling)] if sampling.temperature > 0 else [],
            stopping_criteria=[StopAsked(asked_to_stop)],
            streamer=Rows(answers),
            **generate_arguments,
        )
    for answer in answers:
        answer.finish(asked_to_stop())


def end_ids(tokenizer: Any, model: Any) -> set[int]:
    """Every token that ends an answer: those the template and the tokenizer end a turn with, and those the model
    names."""
    named = [
        model.generation_config.eos_token_id,
        getattr(model.config.get_text_config(), "eos_token_id", None),
        stop_ids(tokenizer),
    ]
    return {id for value in named for id in (value if isinstance(value, (list, tuple)) else [value]) if id is not None}

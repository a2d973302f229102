"""The chat worker: one base in memory, a run's adapter on it, and two answers to one prompt.

  load      {"model"} or {"run_id"}             -> what is loaded
  generate  {"model"} or {"run_id"}, "messages_base", "messages_adapter", "temperature", "max_new_tokens", "seed"
            events {"loading": label}, {"loaded": label}, {"answering": {mode, panes: labels}}, {"panes": {"base":
            {text, tokens, tokens_per_second, stop}, ...}}
            (text is what came since the last event) -> the whole answers, and which weights gave them
  unload    {}                                  -> memory given back
  status    {}                                  -> what is loaded

Where PEFT can mix rows of the base and of an adapter, both answers come from one batched `generate`; else the base
answers first with the adapter switched off, then the adapter. A full fine-tune is a second model in memory.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from estimator.core.problems import Problem
from estimator.program import program
from studio.inference.choice import Choice
from studio.inference.generation import Answer, answer_together, end_ids
from studio.inference.sampling import Sampling
from studio.inference.weights import Weights, free
from studio.models import fingerprints
from studio.protocol import serve
from studio.rendering.messages import clean
from studio.rendering.rendering import Refused, load_tokenizer, prompt_ids
from studio.space import Space

EVENT_SECONDS = 1 / 30
"""Between two events: smooth to the eye, and no load for the page."""
HARMLESS = ("chat.context", "chat.setting", "chat.prompt", "chat.prompt_long")
"""Problems raised before any weight was touched."""


class Chat:
    """What the worker keeps between requests.

    Torch works in one thread of its own, so that the thread of the request can send what has come so far.
    """

    def __init__(self) -> None:
        self._torch = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self.weights: Weights | None = None
        self._tokenizers: dict[Path, Any] = {}

    def load(self, params: dict[str, Any], request: serve.Request) -> Any:
        """Load the base and, for a run, its adapter."""
        choice = Choice.of(Space.default(), params)
        yield from self._loaded(choice)
        return self.status({}, request)

    def unload(self, params: dict[str, Any], request: serve.Request) -> dict[str, Any]:
        """Drop every model and give the memory back to the device."""
        self.weights = None
        self._tokenizers.clear()
        free()
        return self.status(params, request)

    def status(self, params: dict[str, Any], request: serve.Request) -> dict[str, Any]:
        weights = self.weights
        if weights is None:
            return {"loaded": False}
        return {
            "loaded": True,
            "folder": str(weights.key.folder),
            "storage": weights.key.storage,
            "adapters": sorted(weights.adapters),
            "tuned": weights.tuned[0] if weights.tuned else None,
            "parameter_bytes": weights.parameter_bytes(),
            "device": weights.device,
        }

    def generate(self, params: dict[str, Any], request: serve.Request) -> Any:
        """Answer one prompt with one or two sets of weights."""
        sampling = Sampling(**{key: params[key] for key in ("temperature", "max_new_tokens", "seed") if key in params})
        choice = Choice.of(Space.default(), params)
        histories = [_checked_history(params, f"messages_{pane}") for pane in choice.panes]
        load_seconds = yield from self._loaded(choice)
        job = Job(self, choice, sampling, histories, lambda: request.cancelled)
        yield {"answering": job.plan()}
        future = self._torch.submit(self._guarded, job.run)
        yield from job.follow(future)
        future.result()
        return {**job.result(), "load_seconds": load_seconds}

    def _loaded(self, choice: Choice) -> Generator[dict[str, Any], None, float]:
        """Load what `choice` asks for unless it is there; the seconds it took, 0 when it was."""
        if self._has(choice):
            return 0.0
        label = choice.label
        yield {"loading": label}
        started = time.perf_counter()
        self._torch.submit(self._guarded, lambda: self._load(choice)).result()
        seconds = time.perf_counter() - started
        yield {"loaded": {**label, "seconds": seconds}}
        return seconds

    def _has(self, choice: Choice) -> bool:
        if self.weights is None or self.weights.key != choice.key:
            return False
        if choice.run_id is None:
            return True
        tuned = self.weights.tuned is not None and self.weights.tuned[0] == choice.run_id
        return tuned or choice.run_id in self.weights.adapters and self.weights.tuned is None

    def _load(self, choice: Choice) -> None:
        adapter = choice.run_id is not None and choice.recipe.has_adapters
        kept = (
            self.weights is not None
            and self.weights.key == choice.key
            and self.weights.fingerprint == fingerprints.of(choice.base)
        )
        if not kept or (adapter and not self.weights.takes(choice.run_id, choice.result)):
            self.weights = None  # first away with the old base: two would need twice the memory
            self._tokenizers.clear()
            free()
            self.weights = Weights(choice.recipe, choice.base, program.device())
        if adapter:
            self.weights.attach(choice.run_id, choice.result)
        elif choice.run_id:
            self.weights.load_tuned(choice.run_id, choice.recipe, choice.result)

    def tokenizer(self, choice: Choice) -> Any:
        """The run's own tokenizer and template, as used in training, for both panes; else the base's."""
        own = choice.result if choice.result and (choice.result / "tokenizer_config.json").is_file() else choice.base
        if own not in self._tokenizers:
            self._tokenizers[own] = load_tokenizer(own, choice.recipe.model)
        return self._tokenizers[own]

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Run `work`; after any failure the models are dropped.

        PEFT leaves its hooks for mixed batches on the model when `generate` fails (0.21, `_enable_peft_forward_hooks`
        has no `finally`): later answers would come from the wrong weights.
        """
        try:
            return work()
        except Problem as problem:
            if problem.code not in HARMLESS:
                self.weights = None
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            self.weights = None
            raise Problem("chat.memory") from error
        except RuntimeError as error:
            self.weights = None
            if "can't allocate memory" in str(error):
                raise Problem("chat.memory") from error
            raise
        except BaseException:
            self.weights = None
            raise


class Job:
    """One prompt being answered."""

    def __init__(
        self, chat: Chat, choice: Choice, sampling: Sampling, histories: list, asked_to_stop: Callable[[], bool]
    ) -> None:
        self._weights, self._choice, self._sampling, self._asked = chat.weights, choice, sampling, asked_to_stop
        tokenizer = chat.tokenizer(choice)
        self._end_ids = end_ids(tokenizer, self._weights.model)
        try:
            self._prompts = [prompt_ids(tokenizer, history) for history in histories]
        except Refused as refused:
            raise Problem("chat.template", value=choice.recipe.model, reason=str(refused)) from refused
        self.answers = [Answer(tokenizer, self._end_ids) for _ in self._prompts]
        self._labels = [{**choice.label, "run": None}, choice.label][: len(self._prompts)]
        self.mode = self._mode()
        self._check_room()

    def run(self) -> None:
        """Answer every pane; called in torch's thread."""
        weights, adapter = self._weights, self._weights.adapters.get(self._choice.run_id)
        if self.mode == "one_batch":
            with weights.mixed(adapter) as model:
                self._answer(model, slice(0, 2), adapter_names=weights.rows(adapter))
            return
        with weights.base_only() as model:
            self._answer(model, slice(0, 1))
        if self.mode == "in_turn":
            with weights.with_adapter(adapter) as model:
                self._answer(model, slice(1, 2))
        elif self.mode == "two_models":
            self._answer(weights.tuned[1], slice(1, 2))

    def follow(self, future: concurrent.futures.Future) -> Iterator[dict[str, Any]]:
        """An event for whatever came since the last one, until `future` is done."""
        done = False
        while not done:
            done = bool(concurrent.futures.wait([future], timeout=EVENT_SECONDS).done)
            panes = {pane: answer.progress() for pane, answer in self._panes() if answer.is_new}
            if panes:
                yield {"panes": panes}

    def plan(self) -> dict[str, Any]:
        """Which weights are about to answer, and how."""
        return {"mode": self.mode, "panes": dict(zip(self._choice.panes, self._labels, strict=True))}

    def result(self) -> dict[str, Any]:
        panes = {
            pane: {"text": answer.text, **answer.figures(), "weights": label, "prompt_tokens": len(prompt)}
            for (pane, answer), label, prompt in zip(self._panes(), self._labels, self._prompts, strict=True)
        }
        return {"mode": self.mode, "panes": panes, "sampling": asdict(self._sampling)}

    def _panes(self) -> list[tuple[str, Any]]:
        return list(zip(self._choice.panes, self.answers, strict=True))

    def _answer(self, model: Any, rows: slice, **arguments: Any) -> None:
        answer_together(
            model, self._prompts[rows], self.answers[rows], self._sampling, self._end_ids, self._asked, **arguments
        )

    def _mode(self) -> str:
        if self._choice.run_id is None:
            return "alone"
        if self._weights.tuned:
            return "two_models"
        return "one_batch" if self._weights.adapters[self._choice.run_id].mixes else "in_turn"

    def _check_room(self) -> None:
        """Refuse a prompt that leaves no room for the answer asked for, rather than cut either in silence."""
        context = getattr(self._weights.model.config.get_text_config(), "max_position_embeddings", None)
        used = max(map(len, self._prompts))
        if context and used + self._sampling.max_new_tokens > context:
            asked = self._sampling.max_new_tokens
            if used >= context:
                raise Problem("chat.prompt_long", field="prompt", value=used, allowed=context - 1)
            raise Problem(
                "chat.context",
                field="max_new_tokens",
                value=asked,
                prompt=used,
                context=context,
                allowed=context - used,
            )


def _checked_history(params: dict[str, Any], field: str) -> list[dict[str, str]]:
    """A conversation that ends with the user's turn. Raises `Problem("chat.prompt")`."""
    history = params.get(field) or []
    good = all(m.get("role") in ("system", "user", "assistant") and isinstance(m.get("content"), str) for m in history)
    if not history or not good or history[-1]["role"] != "user" or not history[-1]["content"].strip():
        raise Problem("chat.prompt", field=field)
    return clean(history)


def main() -> None:
    chat = Chat()
    serve.serve({"load": chat.load, "generate": chat.generate, "unload": chat.unload, "status": chat.status})


if __name__ == "__main__":
    main()

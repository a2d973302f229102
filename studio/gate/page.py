"""Gradio's page, with what it lacks towards whoever does not send what the page would send.

Every call of a function of the page passes here, from whichever road.
"""

from __future__ import annotations

import copy
import json
from html import escape
from typing import Any

import gradio as gr
from gradio.blocks import convert_component_dict_to_list

from estimator.core.field_text import whole
from estimator.core.problems import Problem
from studio.i18n import explain, language


class Refusal(gr.Error):
    """A `Problem` as Gradio sends it to any kind of caller; not a failure of ours, so no traceback in the log."""

    def __init__(self, problem: Problem, lang: str = "en") -> None:
        title = json.dumps(problem.to_dict(), ensure_ascii=False, default=str)
        super().__init__(explain(lang, problem), title=title, print_exception=False)

    def __str__(self) -> str:
        return self.message


class Page(gr.Blocks):
    """`gr.Blocks` that refuses values which do not fit their controls, and whose answers are always UTF-8."""

    def mark_no_progress(self) -> None:
        """Name no component to show the progress of handlers that show none, once all are there.

        Gradio's browser code (6.31, `update_loading_stati_state`) else keeps each output of every handler that ever
        ran, and copies all properties of all of these, twice an event: most of the time from a slider to its picture.
        """
        for handler in self.fns.values():
            if handler.show_progress == "hidden" and handler.show_progress_on is None:
                handler.show_progress_on = []

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> list[Any]:
        """Whatever is raised while values are made ready comes of what was sent: Gradio raises a dozen kinds of errors
        here."""
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **options)
        except gr.Error:
            raise
        except Exception as error:
            given, wanted = len(inputs), len(block_fn.inputs)
            reason = f"{given} values for {wanted}" if given < wanted else type(error).__name__
            raise Problem("request.unfit", reason=reason) from None

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """An output that stays as it is costs nothing: Gradio (6.31) makes its component and its configuration anew,
        which is most of the time of a handler that changes one output of many."""
        if isinstance(predictions, dict) and predictions and predictions != gr.skip():
            predictions = convert_component_dict_to_list(list(block_fn.outputs), predictions)
        if len(block_fn.outputs) < 2 or not isinstance(predictions, (list, tuple)):
            return await super().postprocess_data(block_fn, predictions, state)
        self.validate_outputs(block_fn, list(predictions))
        given = [at for at, value in enumerate(predictions[: len(block_fn.outputs)]) if not _is_skip(value)]
        changing = copy.copy(block_fn)
        changing.outputs = [block_fn.outputs[at] for at in given]
        values = [predictions[at] for at in given]
        made = await super().postprocess_data(changing, values[0] if len(values) == 1 else values, state)
        answer: list[Any] = [None if output.stateful else gr.skip() for output in block_fn.outputs]
        for at, value in zip(given, made, strict=True):
            answer[at] = value
        return answer

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> dict[str, Any]:
        """Raises `gr.Error`; a `Problem` becomes one, in the page's language."""
        try:
            answer = await super().process_api(block_fn, inputs, *args, **options)
        except Problem as problem:
            refusal = Refusal(Problem(problem.code, **whole(problem.params)), language(_request(options)))
            refusal.message = escape(refusal.message)  # the page shows it as HTML
            raise refusal from None
        except gr.Error as error:
            error.message, error.title = whole(error.message), whole(error.title)
            raise
        return {**answer, "data": whole(answer.get("data"))}


def _is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def told(event: gr.EventData) -> dict[str, Any]:
    """What a script of the page sent with an event; anyone may send anything instead."""
    return dict(event._data) if isinstance(event._data, dict) else {}


def _request(options: dict[str, Any]) -> Any:
    request = options.get("request")
    return None if isinstance(request, list) or getattr(request, "query_params", None) is None else request

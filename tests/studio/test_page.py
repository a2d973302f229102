"""`studio.gate.page.Page`: what Gradio's page does, with less work."""

from __future__ import annotations

import asyncio
import copy

import gradio as gr
import pytest

from studio.gate.page import Page


@pytest.fixture
def page():
    with Page() as page:
        page.shown = [gr.HTML(elem_id=name) for name in "ab"] + [gr.State("first")]
        page.handler = gr.Button().click(lambda: None, None, page.shown)
    return page


def _read(value):
    """Of an HTML Gradio (6.31) sends the mark of the update as a property beside it, which nothing reads."""
    return {key: one for key, one in value.items() if key != "props"} if isinstance(value, dict) else value


def answered(page: Page, predictions):
    block_fn = page.fns[page.handler["id"]]
    state = gr.state_holder.SessionState(page)
    return asyncio.run(page.postprocess_data(block_fn, predictions, state)), state


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("given", [(), (0,), (1, 2), (0, 1, 2)])
def test_outputs_that_stay_are_answered_as_gradio_does_and_nothing_is_made_anew(page, given, as_dict, monkeypatch):
    values = ["new a", gr.update(value="new b", visible=False), "second"]
    listed = [values[at] if at in given else gr.skip() for at in range(3)]
    predictions = {page.shown[at]: values[at] for at in given} or {page.shown[0]: gr.skip()} if as_dict else listed
    block_fn, plain = page.fns[page.handler["id"]], gr.state_holder.SessionState(page)
    expected = asyncio.run(gr.Blocks.postprocess_data(page, block_fn, copy.deepcopy(listed), plain))
    made = []
    monkeypatch.setattr(gr.HTML, "__init__", lambda *_, **__: made.append(1) or pytest.fail("made anew"))
    if 1 in given:  # a property changes: that one is
        monkeypatch.undo()
    answer, state = answered(page, predictions)
    assert [_read(value) for value in answer] == [_read(value) for value in expected] and not made
    assert state[page.shown[2]._id] == plain[page.shown[2]._id] == ("second" if 2 in given else "first")


def test_too_few_values_are_an_error_as_in_gradio(page):
    with pytest.raises(ValueError, match="didn't return enough output values"):
        answered(page, ["a"])

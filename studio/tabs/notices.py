"""Short pieces of HTML that several tabs show."""

from __future__ import annotations

from html import escape

import gradio as gr

from studio.i18n import language, t

INSTALL = 'pip install "lora-studio[train]"'


def problem_html(sentence: str) -> str:
    """An error beside the control that caused it."""
    return f'<p class="ls-problem" role="alert">✕ {escape(sentence)}</p>'


def needs_train() -> None:
    """What a tab shows in the light install: why it is empty, and the command that fills it."""

    def notice(request: gr.Request) -> str:
        lang = language(request)
        title, text = t(lang, "common.needs_train_title"), t(lang, "common.needs_train")
        return f'<div class="ls-empty"><strong>{escape(title)}</strong>{escape(text)}<pre class="ls-code">{escape(INSTALL)}</pre></div>'

    page = gr.context.Context.root_block
    page.load(notice, None, gr.HTML(), show_progress="hidden", api_visibility="private")

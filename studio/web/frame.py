"""The page around the tabs: title, language, light and dark, and the address that reopens where one was."""

from __future__ import annotations

import json

import gradio as gr

from studio import i18n, shipped
from studio.services import Shared
from studio.tabs.panels import options

# What the scripts say, by language.
_WORDS = {
    lang: {word: i18n.t(lang, f"common.{word}_field", field="{field}") for word in ("reset", "number", "range")}
    for lang in i18n.LANGUAGES
}
_SCRIPTS = [
    f"const LS_WORDS = {json.dumps(_WORDS, ensure_ascii=False)};",
    f"const LS_COSTING = {json.dumps(list(options.DEFAULTS))};",
    *(file.read_text("utf-8") for file in shipped.scripts()),
]
# Stands in the page as it is sent (`studio.gate.language`), before the first paint, so that a dark page never flashes
# light. No request leaves the machine.
HEAD = "\n".join(["<script>", *_SCRIPTS, "</script>"])


def build_header() -> None:
    """Both languages are in the page; the style sheet shows the one of `<html lang>`."""
    both = lambda key: "".join(f'<span data-lang="{lang}">{i18n.t(lang, key)}</span>' for lang in i18n.LANGUAGES)  # noqa: E731
    gr.HTML(
        f"""<header class="ls-header"><h1>LoRA Studio</h1><p>{both("common.tagline")}</p>
        <nav aria-label="Language, theme · 语言与主题">
          <a href="?lang=en" data-set-lang="en" lang="en">EN</a>
          <a href="?lang=zh-CN" data-set-lang="zh-CN" lang="zh-CN">中文</a>
          <button type="button" data-toggle-theme><span aria-hidden="true">◐</span><span class="ls-visually-hidden">{both("common.theme")}</span></button>
        </nav></header>""",
        elem_id="ls-header",
    )


def on_load(page: gr.Blocks, shared: Shared) -> None:
    """`?tab=` opens a tab, `?run=` a run; without it the run at work is opened, so that every page finds it."""

    def open_run(request: gr.Request):
        run = request.query_params.get("run")
        known = {view.id for view in shared.runs.list()}
        active = shared.runs.active()
        return (run if run in known else active.id if active else None) or gr.skip()

    page.load(open_run, None, shared.run, show_progress="hidden", api_visibility="private")
    asked = f"() => ({{__type__: 'update', ...({list(shared.tab)}.includes(lsStartTab) && {{selected: lsStartTab}})}})"
    page.load(None, None, shared.tabs, js=asked, api_visibility="private")


def remember_tab(shared: Shared) -> None:
    """Each opened tab goes into the address, so that a reload stays where one was."""
    for name, tab in shared.tab.items():
        tab.select(None, None, None, js=f"() => lsOpened('{name}')", api_visibility="private")

"""The page around the tabs: title, language, light and dark, and the address that reopens where one was."""

from __future__ import annotations

import gradio as gr

from studio import i18n
from studio.tabs import Shared

# Stands in the page as it is sent (`studio.language`), before the first paint, so that a dark page never flashes light. No request leaves
# the machine.
HEAD = """<script>
const lsTheme = localStorage.getItem("ls-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const lsAddress = new URL(location.href);
if (lsAddress.searchParams.get("__theme") !== lsTheme && !lsAddress.searchParams.has("__theme")) {
  lsAddress.searchParams.set("__theme", lsTheme);
  history.replaceState(history.state, "", lsAddress);
}
function lsToggleTheme() {
  const dark = document.body.classList.toggle("dark");
  localStorage.setItem("ls-theme", dark ? "dark" : "light");
  lsInAddress("__theme", dark ? "dark" : "light");
}
function lsInAddress(name, value) {
  const address = new URL(location.href);
  value ? address.searchParams.set(name, value) : address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
}
// Gradio opens its first tab before the address is read: that one must not overwrite what the address asks for.
const lsStartTab = lsAddress.searchParams.get("tab");
let lsAsked = lsStartTab;
function lsOpened(name) {
  const isFirst = lsAsked && name !== lsAsked;
  lsAsked = null;
  if (!isFirst) lsInAddress("tab", name);
}
// The estimate's question, so that a reload or the other language keeps it. Browsers refuse an address that changes at every move.
const LS_OWN = ["tab", "run", "lang", "__theme"];
let lsQuestionSoon;
function lsQuestion(text) {
  clearTimeout(lsQuestionSoon);
  lsQuestionSoon = setTimeout(() => {
    const address = new URL(location.href);
    const own = [...address.searchParams].filter(([name]) => LS_OWN.includes(name));
    address.search = new URLSearchParams([...own, ...new URLSearchParams(text)]);
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }, 300);
}
// Gradio's slider forces what was typed beside it into its own range when the box is left (6.31): another number, unsaid.
document.addEventListener("blur", (event) => {
  if (event.target.matches?.("input[data-testid=number-input]")) event.stopImmediatePropagation();
}, true);
// Typing into a list replaces what stands there; Gradio would add to it, and then nothing matches.
document.addEventListener("focusin", ({ target }) => {
  if (!target.matches("input[role=combobox]")) return;
  target.select();
  addEventListener("pointerup", () => document.activeElement === target && target.select(), { once: true });
});
function lsMarkField(tab) {
  document.querySelectorAll(".ls-at-fault").forEach((field) => { field.classList.remove("ls-at-fault"); delete field.dataset.problem; });
  const problem = document.querySelector(`#${tab}-problem [data-field]`);
  const field = problem && document.getElementById(`${tab}-${problem.dataset.field}`);
  if (!field) return;
  field.dataset.problem = problem.textContent;
  field.classList.add("ls-at-fault");
}
// A dropdown's open list scrolls, so Tab would stop there (Chromium), and the list is gone by then: that stop is taken out.
document.addEventListener("keydown", (event) => {
  if (event.key === "Tab" && event.target.role === "combobox") document.getElementById(event.target.getAttribute("aria-controls"))?.setAttribute("tabindex", "-1");
}, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-set-lang]");
  if (link) {
    event.preventDefault();
    const address = new URL(location.href);
    address.searchParams.set("lang", link.dataset.setLang);
    location.assign(address);
  }
  if (event.target.closest("[data-toggle-theme]")) lsToggleTheme();
});
</script>"""


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

    page.load(open_run, None, shared.run, queue=False, show_progress="hidden", api_visibility="private")
    asked = f"() => ({{__type__: 'update', ...({list(shared.tab)}.includes(lsStartTab) && {{selected: lsStartTab}})}})"
    page.load(None, None, shared.tabs, js=asked, api_visibility="private")


def remember_tab(shared: Shared) -> None:
    """Each opened tab goes into the address, so that a reload stays where one was."""
    for name, tab in shared.tab.items():
        tab.select(None, None, None, js=f"() => lsOpened('{name}')", api_visibility="private")

"""The page does all it does under its own policy, and what is slipped into it does not run."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from studio import shipped
from tests.chromium import launch
from tests.e2e.driving import open_page, open_tab

pytestmark = pytest.mark.browser
TABS = ("dataset", "train", "chat", "runs", "estimate")
SLIPPED_IN = """async () => {
  const forbidden = [];
  document.addEventListener("securitypolicyviolation", (event) => forbidden.push(event.effectiveDirective));
  window.ran = [];
  document.body.insertAdjacentHTML("beforeend", `<img src="data:," onerror="ran.push('attribute')">`);
  for (const part of [{text: "ran.push('inline')"}, {src: "data:text/javascript,ran.push('data')"}, {src: "http://127.0.0.2:9/foreign.js"}])
    document.head.append(Object.assign(document.createElement("script"), part));
  document.body.append(Object.assign(document.createElement("iframe"), {srcdoc: "<p>"}));
  await fetch("http://127.0.0.2:9/").catch(() => 0);
  await new Promise((done) => setTimeout(done, 300));
  return [window.ran, forbidden.sort()];
}"""


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.mark.parametrize(("lang", "dark"), [("en", False), ("zh-CN", True)])
def test_everything_opens_under_the_policy(studio, browser, lang, dark):
    page = open_page(browser, f"{studio.url}/?lang={lang}", dark=dark)
    for name in TABS:
        open_tab(page, name)
        page.locator(f"#ls-tab-{name} .label-wrap:not(.open)").evaluate_all(
            "(folds) => folds.forEach((fold) => fold.click())"
        )
    expect(page.locator("#estimate-cards table")).to_be_visible()
    page.click("[data-toggle-theme]")
    expect(page.locator("body")).to_have_class("" if dark else "dark")
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()


COMPILED = """([kind, text]) => {
  const Later = (async () => {}).constructor;
  try {
    if (kind !== "functions") new Later("element", "trigger", "watch", "props", text);
    else if (typeof new Function("return (" + text + ")")() !== "function") return "no function";
  }
  catch (error) { return String(error); }
  return "";
}"""


def test_every_script_compiles_as_the_page_runs_it(browser):
    page = browser.new_page()
    files = sorted((shipped.assets() / "scripts").rglob("*.js"))
    said = {file.name: page.evaluate(COMPILED, [file.parent.name, file.read_text("utf-8")]) for file in files}
    assert len(said) > 20 and {name: error for name, error in said.items() if error} == {}
    for kind, wrong in (("elements", "if (a {"), ("functions", "(a) =>"), ("functions", "7"), ("scripts", "const a;")):
        assert page.evaluate(COMPILED, [kind, wrong]), "this can fail"
    page.context.close()


def test_what_is_slipped_into_the_page_does_not_run(studio, browser):
    page = open_page(browser, f"{studio.url}/?lang=en")
    ran, forbidden = page.evaluate(SLIPPED_IN)
    assert ran == []
    assert page.script_errors  # they are seen
    assert {"script-src-attr", "script-src-elem", "connect-src"} <= set(forbidden) and forbidden.count(
        "script-src-elem"
    ) == 3
    page.context.close()


def test_an_uploaded_page_or_picture_is_a_download_that_runs_nothing(studio, browser):
    page = open_page(browser, f"{studio.url}/?lang=en")
    for name in ("a.html", "a.svg", "a.xml", "a.js"):
        form = {"files": {"name": name, "mimeType": "text/html", "buffer": b"<script>document.title = 'hit'</script>"}}
        [path] = page.request.post(f"{studio.url}/gradio_api/upload", multipart=form).json()
        for headers in ({}, {"Range": "bytes=0-20"}):
            answer = page.request.get(f"{studio.url}/gradio_api/file={path}", headers=headers)
            assert answer.ok and answer.headers["content-disposition"].startswith("attachment"), (name, headers)
            assert (
                answer.headers["x-content-type-options"] == "nosniff"
                and "sandbox" in answer.headers["content-security-policy"]
            )
    page.context.close()

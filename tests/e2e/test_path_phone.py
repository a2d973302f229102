"""A stranger's whole estimate on a phone, by touch, and at a desk by the keyboard alone; in both languages, arriving by
the README's link."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from playwright.sync_api import expect

from estimator import Recipe, estimate, find_gpu
from estimator.cli import cli
from estimator.core.units import human_bytes
from estimator.estimates.take_away import query
from estimator.recipe.recipe import FIELDS
from studio.i18n import LANGUAGES, t
from studio.tabs.controls import METHODS
from tests.chromium import launch
from tests.e2e.accessible import violations
from tests.e2e.driving import wait_for_text

pytestmark = pytest.mark.browser
README = Path(__file__).parents[2] / "README.md"
VERDICT, COUNTS, GLANCE = "#estimate-picture .ls-verdict", "#estimate-counts", "#estimate-picture .ls-glance"
PHONE, DESK = (390, 844), (1440, 1000)


def asked_in_readme() -> tuple[Recipe, str]:
    """The README's question on a 70B model over several cards: its command's recipe and card."""
    line = next(line for line in README.read_text("utf-8").splitlines() if "--distributed-type fsdp" in line)
    words = shlex.split(line.strip("`"))
    flags = {flag[2:].replace("-", "_"): value for flag, value in zip(words[2::2], words[3::2], strict=True)}
    gpu = flags.pop("gpu")
    kinds = {name: int if int in FIELDS[name].kinds else str for name in flags}
    return Recipe.from_dict({name: kinds[name](value) for name, value in flags.items()}), gpu


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture(params=LANGUAGES)
def lang(request):
    return request.param


@pytest.fixture
def opened(browser, studio, lang):
    """Opens the page as a stranger's browser would: a phone's has a touch screen."""
    pages = []

    def open_page(size: tuple[int, int], link: str = ""):
        width, height = size
        phone = {"has_touch": True, "is_mobile": True} if size == PHONE else {}
        context = browser.new_context(viewport={"width": width, "height": height}, **phone)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.script_errors = []
        page.on("pageerror", lambda error: page.script_errors.append(str(error)))
        page.goto(f"{studio.url}/?lang={lang}{link}")
        page.wait_for_selector(VERDICT)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.script_errors == []
        page.context.close()


def box(page, selector: str) -> dict[str, float]:
    return page.locator(selector).first.evaluate("(one) => one.getBoundingClientRect().toJSON()")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_readmes_question_by_link(opened, lang, size, capsys):
    """The command answers, and so does the page: the bar that cannot be says so, the three others stand."""
    recipe, gpu = asked_in_readme()
    page = opened(size, "&tab=estimate&" + query(recipe, gpu))
    made, card = estimate(recipe, gpu), find_gpu(gpu).name
    wait_for_text(page, VERDICT, card)
    wait_for_text(page, COUNTS, recipe.model)
    radios = page.locator("#estimate-picture [role=radio]")
    expect(radios.first).to_contain_text(human_bytes(made.device_bytes))
    said = radios.nth(list(METHODS).index("int8"))
    expect(said).to_contain_text("distributed_type fsdp")
    expect(said).to_have_attribute("aria-disabled", "true")
    for key in ("lora", "full"):
        other = estimate(recipe.replace(method=key), gpu)
        expect(radios.nth(list(METHODS).index(key))).to_contain_text(human_bytes(other.device_bytes))
    expect(page.locator("#estimate-problem")).to_be_empty()
    expect(page.locator(VERDICT)).to_contain_text("小时" if lang == "zh-CN" else "hours")
    words = shlex.split(
        next(line for line in README.read_text("utf-8").splitlines() if "--distributed-type fsdp" in line).strip("`")
    )
    assert cli.main(words[1:]) == 0 and human_bytes(made.device_bytes) in capsys.readouterr().out


def test_a_whole_estimate_on_a_phone_by_touch(opened, lang):
    page = opened(PHONE)
    wait_for_text(page, VERDICT, "RTX 4090")
    legend = page.locator("#estimate-picture .ls-components li:visible")
    assert legend.count() >= 8
    for item in legend.all():  # whole: nothing is cut on any side
        place = item.evaluate(
            "(one) => { const r = one.getBoundingClientRect(); return [r.left, r.right, one.scrollWidth - "
            "one.clientWidth]; }"
        )
        assert place[0] >= 0 and place[1] <= PHONE[0] and place[2] <= 1
    expect(page.locator(".ls-edge-key")).to_contain_text("GeForce RTX 4090")
    page.locator("#estimate-intents [data-intent=hard_task]").tap()
    holds(page, "r", 32)
    page.locator("#estimate-gpu input").tap()
    page.locator("#estimate-gpu input").fill("RTX 3090")
    page.locator("#estimate-gpu [role=option]", has_text="GeForce RTX 3090 ·").first.tap()
    wait_for_text(page, VERDICT, "GeForce RTX 3090")
    number = page.locator("#estimate-max_length input[type=number]")
    number.scroll_into_view_if_needed()
    number.tap()
    number.fill("4096")
    asked = Recipe(model="meta-llama/Llama-3.1-8B", r=32, lora_alpha=32, use_rslora=True, max_length=4096)
    made = estimate(asked, "RTX 3090")
    assert made.engine == "traced"
    wait_for_text(page, VERDICT, human_bytes(made.headroom_bytes))
    # The glance stays, takes a fifth of the screen at most, and leaves the control that moves in sight.
    glance = box(page, GLANCE)
    assert glance["top"] == 0 and glance["height"] <= 0.2 * PHONE[1]
    assert box(page, "#estimate-max_length input[type=number]")["top"] >= glance["height"]
    expect(page.locator(VERDICT)).to_be_in_viewport(ratio=1)
    page.locator("#estimate-picture [role=radio]").nth(list(METHODS).index("lora")).tap()
    wait_for_text(page, VERDICT, t(lang, "recipe.method_lora"))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    page.locator("#estimate-intents [data-reset]").scroll_into_view_if_needed()
    page.locator("#estimate-intents [data-reset]").tap()
    holds(page, "r", 16)
    holds(page, "max_length", 2048)
    wait_for_text(page, VERDICT, "GeForce RTX 3090")  # the card stays
    page.locator("#estimate-intents [data-back]").tap()
    holds(page, "r", 32)
    holds(page, "max_length", 4096)
    assert violations(page) == []


def test_a_whole_estimate_at_a_desk_by_the_keyboard_alone(opened, lang):
    page = opened(DESK)
    wait_for_text(page, VERDICT, "RTX 4090")
    press = page.keyboard.press
    page.locator("[role=tab][aria-selected=true]").focus()
    for key, tab in (
        ("ArrowRight", "dataset"),
        ("End", "runs"),
        ("ArrowRight", "estimate"),
        ("ArrowLeft", "runs"),
        ("Home", "estimate"),
    ):
        press(key)
        expect(page.locator(f"#ls-tab-{tab}-button")).to_be_focused()
        expect(page.locator(f"#ls-tab-{tab}-button")).to_have_attribute("aria-selected", "true")
        expect(page.locator(f"#ls-tab-{tab}")).to_be_visible()
        expect(page.locator("[role=tab][tabindex='0']")).to_have_count(1)
    press("Tab")
    expect(page.locator("[role=tab]:focus")).to_have_count(0)  # one stop for all tabs
    go_to(page, "[data-intent=large_data]")
    press("Enter")
    holds(page, "r", 64)
    go_to(page, "#estimate-gpu input")
    page.keyboard.type("RTX 3090 ·")
    press("Enter")
    wait_for_text(page, VERDICT, "GeForce RTX 3090")
    go_to(page, "#estimate-max_length input[type=range]")
    press("ArrowRight")
    holds(page, "max_length", 2112)
    wait_for_text(page, COUNTS, "2,112")
    names = page.locator(".reset-button:visible").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    assert len(set(names)) == len(names) == 3
    for field, name in zip(("r", "per_device_train_batch_size", "max_length"), names, strict=True):
        assert t(lang, f"recipe.{field}") in name
    press("Shift+Tab")
    press("Shift+Tab") if not page.locator(".reset-button:focus").count() else None
    go_to(page, "#estimate-max_length .reset-button", back=True)
    press("Enter")
    holds(page, "max_length", 2048)
    go_to(page, "#estimate-picture [role=radio][tabindex='0']")
    press("End")
    wait_for_text(page, VERDICT, t(lang, "recipe.method_full"))
    press("Home")
    wait_for_text(page, VERDICT, t(lang, "recipe.method_nf4"))
    go_to(page, "#estimate-panel-change > button")
    press("Enter")
    expect(page.locator("#estimate-change")).not_to_be_empty()
    go_to(page, "#estimate-change [data-apply]")
    before = page.locator(VERDICT).inner_text()
    press("Enter")
    expect(page.locator(VERDICT)).not_to_have_text(re.compile(re.escape(before)))


def test_chips_pressed_faster_than_they_are_answered_settle_on_the_last(opened, lang):
    """The one that takes longest first: it is no answer to what was pressed after it."""
    page = opened(DESK)
    wait_for_text(page, VERDICT, "RTX 4090")
    page.evaluate("""() => ['longest_context', 'hard_task', 'large_data', 'hard_task', 'small_data'].forEach(
        (name) => document.querySelector(`[data-intent=${name}]`).click())""")
    asked = Recipe(model="meta-llama/Llama-3.1-8B", r=8, lora_alpha=16, lora_dropout=0.05, max_length=2048)
    made = estimate(asked, "RTX 4090")
    wait_for_text(page, COUNTS, f"{made.trainable_parameters:,}")
    page.wait_for_function("lsAtWork === false && !lsWaiting.length")
    for name, value in (("r", 8), ("max_length", 2048), ("per_device_train_batch_size", 2)):
        holds(page, name, value)
    expect(page.locator("[data-intent][aria-pressed=true]")).to_have_attribute("data-intent", "small_data")
    for text in (f"{made.trainable_parameters:,}", "2 × 2,048", "alpha/r = 16/8 = 2"):
        expect(page.locator(COUNTS)).to_contain_text(text)
    expect(page).to_have_url(re.compile("&r=8&lora_alpha=16&lora_dropout=0.05&max_length=2048&gpu"))


def holds(page, name: str, value: int) -> None:
    expect(page.locator(f"#estimate-{name} input[type=number]")).to_have_value(str(value))


def go_to(page, selector: str, back: bool = False) -> None:
    """By Tab alone; each stop on the way can be seen."""
    for _ in range(150):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{selector} is not reached by Tab")

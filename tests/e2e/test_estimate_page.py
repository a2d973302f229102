"""Every promise of the Estimate tab walked at 1440 and 390 pixels, light and dark, in English and Chinese, on pages
opened by the link that restores a recipe. What the page says is compared with what the estimator answers.

Two pages between them have every width, theme and language and are walked whole; the three that complete the pairs of
these are looked at once. The walks of a page run in order: those that change the recipe come last.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as Xml
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from estimator import Recipe, find_gpu, open_model
from estimator.advice.advise import newest_models
from estimator.advice.intents import intents
from estimator.advice.ranking import rank
from estimator.core.units import human_bytes
from estimator.cost.rows import uniform
from estimator.estimates.conditions import Conditions
from estimator.estimates.take_away import FORMULA_SIGNS, command_line, conditions_in, from_query, python_code, query
from estimator.model.catalog import models
from studio.i18n import explain, t
from studio.tabs.estimate_form import held_for
from studio.tabs.panels import Asked, which_model
from studio.tabs.panels.picture import bars_of
from studio.widgets.memory_bar import Bar
from studio.widgets.verdicts import SIGNS, sign_text
from tests.chromium import launch
from tests.e2e.accessible import violations
from tests.e2e.driving import choose, number, open_page, open_tab, type_choice, unfold, wait_for_text
from tests.estimator.small import CONFIGS

pytestmark = pytest.mark.browser
RECIPE = Recipe(model="meta-llama/Llama-3.1-8B", r=8, lora_alpha=32, max_length=1024, seed=7)
ASKED = Asked(RECIPE, find_gpu("RTX 4090"), open_model(RECIPE.model), Conditions(system="linux-desktop"))
WHERE = {"model": ASKED.model, "conditions": ASKED.conditions}
LINK = query(RECIPE, ASKED.gpu.name, ASKED.conditions)
WALKED = {"wide-light-en": (1440, False, "en"), "phone-dark-zh": (390, True, "zh-CN")}
SEEN = {
    "wide-dark-zh": (1440, True, "zh-CN"),
    "phone-light-zh": (390, False, "zh-CN"),
    "phone-dark-en": (390, True, "en"),
}
PAGES = WALKED | SEEN
VERDICT, PICTURE, PROBLEM = "#estimate-picture .ls-verdict", "#estimate-picture", "#estimate-problem"


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module", params=WALKED, ids=str)
def page(request, browser, studio):
    """One of PAGES, its language as `page.lang`."""
    width, dark, lang = PAGES[request.param]
    page = open_page(
        browser,
        f"{studio.url}/?tab=estimate&lang={lang}&{LINK}",
        width=width,
        height=844 if width == 390 else 1000,
        dark=dark,
    )
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_default_timeout(20_000)
    page.lang, page.dark, page.width = lang, dark, width
    wait_for_text(page, VERDICT, ASKED.gpu.name)
    yield page
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()


def says(page, selector: str, text: str) -> None:
    wait_for_text(page, selector, text, seconds=20)


def is_settled(bar: Bar) -> bool:
    """Whether a shipped law answers; others become exact on the page as its worker traces them."""
    return bar.answer.engine != "analytic"


def holds(page, name: str, value: object) -> None:
    expect(page.locator(f"#estimate-{name} input").first).to_have_value(
        value if isinstance(value, re.Pattern) else str(value), timeout=20_000
    )


def fill(page, name: str, text: str) -> None:
    box = page.locator(f"#estimate-{name}").locator("input, textarea")
    box.fill(text)
    expect(box).to_have_value(text)


def names(page) -> list[str]:
    return page.locator("#estimate-cards tr[data-card]").evaluate_all("(rows) => rows.map((row) => row.dataset.card)")


def shows(page, wanted: list[str]) -> None:
    """The card table has these rows, in this order."""
    page.wait_for_function("(wanted) => JSON.stringify([...document.querySelectorAll('#estimate-cards "
    "tr[data-card]')].map((row) => row.dataset.card)) === wanted",
                           arg=json.dumps(wanted, ensure_ascii=False, separators=(",", ":")),
                           timeout=20_000)  # fmt: skip


every_page = pytest.mark.parametrize("page", PAGES, indirect=True)


def no_sideways(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.width


@every_page
def test_the_link_restores_the_recipe_in_the_pages_language_and_theme(page):
    expect(page.locator("html")).to_have_attribute("lang", page.lang)
    assert page.evaluate("document.body.classList.contains('dark')") is page.dark
    for name, value in held_for(RECIPE, ASKED.gpu.name, ASKED.conditions).items():
        if name in ("r", "max_length", "per_device_train_batch_size"):
            holds(page, name, value)
    no_sideways(page)


@every_page
def test_one_glance(page):
    """Verdict, headroom, error bar and share; every bar with size, sign and word; the card's edge where it belongs."""
    bars, chosen = bars_of(page.lang, ASKED), bars_of(page.lang, ASKED)[0].answer
    words = {"gpu": ASKED.gpu.name, "method": bars[0].name, "headroom": human_bytes(chosen.headroom_bytes)}
    says(page, VERDICT, "✓ " + t(page.lang, "estimate.fits", **words))
    shown = page.locator(PICTURE).get_by_role("radio")
    for n, bar in enumerate(bars):
        known = [
            human_bytes(bar.answer.device_bytes),
            f"{SIGNS[bar.verdict]} {t(page.lang, f'estimate.sign_{bar.verdict}')}",
        ]
        for text in (bar.name, *(known if is_settled(bar) else "")):
            expect(shown.nth(n)).to_contain_text(text)
        expect(shown.nth(n).locator(".ls-range")).to_have_count(1)
        expect(shown.nth(n).locator(".ls-sign > span")).to_be_visible()
    share = {
        "trainable": f"{chosen.trainable_parameters:,}",
        "total": f"{chosen.total_parameters:,}",
        "share": f"{chosen.trainable_parameters / chosen.total_parameters:.3%}",
    }
    says(page, "#estimate-counts", t(page.lang, "estimate.parameters", **share))
    says(
        page,
        f"{PICTURE} .ls-edge",
        t(page.lang, "estimate.card_edge", gpu=ASKED.gpu.name, memory=human_bytes(chosen.edge_bytes)),
    )
    says(
        page,
        f"{PICTURE} .ls-components",
        f"{t(page.lang, 'estimate.weights')} {human_bytes(chosen.components['weights'])}",
    )
    filled, edge = page.evaluate("""() => {
      const track = document.querySelector('.ls-bar-chosen .ls-bar-track'), left = track.getBoundingClientRect().left;
      const ends = [...track.querySelectorAll('.ls-part')].map((part) => part.getBoundingClientRect().right);
      return [Math.max(...ends) - left, document.querySelector('.ls-edge').getBoundingClientRect().left - left];
    }""")
    assert filled / edge == pytest.approx(chosen.device_bytes / chosen.edge_bytes, abs=0.02)


def test_the_picture_stays_while_a_control_moves(page):
    unfold(page, "advanced")
    page.locator("#estimate-advanced button").last.scroll_into_view_if_needed()
    page.mouse.wheel(0, 2000)
    page.wait_for_function("window.scrollY > 200")
    page.locator("#estimate-max_length").scroll_into_view_if_needed()
    expect(page.locator(VERDICT)).to_be_in_viewport(ratio=1)
    expect(page.locator(f"{PICTURE} .ls-bars")).to_be_in_viewport(ratio=1)
    top, height = page.locator(f"{PICTURE} .ls-glance").evaluate(
        "(box) => [box.getBoundingClientRect().top, box.getBoundingClientRect().height]"
    )
    assert page.width == 1440 or (top == 0 and height <= 0.2 * 844)
    page.click("#estimate-advanced > button")
    page.evaluate("window.scrollTo(0, 0)")


def test_why(page):
    answer, made = ASKED.answer, ASKED.answer.moments
    unfold(page, "panel-why")
    peak = max(sum(sizes.values()) for _, sizes in made)
    label = t(
        page.lang,
        "estimate.step_label",
        moment=t(page.lang, f"estimate.moment_{answer.peak_moment}"),
        size=human_bytes(peak),
    )
    expect(page.get_by_role("img", name=label)).to_be_visible()
    expect(page.locator("#estimate-why .ls-step > div")).to_have_count(len(made))
    says(page, "#estimate-why .ls-step-peak", f"{t(page.lang, 'estimate.step_peak')} {human_bytes(peak)}")
    overlaps = page.locator("#estimate-why .ls-step > div > span").evaluate_all(
        "(all) => all.some((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth)"
    )
    assert not overlaps
    folds = page.locator("#estimate-why .ls-formulas details")
    for n, formula in enumerate(answer.formulas):
        expect(folds.nth(n)).to_contain_text(f"= {formula.bytes:,} B")
        expect(folds.nth(n)).to_contain_text(explain(page.lang, formula.notes[0]))
    folds.first.locator("summary").click()
    expect(folds.first.locator("code")).to_be_visible()
    layers = page.get_by_label(t(page.lang, "estimate.low_rank_layer"), exact=True)
    layers.select_option("0")  # q_proj
    number(page, "estimate-r", 4)
    words = {
        "rank": 4,
        "inputs": "4,096",
        "outputs": "4,096",
        "whole": "16,777,216",
        "pair": "32,768",
        "share": "0.20%",
    }
    expect(page.get_by_role("img", name=t(page.lang, "estimate.low_rank", **words))).to_be_visible()
    expect(folds.first.locator("code")).to_be_visible()  # what was unfolded stays so
    number(page, "estimate-r", RECIPE.r)
    page.click("#estimate-panel-why > button")


def test_where_the_edge_is(page):
    unfold(page, "panel-fits")
    answer = bars_of(page.lang, ASKED)[0].answer
    said = f"{human_bytes(answer.device_bytes)}: {t(page.lang, 'estimate.sign_fits')}"
    for table in page.locator("#estimate-fits table").all():
        expect(table.locator("[aria-current] button")).to_have_attribute("aria-label", said)
    for verdict in ("fits", "misses"):  # the boundary is on the map
        expect(page.locator(f"#estimate-fits .ls-cell-{verdict}").first).to_contain_text(SIGNS[verdict])
    if page.width == 1440:
        assert page.locator("#estimate-fits .ls-scroll").evaluate_all(
            "(all) => all.every((one) => one.scrollWidth <= one.clientWidth)"
        )
    page.click(
        "#estimate-fits [data-apply*='\"per_device_train_batch_size\": 4, '][data-apply*='\"max_length\": 2048}']"
    )
    holds(page, "per_device_train_batch_size", 4)
    holds(page, "max_length", 2048)
    expect(
        page.locator("#estimate-fits [aria-current] [data-apply*='\"per_device_train_batch_size\": 4, ']")
    ).to_have_count(1)
    longest = page.locator("#estimate-fits .ls-largest [data-apply*=max_length]")
    tokens = int(longest.inner_text().replace(",", ""))
    assert tokens > 2048
    longest.click()
    holds(page, "max_length", tokens)
    expect(page.locator(VERDICT)).not_to_have_class(re.compile("ls-problem"))
    page.click("#estimate-fits [data-apply*='all-linear'][data-apply*='\"r\": 32']")
    holds(page, "r", 32)
    for name in ("r", "max_length", "per_device_train_batch_size"):
        number(page, f"estimate-{name}", getattr(RECIPE, name))
    page.click("#estimate-panel-fits > button")
    says(page, VERDICT, human_bytes(answer.headroom_bytes))


def test_which_model(page):
    unfold(page, "panel-models")
    found = newest_models(
        RECIPE, ASKED.gpu, families=which_model.FAMILIES, model=ASKED.model, **ASKED.conditions.options
    )
    found.sort(key=lambda made: models()[made.source.recipe.model].released, reverse=True)
    rows = page.locator("#estimate-models tbody tr")
    expect(rows).to_have_count(len(found))
    for row, made in zip(rows.all(), found, strict=True):
        expect(row).to_contain_text(made.source.recipe.model)
        if made.engine == "traced":
            expect(row).to_contain_text(human_bytes(made.device_bytes))
        expect(row).to_contain_text(sign_text(page.lang, made))
    no_sideways(page)
    assert page.locator("#estimate-models .ls-scroll").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    name = next(made.source.recipe.model for made in found if made.engine == "traced")
    rows.filter(has_text=name).locator("button").click()
    says(page, "#estimate-counts", name)
    expect(page.locator("#estimate-models tr[aria-current]")).to_contain_text(name)
    type_choice(page, "estimate-model", RECIPE.model)
    says(page, "#estimate-counts", RECIPE.model)
    page.click("#estimate-panel-models > button")


def test_which_gpu(page):
    unfold(page, "panel-cards")
    fitting = [one for one in rank(RECIPE, **WHERE) if one.devices]
    shows(page, [one.gpu.name for one in fitting[:25]])
    no_sideways(page)
    assert page.locator("#estimate-cards table").evaluate(
        "(table) => table.scrollWidth <= table.parentElement.clientWidth"
    )
    unsold = next(one for one in fitting[:25] if one.cost.purchase_usd is None)
    expect(page.locator(f"tr[data-card='{unsold.gpu.name}'] td").nth(3)).to_have_text(t(page.lang, "estimate.unknown"))
    offer = fitting[0].cost.cheapest.offer
    expect(page.locator("#estimate-cards tbody tr").first.get_by_role("link", name=offer.as_of_date)).to_have_attribute(
        "href", offer.source_url
    )

    fill(page, "rows", "many")
    says(page, "#estimate-mistake", "many")
    assert names(page) == [one.gpu.name for one in fitting[:25]], "the last good table stays"
    fill(page, "rows", "5,000")
    fill(page, "tokens_per_row", "300")
    expect(page.locator("#estimate-mistake")).to_be_empty()
    choose(page, "estimate-sort", t(page.lang, "estimate.sort_hours"))
    ranked = [one for one in rank(RECIPE, uniform(5000, 300, RECIPE), sort="hours", **WHERE) if one.devices]
    listed = [one.gpu.name for one in ranked[:25]]
    shows(page, [name for name in [ASKED.gpu.name] if name not in listed] + listed)
    hours, usd = ranked[0].throughput.hours, ranked[0].cost.cheapest.usd
    first = page.locator(f"tr[data-card='{listed[0]}']")
    for text in (
        f"{usd.central:,.2f}",
        f"{hours.low:,.2f}",
        f"{hours.high:,.2f}",
        f"{usd.low:,.2f}",
        f"{usd.high:,.2f}",
    ):
        expect(first).to_contain_text(text)
    fill(page, "least_gib", "20")
    fill(page, "most_usd_per_hour", "0.5")
    page.get_by_label(t(page.lang, "estimate.kind_consumer"), exact=True).check()
    cheap = [
        one
        for one in ranked
        if one.gpu.family == "consumer"
        and one.gpu.memory_gib >= 20
        and one.cost.rents
        and one.cost.cheapest.offer.usd_per_hour <= 0.5
    ]
    shows(page, [one.gpu.name for one in cheap])
    assert 0 < len(cheap) < 25
    for name in ("rows", "tokens_per_row", "least_gib", "most_usd_per_hour"):
        fill(page, name, "")
    page.get_by_label(t(page.lang, "estimate.kind_consumer"), exact=True).uncheck()


def test_a_card_of_ones_own(page):
    unfold(page, "own")
    for name, text in {"own_name": "=cmd <b>mine</b>", "own_memory_gib": "80", "own_usd_per_hour": "-1"}.items():
        fill(page, name, text)
    page.click("#estimate-own_add")
    says(page, "#estimate-own_note", "own_usd_per_hour")
    fill(page, "own_usd_per_hour", "0.25")
    page.click("#estimate-own_add")
    first = page.locator("#estimate-cards tbody tr").first
    expect(first).to_have_attribute("data-card", "=cmd <b>mine</b>", timeout=20_000)
    expect(first).to_contain_text(t(page.lang, "estimate.cards_own_price"))
    assert page.evaluate("Object.keys(localStorage).some((key) => key.includes('ls-own-cards'))"), (
        "kept in this browser"
    )
    page.click("#estimate-own_clear")
    expect(page.locator("tr[data-card^='=cmd']")).to_have_count(0)
    page.click("#estimate-panel-cards > button")


def test_take_it_away(page, tmp_path):
    unfold(page, "panel-take")

    def file(name: str):
        with page.expect_download() as caught:
            page.click(f"#estimate-take [download='{name}']" if "png" not in name else "#estimate-take [data-png]")
        caught.value.save_as(tmp_path / name)
        return tmp_path / name

    bars = bars_of(page.lang, ASKED)
    data = json.loads(file("estimate.json").read_text(encoding="utf-8"))
    assert (
        Recipe.from_dict(data["recipe"]) == RECIPE
        and data["gpu"] == ASKED.gpu.name
        and data["system"] == "linux-desktop"
    )
    for bar in filter(is_settled, bars):
        assert data["estimates"][bar.name]["device_bytes"] == bar.answer.device_bytes
    table = list(csv.reader(io.StringIO(file("estimate.csv").read_text(encoding="utf-8"))))
    assert table[0][1:] == [bar.name for bar in bars]
    assert all(cell.lstrip("-").isdigit() or not cell.startswith(FORMULA_SIGNS) for line in table for cell in line)
    assert RECIPE.model in "".join(Xml.parse(file("estimate.svg")).getroot().itertext())
    assert file("estimate.png").read_bytes().startswith(b"\x89PNG")

    copies = page.locator("#estimate-take [data-copy]")
    copied = []
    for n in range(3):
        copies.nth(n).click()
        expect(copies.nth(n)).to_have_text(t(page.lang, "estimate.copied"))
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    link, command, code = copied
    fields, card = from_query(urlsplit(link).query)
    assert (Recipe.from_dict(fields), card) == (RECIPE, ASKED.gpu.name) and "system=linux-desktop" in link
    assert conditions_in({"system": "linux-desktop"}) == ASKED.conditions.stated()
    assert command == command_line(RECIPE, ASKED.gpu.name, ASKED.conditions)
    assert code == python_code(RECIPE, ASKED.gpu.name, ASKED.conditions)
    page.click("#estimate-panel-take > button")


def test_train_this(page):
    page.click("#estimate-train")
    expect(page.locator("#train-r input[type=number]")).to_have_value(str(RECIPE.r), timeout=20_000)
    for name in ("lora_alpha", "max_length"):
        expect(page.locator(f"#train-{name} input").first).to_have_value(str(getattr(RECIPE, name)))
    no_sideways(page)
    open_tab(page, "estimate")


def test_axe_finds_nothing_serious(page):
    """All panels and many settings unfolded, with a recipe that does not fit and a mistake in a field."""
    number(page, "estimate-max_length", 65536)
    panels = [f"panel-{name}" for name in ("why", "change", "fits", "models", "cards", "take")]
    unfold(page, "advanced", "group-adapters", *panels)
    expect(page.locator("#estimate-change .ls-advice-first").first).to_be_visible(timeout=20_000)
    for selector in (
        "#estimate-why svg:visible",
        "#estimate-fits td",
        "#estimate-cards tbody tr",
        "#estimate-take pre",
    ):
        expect(page.locator(selector).first).to_be_visible(timeout=20_000)
    fill(page, "rank_pattern", "q_proj=many")
    says(page, PROBLEM, "q_proj=many")
    expect(page.locator("#estimate-rank_pattern")).to_have_attribute("data-problem", re.compile("q_proj=many"))
    assert violations(page) == []
    no_sideways(page)
    fill(page, "rank_pattern", "")
    expect(page.locator(PROBLEM)).to_be_empty()
    for name in (*panels, "advanced"):
        page.click(f"#estimate-{name} > button")


def test_what_to_change(page):
    """What does not fit is said, and one click makes it fit. A number beyond the slider's end may be typed."""
    number(page, "estimate-max_length", 65536)
    holds(page, "max_length", 65536)
    expect(page.locator(VERDICT)).to_have_class(re.compile("ls-problem"))
    says(page, VERDICT, "✕")
    unfold(page, "panel-change")
    says(page, "#estimate-change h3 >> nth=0", t(page.lang, "estimate.change_mildest"))
    first = page.locator("#estimate-change .ls-advice-first [data-apply]").last  # beyond doubt
    values = json.loads(first.get_attribute("data-apply"))
    first.click()
    expect(page.locator(VERDICT)).not_to_have_class(re.compile("ls-problem"))
    for name in {"per_device_train_batch_size", "max_length", "r"} & set(values):
        holds(page, name, values[name])
    says(page, "#estimate-change", t(page.lang, "estimate.change_fits"))
    page.click("#estimate-panel-change > button")


def test_intents_say_why_and_set_their_fields(page):
    number(page, "estimate-max_length", 1024)
    for name, intent in intents().items():
        why = page.locator(f"#estimate-intents [data-why={name}]")
        expect(why).to_contain_text(t(page.lang, f"estimate.intent_{name}_why"))
        expect(why).to_contain_text(intent.source)
    pressed = page.locator("#estimate-intents [aria-pressed=true]")
    for name in ("small_data", "large_data", "tightest_memory"):  # one at once after the other
        page.click(f"#estimate-intents [data-intent={name}]")
        expect(pressed).to_have_text(re.compile(t(page.lang, f"estimate.intent_{name}")))
        expect(page.locator("#estimate-intents [data-why]:visible")).to_have_attribute("data-why", name)
    holds(page, "r", intents()["tightest_memory"].values["r"])
    holds(page, "per_device_train_batch_size", 1)


def test_any_model(page, tmp_path):
    """A preset found by its name, a folder of this machine, a pasted configuration; a wrong id is said at the field."""
    choose(page, "estimate-model", "Qwen2.5-0.5B")
    says(page, "#estimate-counts", f"{models()['Qwen/Qwen2.5-0.5B'].parameters:,}")
    before = page.locator(VERDICT).inner_text()
    for wrong in ("nobody/nothing", "modelscope:nobody/nothing"):
        type_choice(page, "estimate-model", wrong)
        says(page, PROBLEM, wrong)
        expect(page.locator("#estimate-model")).to_have_attribute("data-problem", re.compile(wrong))
    assert page.locator(VERDICT).inner_text() == before
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    number(page, "estimate-max_length", 64)
    type_choice(page, "estimate-model", str(tmp_path))
    says(page, "#estimate-counts", "108,992")
    unfold(page, "pasting")
    page.fill("#estimate-pasted textarea", json.dumps(CONFIGS["llama"]))
    page.click("#estimate-paste")
    holds(page, "model", re.compile("config:llama-"))
    expect(page.locator(PROBLEM)).to_be_empty()


# What has the focus: whether it is what is looked for, and what is wrong with it: no outline, or out of sight.
FOCUSED = """(wanted) => {
  const now = document.activeElement;
  if (now === document.body) return { found: wanted === 'body', wrong: null, at: 'body' };
  window.lsSeen = (window.lsSeen || new Set()).add(now);
  const style = getComputedStyle(now), box = now.getBoundingClientRect();
  const isSeen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const isOutlined = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
  const fault = !isOutlined ? 'no outline' : isSeen ? null : 'out of sight';
  const wrong = fault && `${fault}: ${now.outerHTML.slice(0, 160)}`;
  return { found: now.matches(wanted), wrong, at: now.closest('[id]')?.id };
}"""
MISSED = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled)
  .filter((one) => one.tabIndex >= 0 && !lsSeen.has(one))
  .map((one) => one.outerHTML.slice(0, 160))"""


def press_until(page, wanted: str, key: str = "Tab") -> list[str]:
    """Press `key` until what matches `wanted` has the focus; ids on the way. Whatever gets the focus shows it."""
    way: list[str] = []
    for _ in range(150):
        page.keyboard.press(key)
        now = page.evaluate(FOCUSED, wanted)
        assert now["wrong"] is None, now["wrong"]
        way.append(now["at"])
        if now["found"]:
            return way
    raise AssertionError(f"{key} does not lead to {wanted}: {way}")


def test_from_the_first_look_to_a_decision_with_the_keyboard_alone(browser, studio):
    page = open_page(browser, f"{studio.url}/?tab=estimate&lang=en")
    page.set_default_timeout(20_000)
    wait_for_text(page, VERDICT, "Fits on GeForce RTX 4090 with QLoRA 4-bit")
    way = press_until(page, "body")
    assert page.evaluate(MISSED) == []
    order = [
        "ls-header",
        "ls-tab-estimate-button",
        "estimate-intents",
        "estimate-model",
        "estimate-gpu",
        "estimate-target_modules",
        "estimate-advanced",
        "estimate-train",
    ]
    order += [
        "estimate-picture",
        *(f"estimate-panel-{name}" for name in ("why", "change", "fits", "models", "cards", "take")),
    ]
    first = [
        next(n for n, at in enumerate(way) if at and page.locator(f"#{name} #{at}, #{name}#{at}").count())
        for name in order
    ]
    assert first == sorted(first), dict(zip(order, first, strict=True))

    press_until(page, "#estimate-r input[type=range]")
    page.keyboard.press("ArrowRight")
    says(page, "#estimate-counts", "44,564,480 of 8,030,261,248")  # rank 17
    press_until(page, "#estimate-picture [role=radio]")
    page.keyboard.press("ArrowUp")
    says(page, VERDICT, "Does not fit on GeForce RTX 4090 with Full")

    press_until(page, "#estimate-panel-change > button")
    page.keyboard.press("Enter")
    expect(page.locator("#estimate-change .ls-advice-first").first).to_be_visible(timeout=20_000)
    press_until(page, "#estimate-change .ls-advice-first:last-of-type button")
    page.keyboard.press("Enter")
    says(page, "#estimate-change", "It fits as it is.")
    expect(page.locator("#estimate-change button:focus")).to_have_count(1)  # the reader's place is not lost

    press_until(page, "#estimate-panel-cards > button")
    page.keyboard.press("Space")
    expect(page.locator("#estimate-cards tbody tr").first).to_be_visible(timeout=20_000)
    before = names(page)
    press_until(page, "#estimate-sort input")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "(before) => document.querySelector('#estimate-cards tr[data-card]').dataset.card !== before", arg=before[0]
    )
    press_until(page, "#estimate-cards a")

    recipe_r = page.locator("#estimate-r input[type=number]").input_value()
    press_until(page, "#estimate-train", key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#train-r input[type=number]")).to_have_value(recipe_r, timeout=20_000)
    expect(page.locator("#ls-tab-train")).to_be_visible()
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()

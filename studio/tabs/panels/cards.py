"""Which GPU: every card of the catalogue and of one's own for this recipe - room, speed, hours, cost, renting against buying."""

from __future__ import annotations

import contextlib
import re
from html import escape
from typing import Any

import gradio as gr

from estimator.advice.ranking import SORTS, Candidate, rank
from estimator.core.problems import Problem
from estimator.cost.own_cards import OwnCard, own_card
from estimator.cost.rows import uniform
from estimator.hardware.cards import gpus
from studio.i18n import language, marker, t
from studio.tabs.notices import explained
from studio.tabs.panels import Asked
from studio.widgets.cards_table import cards_table

NAME = "cards"
SHOWN = 25
WAYS = ("any", "rent", "buy")
NUMBERS = ("rows", "tokens_per_row", "least_gib", "most_usd_per_hour", "hours_per_month", "usd_per_kwh")
OWN = ("own_memory_gib", "own_usd_per_hour", "own_purchase_usd")
MOST_OWN = 20
HIGHEST = 1e9


def controls() -> dict[str, Any]:
    """What is asked beside the recipe. Numbers left empty are unknown, not zero."""
    families = list(dict.fromkeys(gpu.family for gpu in gpus().values()))
    with gr.Row(elem_classes="ls-asks"):
        made = {name: _number(f"estimate.cards_{name}", name) for name in NUMBERS}
    with gr.Row(elem_classes="ls-asks"):
        sorts = [(marker(f"estimate.sort_{name}"), name) for name in SORTS]
        made["sort"] = gr.Dropdown(sorts, value="fits", label=marker("estimate.cards_sort"), elem_id="estimate-sort")
        ways = [(marker(f"estimate.way_{name}"), name) for name in WAYS]
        made["way"] = gr.Dropdown(ways, value="any", label=marker("estimate.cards_way"), elem_id="estimate-way")
        kinds = [(marker(f"estimate.kind_{name.replace('-', '_')}"), name) for name in families]
        made["kinds"] = gr.CheckboxGroup(
            kinds, value=[], label=marker("estimate.cards_kinds"), elem_id="estimate-kinds"
        )
        made["whole"] = gr.Checkbox(False, label=marker("estimate.cards_whole"), elem_id="estimate-whole")
    with gr.Accordion(marker("estimate.own_title"), open=False, elem_id="estimate-own"):
        made["own"] = _own()
    return made


def _number(label: str, name: str) -> Any:
    """A text box: Gradio's number shows 0 where nothing was said (6.31)."""
    return gr.Textbox("", label=marker(label), elem_id=f"estimate-{name}", placeholder="–", max_lines=1, min_width=140)


def _own() -> Any:
    """A form that adds to the list kept in the browser; what is wrong is said there and nothing is added."""
    kept = gr.BrowserState([], storage_key="ls-own-cards", secret="ls-own-cards")
    with gr.Row(elem_classes="ls-asks"):
        name = gr.Textbox(label=marker("estimate.own_name"), elem_id="estimate-own_name", max_length=80, min_width=140)
        numbers = [_number(f"estimate.{key}", key) for key in OWN]
        add = gr.Button(marker("estimate.own_add"), size="md", elem_id="estimate-own_add")
        clear = gr.Button(marker("estimate.own_clear"), size="md", elem_id="estimate-own_clear")
    note = gr.HTML(elem_id="estimate-own_note")

    def added(request: gr.Request, kept_now: Any, name: str, *values: Any) -> tuple[Any, str]:
        try:
            said = {key: _stated({key: value}, key) for key, value in zip(OWN, values, strict=True)}
            stated = {"name": name} | {
                key.removeprefix("own_"): value for key, value in said.items() if value is not None
            }
            card = own_card(stated)
        except Problem as problem:
            return gr.skip(), explained(language(request), problem)
        others = [one for one in _known(kept_now) if own_card(one).gpu.name != card.gpu.name]
        return [*others, stated][-MOST_OWN:], f'<p class="ls-good">✓ {escape(card.gpu.name)}</p>'

    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    add.click(added, [kept, name, *numbers], [kept, note], **quiet)
    clear.click(lambda: ([], ""), None, [kept, note], **quiet)
    return kept


def _known(stated: Any) -> list[dict[str, Any]]:
    """What a browser kept, less what is no card (it may be of another version, or somebody's own making)."""
    found = []
    for one in stated if isinstance(stated, list) else []:
        with contextlib.suppress(Problem, AttributeError, TypeError):
            own_card(one)
            found.append(one)
    return found[-MOST_OWN:]


def render(lang: str, asked: Asked, own: Any = None, **options: Any) -> str:
    """Raises `Problem` for what the options say wrong."""
    data = _dataset(asked, options)
    prices = {name: _positive(options, name) for name in ("hours_per_month", "usd_per_kwh")}
    cards = [own_card(stated) for stated in _known(own)]
    sort = options.get("sort")
    if sort not in SORTS:
        raise Problem("recipe.choice", field="sort", value=str(sort)[:40], allowed=", ".join(SORTS))
    where = {"batches": asked.conditions.batches, "conditions": asked.conditions}
    ranked = rank(asked.recipe, data, model=asked.model, sort=sort, own=cards, **where, **prices)
    kept = [one for one in ranked if _wanted(one, options, cards)]
    fitting = [one for one in kept if one.devices]
    shown = kept if options.get("whole") else fitting[:SHOWN]
    mine, listed = {card.gpu.name for card in cards}, {one.gpu.name for one in shown}
    chosen = {asked.gpu.name} - listed - mine  # it is there wherever it stands
    first = [one for names in (mine, chosen) for one in kept if one.gpu.name in names]
    shown = first + [one for one in shown if one.gpu.name not in mine]
    said = t(lang, "estimate.cards_count", fitting=len(fitting), all=len(kept), shown=len(shown))
    if not kept:
        said = t(lang, "estimate.cards_none")
    note = f'<p class="ls-note">{escape(t(lang, "estimate.cards_note"))}</p>'
    return f'<p class="ls-note">{escape(said)}</p>{_run(lang, asked, data, options)}{cards_table(lang, shown, asked.gpu.name) if shown else ""}{note}'


def _run(lang: str, asked: Asked, data: Any, options: dict[str, Any]) -> str:
    """What the hours and costs are of, with what was not said but counts."""
    if not data:
        return f'<p class="ls-note">{escape(t(lang, "estimate.cards_no_rows"))}</p>'
    tokens, steps, epochs = _positive(options, "tokens_per_row"), asked.recipe.max_steps, asked.recipe.num_train_epochs
    rows = t(
        lang,
        "estimate.cards_data",
        rows=f"{int(_positive(options, 'rows')):,}",
        tokens=f"{int(tokens or asked.recipe.max_length):,}",
    )
    length = (
        t(lang, "estimate.cards_steps", steps=f"{steps:,}")
        if steps > 0
        else t(lang, "estimate.cards_epochs", epochs=f"{epochs:g}")
    )
    return f'<p class="ls-note"><b>{escape(t(lang, "estimate.cards_run_of", rows=rows, length=length))}</b></p>'


def _dataset(asked: Asked, options: dict[str, Any]) -> Any:
    rows = _positive(options, "rows")
    tokens = _positive(options, "tokens_per_row")
    return uniform(int(rows), int(tokens or asked.recipe.max_length), asked.recipe) if rows else None


def _stated(options: dict[str, Any], name: str) -> float | None:
    """A number that was typed; None for an empty box. Raises `Problem`."""
    text = str(options.get(name) or "").strip()
    if re.fullmatch(r"\d{1,3}([,_ ]\d{3})+(\.\d*)?", text):  # any other comma may be a decimal one, so it is refused
        text = re.sub("[,_ ]", "", text)
    try:
        value = float(text) if text else None
    except ValueError:
        raise Problem("recipe.type", field=name, value=text[:40], allowed="a number") from None
    if value is not None and not 0 <= value <= HIGHEST:
        raise Problem("recipe.range", field=name, value=text[:40], allowed=f"0 to {HIGHEST:,.0f}")
    return value


def _positive(options: dict[str, Any], name: str) -> float | None:
    """A number above 0, but for the price of electricity, which may be free."""
    value = _stated(options, name)
    if value == 0 and name != "usd_per_kwh":
        raise Problem("recipe.range", field=name, value="0", allowed=f"above 0, at most {HIGHEST:,.0f}")
    return value


def _wanted(one: Candidate, options: dict[str, Any], cards: list[OwnCard]) -> bool:
    """Cards of one's own are never filtered out."""
    if any(card.gpu.name == one.gpu.name for card in cards):
        return True
    least, most, way, kinds = (
        _positive(options, "least_gib"),
        _positive(options, "most_usd_per_hour"),
        options.get("way"),
        options.get("kinds"),
    )
    rent = one.cost.cheapest
    return not (
        (kinds and one.gpu.family not in kinds)
        or (least and (one.gpu.memory_gib or 0) < least)
        or (most and (rent is None or rent.offer.usd_per_hour > most))
        or (way == "rent" and rent is None)
        or (way == "buy" and one.cost.purchase_usd is None)
    )

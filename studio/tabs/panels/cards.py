"""Which GPU: every card of the catalogue and of one's own for this recipe - room, speed, hours, cost, renting against buying."""

from __future__ import annotations

import contextlib
from html import escape
from typing import Any

import gradio as gr

from estimator.cards import gpus
from estimator.own_cards import OwnCard, own_card
from estimator.problems import Problem
from estimator.ranking import SORTS, Candidate, rank
from estimator.rows import uniform
from estimator.throughput import Range
from estimator.units import human_bytes
from studio.i18n import language, marker, t
from studio.tabs.notices import explained
from studio.tabs.panels import Asked

NAME = "cards"
SHOWN = 25
WAYS = ("any", "rent", "buy")
NUMBERS = ("rows", "tokens_per_row", "least_gib", "most_usd_per_hour", "hours_per_month", "usd_per_kwh")
OWN = ("own_memory_gib", "own_usd_per_hour", "own_purchase_usd")
MOST_OWN = 20
HIGHEST = 1e9
SIGNS = {"fits": "✓", "close": "!", "several": "+", "unknown": "?", "misses": "✕"}


def controls() -> dict[str, Any]:
    """What is asked beside the recipe. Numbers left empty are unknown, not zero."""
    families = list(dict.fromkeys(gpu.family for gpu in gpus().values()))
    with gr.Row():
        made = {name: _number(f"estimate.cards_{name}", name) for name in NUMBERS}
    with gr.Row():
        sorts = [(marker(f"estimate.sort_{name}"), name) for name in SORTS]
        made["sort"] = gr.Dropdown(sorts, value="fits", label=marker("estimate.cards_sort"), elem_id="estimate-sort")
        ways = [(marker(f"estimate.way_{name}"), name) for name in WAYS]
        made["way"] = gr.Dropdown(ways, value="any", label=marker("estimate.cards_way"), elem_id="estimate-way")
        kinds = [(marker(f"estimate.kind_{name.replace('-', '_')}"), name) for name in families]
        made["kinds"] = gr.CheckboxGroup(kinds, value=[], label=marker("estimate.cards_kinds"), elem_id="estimate-kinds")
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
    with gr.Row():
        name = gr.Textbox(label=marker("estimate.own_name"), elem_id="estimate-own_name", max_length=80, min_width=140)
        numbers = [_number(f"estimate.{key}", key) for key in OWN]
        add = gr.Button(marker("estimate.own_add"), size="md", elem_id="estimate-own_add")
        clear = gr.Button(marker("estimate.own_clear"), size="md", elem_id="estimate-own_clear")
    note = gr.HTML(elem_id="estimate-own_note")

    def added(request: gr.Request, kept_now: Any, name: str, *values: Any) -> tuple[Any, str]:
        try:
            said = {key: _stated({key: value}, key) for key, value in zip(OWN, values, strict=True)}
            stated = {"name": name} | {key.removeprefix("own_"): value for key, value in said.items() if value is not None}
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
    ranked = rank(asked.recipe, data, model=asked.model, sort=sort, own=cards, **prices)
    kept = [one for one in ranked if _wanted(one, options, cards)]
    fitting = [one for one in kept if one.devices]
    mine = {card.gpu.name for card in cards}
    shown = kept if options.get("whole") else fitting[:SHOWN]
    shown = [one for one in kept if one.gpu.name in mine] + [one for one in shown if one.gpu.name not in mine]
    said = t(lang, "estimate.cards_count", fitting=len(fitting), all=len(kept), shown=len(shown))
    return f'<p class="ls-note">{escape(said)}</p>{_table(lang, shown)}<p class="ls-note">{escape(t(lang, "estimate.cards_note"))}</p>'


def _dataset(asked: Asked, options: dict[str, Any]) -> Any:
    rows = _positive(options, "rows")
    tokens = _positive(options, "tokens_per_row")
    return uniform(int(rows), int(tokens or asked.recipe.max_length), asked.recipe) if rows else None


def _stated(options: dict[str, Any], name: str) -> float | None:
    """A number that was typed; None for an empty box. Raises `Problem`."""
    text = str(options.get(name) or "").replace(",", "").replace("_", "").strip()
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
    least, most, way, kinds = _positive(options, "least_gib"), _positive(options, "most_usd_per_hour"), options.get("way"), options.get("kinds")
    rent = one.cost.cheapest
    return not (
        (kinds and one.gpu.family not in kinds)
        or (least and (one.gpu.memory_gib or 0) < least)
        or (most and (rent is None or rent.offer.usd_per_hour > most))
        or (way == "rent" and rent is None)
        or (way == "buy" and one.cost.purchase_usd is None)
    )


def _table(lang: str, shown: list[Candidate]) -> str:
    names = ("card", "fits", "run", "offer", "hours", "buy", "even", "room", "speed")
    head = "".join(f'<th scope="col">{escape(t(lang, f"estimate.cards_{name}"))}</th>' for name in names)
    body = "".join(_row(lang, one) for one in shown)
    label = escape(t(lang, "estimate.panel_cards"))
    return (
        f'<div class="ls-scroll" tabindex="0" role="region" aria-label="{label}"><table class="ls-table ls-cards"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(lang: str, one: Candidate) -> str:
    unknown = escape(t(lang, "estimate.unknown"))
    made, rent = one.sharded or one.estimate, one.cost.cheapest
    verdict = "unknown" if one.estimate.fits is None else "several" if one.sharded else "misses" if not made.fits else "close" if made.is_close else "fits"
    word = t(lang, "estimate.cards_several", count=one.devices) if one.sharded else t(lang, f"estimate.sign_{verdict}")
    room = human_bytes(made.headroom_bytes) if made.headroom_bytes is not None else unknown
    speed, hours = one.throughput.tokens_per_second, one.throughput.hours
    usd = rent.usd if rent and rent.usd else None
    offer = unknown
    if rent:
        source = f' <a href="{escape(rent.offer.source_url)}" rel="noreferrer" target="_blank">{escape(rent.offer.as_of_date)}</a>' if rent.offer.source_url else ""
        offer = f"{escape(rent.offer.provider)} {rent.offer.gpu_count}x USD {rent.offer.usd_per_hour:,.2f}/h{source}"
    buy = unknown if one.cost.purchase_usd is None else ("~" if one.cost.purchase_is_estimate else "") + f"USD {one.cost.purchase_usd:,.0f}"
    even = unknown if one.cost.break_even_hours is None else f"{one.cost.break_even_hours:,.0f} h" + (
        f" ({one.cost.break_even_months:,.1f} {escape(t(lang, 'estimate.months'))})" if one.cost.break_even_months else ""
    )
    cells = [
        f'<span class="ls-sign-{verdict}">{SIGNS[verdict]} {escape(word)}</span>', f"USD {_span(usd, 2)}" if usd else unknown, offer,
        _span(hours, 1) or unknown, buy, even, room, _span(speed, 0) or unknown,
    ]  # fmt: skip
    return f'<tr><th scope="row">{escape(one.gpu.name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _span(value: Range | None, digits: int) -> str:
    if value is None:
        return ""
    low, high = f"{value.low:,.{digits}f}", f"{value.high:,.{digits}f}"
    return low if low == high else f"{low} – {high}"

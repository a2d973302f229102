"""Which GPU: every card of the catalogue and of one's own for this recipe - room, speed, hours, cost; own, buy or rent;
three side by side."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from estimator.advice.priced import compared, ranked
from estimator.advice.rank_table import WAYS, vendors
from estimator.advice.ranking import SORTS, Candidate
from estimator.core.problems import Problem
from estimator.cost.own_cards import own_card
from estimator.recipe.costing import MOST_CARDS, Costing
from studio import shipped
from studio.i18n import explain, language, marker, t
from studio.tabs import carried
from studio.tabs.notices import explained
from studio.tabs.panels import Asked
from studio.tabs.panels.files import ranked_files
from studio.tabs.panels.options import (
    AUTOMATIC,
    MOST_OWN,
    address_of,
    costing_of,
    families,
    filter_of,
    known_cards,
    of_address,
    own_cards,
    stated_number,
)
from studio.widgets.cards_beside import cards_beside
from studio.widgets.cards_table import cards_table

NAME = "cards"
SHOWN = 25
ASKED = ("rows", "tokens_per_row", "usd_per_kwh", "hours_per_month")
FILTERS = ("least_gib", "most_usd_per_hour")
OWN = ("own_memory_gib", "own_usd_per_hour", "own_purchase_usd")
# A card's buttons put it into a box's list, or take it out; the panel's part of the address goes with its answer.
ON_LOAD = shipped.script("elements/cards")


def controls() -> dict[str, Any]:
    """What is asked beside the recipe. Numbers left empty are unknown, not zero."""
    with gr.Row(elem_classes="ls-asks"):
        made = {name: _number(f"estimate.cards_{name}", name) for name in ASKED}
        counts = [
            (marker("estimate.cards_automatic"), AUTOMATIC),
            *((str(n), str(n)) for n in range(1, MOST_CARDS + 1)),
        ]
        made["devices"] = gr.Dropdown(
            counts, value=AUTOMATIC, label=marker("estimate.cards_devices"), elem_id="estimate-devices", min_width=140
        )
    with gr.Row(elem_classes="ls-asks ls-asks-wide"):
        for name in ("compare", "owned"):
            made[name] = _text(name)
    with gr.Row(elem_classes="ls-asks"):
        made["search"] = _text("search")
        made |= {name: _number(f"estimate.cards_{name}", name) for name in FILTERS}
        sorts = [(marker(f"estimate.sort_{name}"), name) for name in SORTS]
        made["sort"] = gr.Dropdown(sorts, value="fits", label=marker("estimate.cards_sort"), elem_id="estimate-sort")
        ways = [(marker(f"estimate.way_{name}"), name) for name in WAYS]
        made["way"] = gr.Dropdown(ways, value="any", label=marker("estimate.cards_way"), elem_id="estimate-way")
        makers = [(name, name) for name in vendors()]
        made["vendors"] = gr.CheckboxGroup(
            makers, value=[], label=marker("estimate.cards_vendors"), elem_id="estimate-vendors"
        )
        kinds = [(marker(f"estimate.kind_{name.replace('-', '_')}"), name) for name in families()]
        made["kinds"] = gr.CheckboxGroup(
            kinds, value=[], label=marker("estimate.cards_kinds"), elem_id="estimate-kinds"
        )
        made["whole"] = gr.Checkbox(False, label=marker("estimate.cards_whole"), elem_id="estimate-whole")
    with gr.Accordion(marker("estimate.own_title"), open=False, elem_id="estimate-own"):
        made["own"] = _own()
    return made


def open_of_address(fold: Any, made: dict[str, Any], refused: Any, fast: dict[str, Any]) -> Any:
    """What an address asks of this panel: its controls are set and it opens; what cannot be taken is said in `refused`.
    Returns the event."""

    def open_page(request: gr.Request) -> dict[Any, Any]:
        said, problems = of_address(request.query_params)
        if not said and not problems:
            return {refused: gr.skip()}  # Gradio (6.31) takes an empty dict for one value, and fails
        lang = language(request)
        sentences = "".join(f"<li>{escape(explain(lang, problem))}</li>" for problem in problems)
        note = escape(t(lang, "estimate.link_cards_refused"))
        close = carried.close_button(lang)
        shown = (
            f'<div class="ls-warn ls-link" role="alert">{close}! {note}<ul>{sentences}</ul></div>' if problems else ""
        )
        return {fold: gr.update(open=True), refused: shown} | {made[name]: value for name, value in said.items()}

    return gr.context.Context.root_block.load(open_page, None, [fold, refused, *made.values()], **fast)


def _text(name: str) -> Any:
    """A list of cards, or words of a name."""
    hint = {} if name == "search" else {"info": marker(f"estimate.cards_{name}_help")}
    shown = {"compare": "RTX 5090, 2 x RTX 4090, H100 SXM5", "owned": "RTX 3060 12GB", "search": "4090"}[name]
    return gr.Textbox(
        "",
        label=marker(f"estimate.cards_{name}"),
        elem_id=f"estimate-{name}",
        placeholder=shown,
        max_lines=1,
        min_width=140,
        **hint,
    )


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

    def added(request: gr.Request, kept_now: Any, name: str, *values: Any) -> dict[Any, Any]:
        try:
            said = {key: stated_number({key: value}, key) for key, value in zip(OWN, values, strict=True)}
            stated = {"name": name} | {
                key.removeprefix("own_"): value for key, value in said.items() if value is not None
            }
            card = own_card(stated)
        except Problem as problem:
            return {note: explained(language(request), problem)}
        others = [one for one in known_cards(kept_now) if own_card(one).gpu.name != card.gpu.name]
        said_so = f'<p class="ls-good">✓ {escape(card.gpu.name)}</p>'
        return {kept: [*others, stated][-MOST_OWN:], note: said_so}

    def cleared() -> dict[Any, Any]:
        return {kept: [], note: ""}

    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    add.click(added, [kept, name, *numbers], [kept, note], **quiet)
    clear.click(cleared, None, [kept, note], **quiet)
    return kept


def render(lang: str, asked: Asked, own: Any = None, **options: Any) -> str:
    """Raises `Problem` for what the options say wrong."""
    costing, wanted, mine = costing_of(options), filter_of(options), own_cards(own)
    where = {"model": asked.model, "own": mine, "batches": asked.conditions.batches, "conditions": asked.conditions}
    found = ranked(asked.recipe, costing, sort=options.get("sort") or "fits", **where)
    names = {card.gpu.name for card in mine}
    kept = [
        one for one in found if wanted.takes(one) or one.gpu.name in names
    ]  # cards of one's own are never filtered out
    shown = _shown(kept, names, asked, bool(options.get("whole")))
    beside = compared(asked.recipe, costing, **where) if costing.compare else []
    fitting = sum(bool(one.devices) for one in kept)
    said = t(lang, "estimate.cards_count", fitting=fitting, all=len(kept)) if kept else t(lang, "estimate.cards_none")
    if len(shown) < len(kept):
        said += " " + t(lang, "estimate.cards_first", count=min(fitting, SHOWN), whole=t(lang, "estimate.cards_whole"))
    chosen = next((one for one in found if one.gpu.name == asked.gpu.name), None)
    note = f'<p class="ls-note">{escape(t(lang, "estimate.cards_note"))}</p>'
    address = address_of(options | ({"own": known_cards(own)} if mine else {}))
    table = cards_table(lang, shown, asked.gpu.name, costing) if shown else ""
    return (
        f'<div data-costing="{escape(address)}">{_run(lang, asked, costing)}{_answer(lang, chosen) if chosen else ""}'
        f"{cards_beside(lang, beside) if beside else ''}{ranked_files(asked, costing, beside, 'compared') if beside else ''}"
        f'<p class="ls-note">{escape(said)}</p>{ranked_files(asked, costing, shown, "cards") if shown else ""}{table}{note}</div>'
    )


def _shown(kept: list[Candidate], mine: set[str], asked: Asked, whole: bool) -> list[Candidate]:
    """One's own cards and the chosen one first, then what fits."""
    fitting = [one for one in kept if one.devices]
    shown = kept if whole else fitting[:SHOWN]
    chosen = {asked.gpu.name} - {one.gpu.name for one in shown} - mine  # it is there wherever it stands
    first = [one for names in (mine, chosen) for one in kept if one.gpu.name in names]
    return first + [one for one in shown if one.gpu.name not in mine]


def _answer(lang: str, one: Candidate) -> str:
    """The chosen card: own, buy or rent; where in its range the time lies, why, and what is left out."""
    title = escape(
        t(lang, "estimate.answer_for", card=f"{one.count} × {one.gpu.name}" if one.count > 1 else one.gpu.name)
    )
    said = " ".join(explain(lang, sentence) for sentence in one.answer)
    return f'<section id="estimate-answer"><h3>{title}</h3><p>{escape(said)}</p>{why(lang, one)}</section>'


def why(lang: str, one: Candidate) -> str:
    """What its figures stand on, folded."""
    alone = [note for note in one.runs.warnings if note.code == "gpu.alone"]
    notes = [one.strategy, *one.throughput.why, one.throughput.place, *alone, *one.cost.why]
    items = "".join(f"<li>{escape(explain(lang, note))}</li>" for note in dict.fromkeys(filter(None, notes)))
    return (
        f'<details class="ls-more"><summary>{escape(t(lang, "estimate.cards_why"))}</summary><ul>{items}</ul></details>'
    )


def _run(lang: str, asked: Asked, costing: Costing) -> str:
    """What the hours and costs are of, with what was not said but counts."""
    if costing.rows is None:
        return f'<p class="ls-note">{escape(t(lang, "estimate.cards_no_rows"))}</p>'
    steps, epochs, tokens = asked.recipe.max_steps, asked.recipe.num_train_epochs, costing.tokens_per_row
    rows = t(lang, "estimate.cards_data", rows=f"{costing.rows:,}", tokens=f"{tokens or asked.recipe.max_length:,}")
    length = (
        t(lang, "estimate.cards_steps", steps=f"{steps:,}")
        if steps > 0
        else t(lang, "estimate.cards_epochs", epochs=f"{epochs:g}")
    )
    return f'<p class="ls-note"><b>{escape(t(lang, "estimate.cards_run_of", rows=rows, length=length))}</b></p>'

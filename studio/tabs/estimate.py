"""The Estimate tab: full, LoRA and QLoRA side by side against one card, and what unfolds below. Needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import check
from estimator.estimates.take_away import conditions_in, from_query
from estimator.hardware.card_text import counted
from estimator.hardware.cards import candidates, find_gpu
from estimator.hardware.machines import on_cards
from estimator.model.catalog import models
from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.gate.page import told
from studio.gate.security import from_this_machine
from studio.i18n import explain, language, marker, t
from studio.models import exact, pasted
from studio.models.find import find_model
from studio.services import Shared
from studio.tabs import can_train, carried, open_tab
from studio.tabs.controls import METHODS, method_fields
from studio.tabs.estimate_form import (
    START,
    Form,
    build_form,
    gpu_label,
    held_for,
    meant,
    moved,
    put_back,
    set_back,
    set_to,
    stated,
)
from studio.tabs.notices import CHOOSE, FORGET, RETRY, choices, explained, explained_late
from studio.tabs.panels import ANSWERS, Asked, cards, change, fits, hours, intents, take, which_model, why
from studio.tabs.panels import picture as bars
from studio.tabs.turns import NUMBERED, PICTURED, answered, arrive, is_overtaken, wait_for_picture
from studio.tabs.turns import PANELS as OPEN_PANELS

PANELS = (why, change, fits, which_model, cards, take)
FAST = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
WITH_OWN = FAST | {"js": f"(own, ...all) => [own, ...({PICTURED})(...all)]"}
"""Of a listener that keeps its control's value."""
BESIDE = "_beside"
"""In what the session keeps: what the panels ask beside the recipe, by name, where it was changed."""
UNDO = "_undo"
"""In what the session keeps: the fields that the intent pressed last has changed."""
OF_THE_METHOD = ("recipe.conflict", "estimator.not_quantizable")
"""Problems that another method may not have: its bar stands, and the refused one's says why."""
# A note beside the picture goes by its cross, or once its button is pressed.
NOTE = shipped.script("elements/note")
# The page asks for its open panels by an event of this element (`assets/scripts/panels.js`).
ASK_PANELS = shipped.script("elements/panels")


def build(shared: Shared) -> None:
    """Called inside the tab."""
    with gr.Row(elem_classes="ls-split ls-picture-first"):
        with gr.Column(elem_classes="ls-left"):
            wishes = gr.HTML(intents.html(), elem_id="estimate-intents", js_on_load=intents.ON_LOAD)
            form = build_form()
            train = gr.Button(marker("estimate.train_this"), variant="primary", elem_id="estimate-train")
        with gr.Column(elem_classes="ls-right ls-sticky"):
            link = gr.HTML(elem_id="estimate-link", js_on_load=NOTE)
            refused = gr.HTML(elem_id="estimate-cards_refused", js_on_load=NOTE)
            trouble = gr.HTML(elem_id="estimate-problem", js_on_load=RETRY + CHOOSE)
            shown = gr.HTML(elem_id="estimate-picture", js_on_load=bars.ON_LOAD)
            # Of a panel's own field: its answer may come after a newer picture's problem.
            mistake = gr.HTML(elem_id="estimate-mistake", js_on_load=ASK_PANELS)
            folds, panels, options = zip(*[_panel(panel) for panel in PANELS], strict=True)
    of_the_data = {name: options[PANELS.index(cards)][name] for name in hours.ASKED}
    _wire_picture(shared, form, of_the_data, trouble, shown, link)
    _wire_paste(shared, form, trouble)
    _wire_panels(shared, form, mistake, folds, panels, options, refused)
    for html in (shown, link, *panels):
        _wire_apply(html, form, trouble, shared)
    _wire_apply(wishes, form, trouble, shared, lambda asked, wish, undo: intents.met(asked, wish["intent"], undo))
    _wire_train(shared, train, form, trouble)


def _panel(panel: Any) -> tuple[Any, Any, dict[str, Any]]:
    with gr.Accordion(
        marker(f"estimate.panel_{panel.NAME}"), open=False, elem_id=f"estimate-panel-{panel.NAME}"
    ) as fold:
        options = panel.controls() if hasattr(panel, "controls") else {}
        html = gr.HTML(elem_id=f"estimate-{panel.NAME}", js_on_load=getattr(panel, "ON_LOAD", None))
    return fold, html, options


def _asked(
    shared: Shared,
    request: gr.Request,
    kept: dict[str, Any],
    basic: tuple[Any, ...],
    changes: dict[str, Any] | None = None,
) -> Asked:
    """What the controls ask, with `changes` to its recipe. Raises `Problem`."""
    recipe, named, conditions = meant(kept, basic, changes)
    recipe, name = on_cards(recipe, named)
    gpu = find_gpu(name)
    model = find_model(
        shared.space, recipe.model, shared.trace_worker if can_train() else None, from_this_machine(request)
    )
    for problem in check(recipe, model=model):
        raise problem
    return Asked(recipe.replace(model=model.repository or recipe.model), gpu, model, conditions)


def _standing(shared: Shared, request: gr.Request, kept: dict[str, Any], basic: tuple[Any, ...]) -> Asked:
    """The same; where the method that is chosen cannot be, another that can, with what is wrong beside it. Raises
    `Problem` for what no method could make good."""
    try:
        return _asked(shared, request, kept, basic)
    except Problem as problem:
        held = stated(kept, basic)
        if problem.code not in OF_THE_METHOD or held["method"] not in METHODS:
            raise
        for key in METHODS:
            with contextlib.suppress(Problem):
                other = _asked(shared, request, kept, basic, method_fields(key, held["quantization"]))
                return replace(other, refused=(held["method"], problem))
        raise


def _wire_picture(shared: Shared, form: Form, of_the_data: dict[str, Any], trouble: Any, shown: Any, link: Any) -> None:
    @ANSWERS.shared()
    def drawn(request: gr.Request, kept: dict[str, Any], basic: tuple[Any, ...]) -> tuple[Any, Any]:
        """(what is wrong, the picture); on a mistake the last good picture stays."""
        lang = language(request)
        try:
            asked = _standing(shared, request, kept, basic)
            wrong = explained(lang, asked.refused[1]) if asked.refused else ""
            wrong = wrong.replace("<p ", "<p data-below ", 1)  # its bar says it; this marks the field
            data = tuple(kept.get(name) for name in hours.ASKED)
            return wrong, bars.picture(lang, asked, can_train(), bool(shared.trace_worker.pid), data)
        except Problem as problem:
            return explained_late(lang, problem) + _offered(problem, kept, basic), gr.skip()

    def choose(event: gr.EventData) -> dict[Any, Any]:
        """One of the models or cards that a problem lists; the control's change draws the picture."""
        said = told(event)
        control = {"model": form.model, "gpu": form.gpu}.get(str(said.get("field")))
        can_be = control and isinstance(said.get("value"), str)
        return {control: said["value"]} if can_be else {form.model: gr.skip()}

    def draw(
        request: gr.Request, number: Any, kept: dict[str, Any], *basic: Any, overtakes: bool = True
    ) -> dict[Any, Any]:
        """Of what the newest request said: that of another control may come first."""
        arrived = arrive(kept, number, basic, overtakes)
        try:
            wrong, picture = drawn(request, kept, arrived.said)
        finally:
            answered(kept, number)
        return (
            dict.fromkeys((trouble, shown), gr.skip())
            if is_overtaken(kept, arrived)
            else {trouble: wrong, shown: picture}
        )

    def keeper(name: str) -> Any:
        def keep(request: gr.Request, value: Any, number: Any, kept: dict[str, Any], *basic: Any) -> dict[Any, Any]:
            """A folded control's value, into the session's own dict: several may change at once."""
            kept[name] = value
            return draw(request, number, kept, *basic)

        return keep

    def announce(request: gr.Request, name: Any) -> Any:
        """A model that is no preset may take seconds."""
        if not isinstance(name, str) or not name or name in models():
            return gr.skip()
        return f'<p class="ls-note" role="status">{escape(t(language(request), "estimate.looking", model=str(name)[:80]))}</p>'

    def other_model(request: gr.Request, name: Any, kept: dict[str, Any], *basic: Any) -> str:
        return carried.note(language(request), name, stated(kept, basic))

    form.model.input(other_model, [form.model, *form.inputs], link, **FAST)
    numbered = FAST | {"js": PICTURED}
    gr.on(
        [*(control.change for control in form.basic.values()), trouble.submit],
        draw,
        [form.number, *form.inputs],
        [trouble, shown],
        **numbered,
    )
    announced = form.model.change(announce, form.model, trouble, **FAST)
    for name, folded in (form.folded | of_the_data).items():
        # The model's picture is asked for after its notice: at once with it, the notice may come last and stay.
        changed = announced.then if folded is form.model else folded.change
        changed(keeper(name), [folded, form.number, *form.inputs], [trouble, shown], **WITH_OWN)
    trouble.click(choose, None, [form.model, form.gpu], **FAST)

    def open_page(request: gr.Request, kept: dict[str, Any], *basic: Any) -> dict[Any, Any]:
        """The first picture, of what the address asks: drawn apart, the one without it could come last."""
        held, said = _of_address(request)
        values = set_to(kept, basic, *held) if held else [gr.skip()] * len(form.outputs)
        if held:
            kept.update(values[0])
            values[0], basic = kept, tuple(held_for(*held)[name] for name in form.basic)
        wrong, picture = drawn(request, kept, basic)
        set_now = dict(zip(form.outputs, values, strict=True))
        return set_now | {link: said, trouble: wrong, shown: picture}

    gr.context.Context.root_block.load(open_page, form.inputs, [*form.outputs, link, trouble, shown], **FAST)

    def derive(request: gr.Request, kept: dict[str, Any], *basic: Any) -> None:
        """Let the worker trace what the picture shows approximately; the picture is drawn again after it, whatever it
        shows then."""
        with contextlib.suppress(Problem):
            asked = _asked(shared, request, kept, basic)
            shown_bars = bars.bars_of(language(request), asked)
            if made := bars.to_trace(shown_bars, shown_bars[bars.index_of(asked)]):
                exact.derive(shared.space, made, shared.trace_worker)
                ANSWERS.clear()  # the law that came is asked for

    def redraw(request: gr.Request, number: Any, kept: dict[str, Any], *basic: Any) -> dict[Any, Any]:
        """The picture alone: nobody asked for this one, so what is said beside it stays."""
        return {shown: draw(request, number, kept, *basic, overtakes=False)[shown]}

    derived = shown.submit(derive, form.inputs, None, **FAST)
    derived.then(redraw, [form.number, *form.inputs], shown, **numbered)
    if can_train():  # what is new comes from these: the worker is warm when it is asked
        gr.on(
            [form.fold.expand, form.pasting.expand, form.model.focus, form.basic["target_modules"].focus],
            shared.trace_worker.start,
            **FAST,
        )


def _wire_paste(shared: Shared, form: Form, trouble: Any) -> None:
    def paste(request: gr.Request, text: Any) -> dict[Any, Any]:
        """A configuration becomes a model of its own name; what is none is said, and nothing changes."""
        try:
            return {form.model: pasted.keep(shared.space, str(text or ""))}
        except Problem as problem:
            return {trouble: explained(language(request), problem)}

    form.paste.click(paste, form.pasted, [form.model, trouble], **FAST)
    form.pasted.input(None, trouble, trouble, js=FORGET, api_visibility="private")


def _wire_panels(
    shared: Shared,
    form: Form,
    mistake: Any,
    folds: tuple[Any, ...],
    panels: tuple[Any, ...],
    options: tuple[dict[str, Any], ...],
    refused: Any,
) -> None:
    """Open panels are drawn after each picture, when they open and when what they ask beside changes: that is kept, so
    that a request brings little."""
    controls = {name: control for panel_asks in options for name, control in panel_asks.items()}
    own = {name: control for name, control in controls.items() if isinstance(control, gr.BrowserState)}
    beside = {name: control for name, control in controls.items() if name not in own}

    def keeper(name: str) -> Any:
        def keep(value: Any, number: Any, kept: dict[str, Any]) -> None:
            kept.setdefault(BESIDE, {})[name] = value
            answered(kept, number)

        return keep

    def draw(request: gr.Request, wanted: Any, kept: dict[str, Any], *values: Any) -> dict[Any, Any]:
        """The panels, and what is wrong in a field of theirs: that panel stays as it is."""
        names, _, number = str(wanted).partition("|")
        wait_for_picture(kept, number)
        lang, open_names = language(request), names.split(",")
        held = {name: control.value for name, control in beside.items()} | kept.get(BESIDE, {})
        held |= {name: kept[name] for name in hours.ASKED if name in kept}
        held |= dict(zip(own, values[len(form.basic) :], strict=True))
        given = [{name: held[name] for name in panel_asks} for panel_asks in options]
        try:
            asked = _asked(shared, request, kept, values[: len(form.basic)])
            asked = replace(asked, options=given[PANELS.index(cards)])
        except Problem:  # said beside the picture; what was drawn stays
            return {mistake: gr.skip()}
        with ANSWERS.shared():
            drawn = [
                _drawn(lang, panel, asked, said) if panel.NAME in open_names else (gr.skip(), "")
                for panel, said in zip(PANELS, given, strict=True)
            ]
        shown_now = {html: update for html, (update, _) in zip(panels, drawn, strict=True)}
        return shown_now | {mistake: next(filter(None, (wrong for _, wrong in drawn)), "")}

    inputs = [form.number, *form.inputs, *own.values()]
    mistake.submit(draw, inputs, [*panels, mistake], **FAST | {"js": OPEN_PANELS})
    for name, control in beside.items():
        if name not in hours.ASKED:  # those are of the picture too
            control.change(keeper(name), [control, form.number, form.kept], None, **WITH_OWN)
    for event in (*(fold.expand for fold in folds), *(control.change for control in own.values())):
        event(None, None, None, js="() => lsAskPanels()", api_visibility="private")
    index = PANELS.index(cards)
    opened = cards.open_of_address(folds[index], options[index], refused, FAST)
    opened.then(None, None, None, js="() => lsAskPanels()", api_visibility="private")


def _drawn(lang: str, panel: Any, asked: Asked, options: dict[str, Any]) -> tuple[Any, str]:
    """(the panel, what is wrong in one of its own fields)."""
    try:
        return panel.render(lang, asked, **options), ""
    except Problem as problem:
        said = explained(lang, problem)
        return (gr.skip(), said) if problem.field in options else (said, "")


def _wire_apply(
    html: Any, form: Form, trouble: Any, shared: Shared, made: Callable[..., tuple[Recipe, dict]] | None = None
) -> None:
    """A button or a bar sets the fields it names, or with `made` those of the recipe made for it (and keeps how to undo
    it); the controls change, and with them the picture."""

    def apply(
        request: gr.Request, event: gr.EventData, number: Any, kept: dict[str, Any], *basic: Any
    ) -> dict[Any, Any]:
        said, before = told(event), dict(kept)
        try:
            if "reset" in said or "back" in said:
                values = set_back(kept, basic) if "reset" in said else put_back(kept, basic)
                return dict(zip(form.outputs, values, strict=True)) | {trouble: ""}
            undo, named = before.get(UNDO, {}), set(said)
            if made:
                asked = _asked(shared, request, before, basic)
                recipe, undo = made(asked, said, undo)
                gpu, conditions, named = stated(before, basic)["gpu"], asked.conditions, {*before.get(UNDO, {}), *undo}
            else:
                recipe, gpu, conditions = meant(before, basic, said)
            values = set_to(before, basic, recipe, gpu, conditions, named, but=moved(kept, before, number, basic))
        except Problem as problem:
            return {trouble: explained(language(request), problem)}
        kept.update(values[0] | {UNDO: undo})
        return dict(zip(form.outputs, [kept, *values[1:]], strict=True)) | {trouble: ""}

    # Not only the last: of a second press while the first is answered, Gradio (6.31) would say the first one's data
    # again. The page sends one after the other (assets/scripts/presses.js).
    pressed = html.click(
        apply,
        [form.number, *form.inputs],
        [*form.outputs, trouble],
        **FAST | {"trigger_mode": "multiple", "js": NUMBERED},
    )
    for done in (pressed.then, pressed.failure):
        done(None, None, None, js="() => lsPressed()", api_visibility="private")


def _wire_train(shared: Shared, train: Any, form: Form, trouble: Any) -> None:
    def carry(request: gr.Request, kept: dict[str, Any], *basic: Any) -> dict[Any, Any]:
        """Take the recipe to the Train tab."""
        try:
            recipe, gpu, _ = meant(kept, basic)
            return {trouble: "", shared.recipe: recipe.to_dict(), shared.gpu: gpu}
        except Problem as problem:
            return {trouble: explained(language(request), problem)}

    carried = train.click(carry, form.inputs, [trouble, shared.recipe, shared.gpu], api_visibility="private")
    open_tab(shared, carried.then, "train", unless=trouble)


def _offered(problem: Problem, kept: dict[str, Any], basic: tuple[Any, ...]) -> str:
    """What a name may mean, to choose from: nothing is chosen for the reader."""
    if problem.code in ("gpu.ambiguous", "gpu.ambiguous_foreign", "gpu.other_size"):
        count, name = counted(stated(kept, basic)["gpu"])
        times = f"{count}x " if count > 1 else ""
        return choices("gpu", [(times + gpu_label(gpu), times + gpu.name) for gpu in candidates(name)])
    if problem.code in ("gpu.unknown", "model.ambiguous", "model.unknown") or problem.code.startswith("hub."):
        names = [name for name in problem.params.get("allowed", "").split(", ") if name]
        return choices(problem.field or "", [(name, name) for name in names])
    return ""


def _of_address(request: gr.Request) -> tuple[tuple[Recipe, str, Conditions] | None, Any]:
    """(what the address asks, what is said of it): None where it asks nothing. A value that cannot be is said and left
    out; the rest is taken."""
    (fields, gpu), beside = from_query(request.query_params), conditions_in(request.query_params)
    refused: list[Problem] = []
    while fields or gpu or beside:
        try:
            recipe, name = on_cards(Recipe.from_dict({"model": START["model"], **fields}), gpu or START["gpu"])
            asked = recipe, find_gpu(name).name, Conditions.from_dict(beside)
            return asked, _refused(language(request), refused)
        except Problem as problem:
            refused.append(problem)
            if problem.field == "gpu":
                gpu = None
            elif fields.pop(problem.field, refused) is refused and beside.pop(problem.field, refused) is refused:
                break
    return None, _refused(language(request), refused)


def _refused(lang: str, refused: list[Problem]) -> Any:
    if not refused:
        return gr.skip()
    sentences = "".join(f"<li>{escape(explain(lang, problem))}</li>" for problem in refused)
    return f'<div class="ls-warn ls-link" role="alert">{carried.close_button(lang)}! {escape(t(lang, "estimate.link_refused"))}<ul>{sentences}</ul></div>'

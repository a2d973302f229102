"""What unfolds below the Estimate tab's picture: what each panel says, in both languages, and what it does with wrong
input."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import shlex
import tomllib
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from estimator import Problem, Recipe, estimate, find_gpu, open_model
from estimator.advice.advise import advise
from estimator.advice.priced import compared, priced
from estimator.cli import cli, gpus_command
from estimator.cost.own_cards import own_card, read_card
from estimator.estimates.take_away import command_line, from_query, python_code
from estimator.hardware.cards import gpus
from estimator.recipe.costing import Costing
from estimator.recipe.distributed import DISTRIBUTED_TYPES
from studio.i18n import LANGUAGES, explain, t
from studio.tabs.controls import METHODS
from studio.tabs.estimate import PANELS
from studio.tabs.panels import Asked, cards, change, fits, take, why
from studio.tabs.panels import options as panel_options
from studio.tabs.panels.picture import bars_of, picture
from studio.widgets.bars_svg import COLOURS
from studio.widgets.verdicts import SIGNS

ID = "meta-llama/Llama-3.1-8B"
RANKING = {"sort": "fits", "way": "any", "kinds": [], "whole": False}


def asked(card: str = "RTX 4090", **fields) -> Asked:
    recipe = Recipe(model=ID, **fields)
    return Asked(recipe, find_gpu(card), open_model(ID))


def shown(panel, lang: str, what: Asked, **options) -> str:
    return panel.render(lang, what, **(RANKING | options if panel is cards else options))


def named(text: str) -> list[str]:
    """The cards of a table, in its order."""
    return [html.unescape(found) for found in re.findall(r'data-card="([^"]*)"', text)]


def applied(text: str) -> list[dict]:
    return [json.loads(html.unescape(found)) for found in re.findall(r'data-apply="([^"]*)"', text)]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.NAME)
@pytest.mark.parametrize(
    "fields",
    [{}, {"method": "full"}, {"method": "lora", "max_length": 16384, "per_device_train_batch_size": 8}],
    ids=str,
)
def test_every_panel_says_something_for_what_fits_and_what_does_not(panel, lang, fields):
    text = shown(panel, lang, asked(**fields))
    assert len(text) > 200 and "None" not in re.sub("<[^>]*>", " ", text)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_verdict_is_said_by_its_colour_alone(lang):
    """Whatever has a verdict's colour has its sign and its word, in its text or (a cell of the map) in its name."""
    words = {verdict: [t(lang, f"estimate.sign_{verdict}")] for verdict in SIGNS if verdict != "several"}
    words |= {
        "several": [t(lang, "estimate.cards_several", count=2)[1:]],
        "close": [t(lang, "estimate.sign_close"), t(lang, "estimate.sign_close_over")],
    }
    unknown = next(name for name, gpu in gpus().items() if gpu.usable_bytes() is None)
    seen = set()
    for what in (asked(), asked(method="lora"), asked(unknown), asked(max_length=32768, method="full")):
        text = picture(lang, what) + shown(fits, lang, what) + shown(cards, lang, what, whole=True)
        text = html.unescape(text + (shown(change, lang, what) if what.gpu.usable_bytes() else ""))
        for verdict, said in re.findall(r'ls-sign-(\w+)">(.*?)</span>(?!</div>)', text):
            assert SIGNS[verdict] in said and any(word in said for word in words[verdict]), said
            seen.add(verdict)
        for verdict, name, said in re.findall(
            r'<td class="ls-cell-(\w+)"[^>]*><button[^>]* aria-label="([^"]*)">(.*?)</button>', text
        ):
            assert SIGNS[verdict] in said and name.endswith(tuple(words[verdict]))
    assert seen == set(SIGNS)


def test_each_kind_of_layer_has_its_own_picture():
    text = shown(why, "en", asked(r=16))
    figures = re.findall(r'<figure class="ls-low-rank" data-layer="\d"( hidden)?>.*?aria-label="([^"]*)"', text)
    assert len(figures) == 7 and [said for hidden, said in figures if not hidden] == [
        next(said for _, said in figures if "14,336 x 4,096" in said)
    ]
    assert any(
        "4,096 x 4,096 = 16,777,216" in said and "16 x (4,096 + 4,096) = 131,072 values" in said for _, said in figures
    )


def test_the_first_change_is_the_advice_and_its_button_makes_it_fit():
    what = asked(method="lora", max_length=8192, per_device_train_batch_size=4)
    first = applied(shown(change, "en", what))[0]
    assert first == json.loads(json.dumps(advise(what.recipe, what.gpu).cheapest.values))
    assert estimate(what.recipe.replace(**first), what.gpu).fits


@pytest.mark.parametrize("lang", LANGUAGES)
def test_buttons_of_one_word_have_names_of_their_own(lang):
    what = asked(method="lora", max_length=8192, per_device_train_batch_size=4)
    for panel, word in ((change, "apply"), (take, "copy")):
        found = re.findall(r'<button[^>]* aria-label="([^"]*)"[^>]*>([^<]*)</button>', shown(panel, lang, what))
        names = [name for name, text in found if text == t(lang, f"estimate.{word}")]
        assert len(names) > 2 and len(set(names)) == len(names)
        assert all(name.startswith(t(lang, f"estimate.{word}")) for name in names)


def test_every_cell_of_what_fits_is_its_own_estimate():
    what = asked()
    text = shown(fits, "en", what)
    cells = re.findall(
        r'<td class="ls-cell-(\w+)"[^>]*><button type="button" data-apply="([^"]*)" aria-label="([^:]*):', text
    )
    assert len(cells) > 60
    for verdict, values, size in cells[:: len(cells) // 12]:
        made = estimate(what.recipe.replace(**json.loads(html.unescape(values))), what.gpu)
        assert verdict == ("close" if made.is_close else "fits" if made.fits else "misses")
        assert size == f"{made.device_bytes / 2**30:,.2f} GiB"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"packing": True},
        *({"method": "lora", "num_processes": 4, "distributed_type": kind} for kind in DISTRIBUTED_TYPES),
    ],
    ids=str,
)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_why_and_the_picture_say_the_same_of_every_component(lang, fields):
    """Also of one device of several: of weights cut by four the picture said 3.74 GiB and Why 14.96."""
    what = asked("A100 SXM4 80GB", **fields)
    text, bars = shown(why, lang, what), picture(lang, what)
    made = estimate(what.recipe, what.gpu)
    assert what.answer.to_dict() == made.to_dict()
    for name, size in made.components.items():
        assert not size or f"= {size:,} B</code>" in text
        assert f"<td>{size:,}</td>" in bars and f"<td>{size:,}</td>" in text, name
    assert "None" not in re.sub("<[^>]*>", " ", text)


REFUSED = {"zero3": ["int8"], "fsdp": ["int8"], "tp": ["nf4", "int8"]}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("kind", DISTRIBUTED_TYPES)
def test_a_bar_that_cannot_be_says_so_in_its_place_and_the_others_stand(kind, lang):
    """Also in the files to take away."""
    stored = {"bnb_4bit_quant_storage": "bfloat16"}
    what = asked("A100 SXM4 80GB", method="lora", num_processes=4, distributed_type=kind, **stored)
    text = picture(lang, what)
    radios = re.findall(r'<div class="ls-bar[^>]* role="radio"[^>]*>', text)
    assert [key for key, radio in zip(METHODS, radios, strict=True) if "aria-disabled" in radio] == REFUSED.get(
        kind, []
    )
    assert len(re.findall('class="ls-bar-note"', text)) == len(REFUSED.get(kind, []))
    taken = shown(take, lang, what)
    files = dict(re.findall(r'download="([^"]*)" href="data:[^,]*base64,([^"]*)"', taken))
    body = json.loads(base64.b64decode(files["estimate.json"]))["estimates"]
    table = list(csv.reader(io.StringIO(base64.b64decode(files["estimate.csv"]).decode())))
    for n, (bar, key) in enumerate(zip(bars_of(lang, what), METHODS, strict=True)):
        if key in REFUSED.get(kind, []):
            assert html.escape(explain(lang, bar.answer)) in text and body[bar.name]["code"] == "recipe.conflict"
            assert table[-1][0] == "refused" and table[-1][n + 1] == str(bar.answer)
        else:
            assert body[bar.name]["device_bytes"] == bar.answer.device_bytes
    for panel in PANELS[:-2]:
        assert len(shown(panel, lang, what)) > 100


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_chosen_bar_that_cannot_be_says_so_and_the_verdict_names_those_that_fit(lang):
    """Chosen by hand before the field that it cannot be combined with: no recipe, so neither counts nor an address."""
    why = Problem(
        "recipe.conflict", field="quantization", value="int8", other="distributed_type fsdp", allowed="Use nf4"
    )
    what = asked("A100 SXM4 80GB", method="lora", num_processes=4, distributed_type="fsdp")
    text = picture(lang, replace(what, refused=("int8", why)))
    radios = re.findall(r'<div class="ls-bar[^>]* role="radio"[^>]*>', text)
    assert 'aria-checked="true" aria-disabled="true"' in radios[1] and 'tabindex="0"' in radios[0]
    assert text.count('aria-checked="true"') == 1 == text.count('tabindex="0"')
    fitting = [bar.name for bar in bars_of(lang, what) if bar.verdict == "fits"]
    method = t(lang, "recipe.method_int8")
    said = t(lang, "estimate.method_refused", method=method) + " "
    said += t(lang, "estimate.others_fit", methods=t(lang, "estimate.comma").join(fitting))
    assert fitting and f"✕ {said}" in text and "data-question" not in text


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    ("fields", "rows", "tokens"),
    [
        ({}, "20,000", "1000"),
        ({"num_train_epochs": 1.0}, "", ""),
        ({"max_steps": 500}, "", "700"),
        ({"gradient_accumulation_steps": 4, "max_length": 2048}, "5000", None),
        ({"method": "lora", "num_processes": 2, "distributed_type": "fsdp"}, "20000", "1000"),
    ],
    ids=str,
)
def test_the_verdict_says_the_hours_that_the_ranking_has_and_what_they_leave_out(lang, fields, rows, tokens):
    what = asked(**fields)
    said = re.search(
        r'class="ls-verdict.*?<span class="ls-hours">(.*?)</span>', picture(lang, what, data=(rows, tokens))
    )
    number = lambda text: int(text.replace(",", "")) if text else None  # noqa: E731
    costing = Costing(rows=number(rows) or 1000, tokens_per_row=number(tokens) if rows else None)
    low, high = (getattr(priced(what.recipe, what.gpu, costing).throughput.hours, end) for end in ("low", "high"))
    first, last = re.search(r"([\d.,]+)–([\d.,]+) (?:hours|小时)", said[1]).groups()
    assert float(first) == pytest.approx(low, rel=0.06) and float(last) == pytest.approx(high, rel=0.06)
    for left_out in {"en": ("download", "start-up", "billing"), "zh-CN": ("下载", "启动", "计费")}[lang]:
        assert left_out in said[1]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_where_no_time_is_known_the_verdict_says_why_and_where_nothing_fits_it_has_none(lang):
    offloaded = {"method": "lora", "num_processes": 2, "distributed_type": "zero3", "offload_param_device": "cpu"}
    text = picture(lang, asked(**offloaded))
    assert "offload_param_device" in re.search(r'<span class="ls-hours">(.*?)</span>', text)[1]
    beyond = picture(lang, asked(), data=("20", "99999"))
    assert "tokens_per_row" in re.search(r'<span class="ls-hours">(.*?)</span>', beyond)[1]
    assert "ls-hours" not in picture(lang, asked(method="full"))


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("rslora", [False, True])
def test_ranks_are_compared_at_a_scale_that_is_said_and_alpha_can_move_along(lang, rslora):
    what = asked(r=8, lora_alpha=32, use_rslora=rslora)
    scale = f"{32 / 8**0.5:.3g}" if rslora else "4"
    counts = re.search(r'id="estimate-counts">(.*?)</p>', picture(lang, what))[1]
    assert f"= {scale}" in counts
    assert applied(counts) == ([] if rslora else [{"lora_alpha": 16}])
    assert applied(re.search(r'id="estimate-counts">(.*?)</p>', picture(lang, asked()))[1]) == []
    table = shown(fits, lang, what)
    note = re.search(r'<p class="ls-note">([^<]*alpha/[^<]*)</p>', table)[1]
    cells = re.findall(r'data-alpha="(\d+)"><button type="button" data-apply="([^"]*)"', table)
    ranks = [json.loads(html.unescape(values))["r"] for _, values in cells]
    in_table = [
        json.loads(html.unescape(one))["r"]
        for one in re.findall(r'<td[^>]*data-alpha[^>]*><button type="button" data-apply="([^"]*)"', table)
    ]
    assert set(in_table) < set(ranks)  # and the largest
    for rank in (min(in_table), max(in_table)):
        assert f"{what.recipe.replace(r=rank).scaling:.3g}" in note
    for alpha, rank in zip((int(alpha) for alpha, _ in cells), ranks, strict=True):
        moved = what.recipe.replace(r=rank, lora_alpha=alpha)
        assert moved.scaling == pytest.approx(what.recipe.scaling, abs=0.5 / (rank**0.5 if rslora else rank))


def test_the_link_gives_the_recipe_back():
    what = asked(r=7, target_modules=("q_proj",), gradient_checkpointing=False)
    (link,) = re.findall(r'data-copy="link" data-text="([^"]*)"', shown(take, "en", what))
    fields, card = from_query(html.unescape(link))
    assert (Recipe.from_dict(fields), card) == (what.recipe, what.gpu.name)


def test_cards_of_ones_own_come_first_and_are_text():
    mine = {"name": "=<b>mine</b>", "memory_gib": 48, "usd_per_hour": 0.5}
    text = shown(cards, "en", asked(), own=[mine, {"name": ""}, "broken", {"name": "x", "memory_gib": -1}])
    assert named(text)[0] == "=<b>mine</b>"
    assert "<b>mine" not in text and "own price" in text


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({"name": ""}, "own_name"),
        ({"name": "new"}, "own_memory_gib"),
        ({"name": "new", "memory_gib": 0}, "own_memory_gib"),
        ({"name": "RTX 4090", "usd_per_hour": float("nan")}, "own_usd_per_hour"),
    ],
)
def test_a_card_of_ones_own_is_checked(stated, field):
    with pytest.raises(Problem) as said:
        own_card(stated)
    assert said.value.field == field


def test_a_price_of_ones_own_keeps_the_catalogues_card():
    card = own_card({"name": "RTX 4090", "purchase_usd": 1000})
    assert card.gpu.name == "GeForce RTX 4090" and card.gpu.launch_msrp_usd == 1000
    assert card.gpu.usable_bytes() == find_gpu("RTX 4090").usable_bytes()


@pytest.mark.parametrize(
    "options", [{"rows": "many"}, {"rows": "0"}, {"rows": "1e99"}, {"hours_per_month": "-3"}, {"sort": "luck"}], ids=str
)
def test_wrong_options_name_their_field(options):
    with pytest.raises(Problem) as said:
        shown(cards, "en", asked(), **options)
    assert said.value.field == next(iter(options))


def test_filters_leave_what_they_say():
    text = shown(cards, "en", asked(), least_gib="100", kinds=["datacenter"], way="rent")
    assert named(text) and all(find_gpu(name).memory_gib >= 100 for name in named(text))


def test_the_file_has_the_colours_of_the_page():
    from studio import shipped

    tokens = (shipped.assets() / "theme" / "tokens.css").read_text()
    light = tokens.partition(".dark")[0]
    assert COLOURS == dict(re.findall(r"--ls-(\w+): (#\w+);", light[light.index("--ls-weights") :])) | {}


def test_the_picture_of_four_bits_of_the_other_kind_is_its_own():
    assert picture("en", asked(quantization="fp4", bnb_4bit_use_double_quant=False)) != picture("en", asked())


@pytest.mark.parametrize(
    ("text", "number"), [("5,000", 5000), ("5_000", 5000), ("1,234,567.5", 1234567.5), ("0.5", 0.5), ("", None)]
)
def test_numbers_beside_the_recipe_may_be_grouped(text, number):
    assert panel_options.stated_number({"rows": text}, "rows") == number


@pytest.mark.parametrize("text", ["0,5", "5,00", "many", "1e", "1,2,3"])
def test_a_comma_that_may_be_a_decimal_one_is_refused(text):
    with pytest.raises(Problem) as caught:
        panel_options.stated_number({"rows": text}, "rows")
    assert caught.value.field == "rows" and caught.value.params["value"] == text


def test_the_chosen_card_is_in_the_table_however_many_of_it_are_needed():
    recipe = Recipe(model="meta-llama/Llama-3.1-70B", max_length=4096, per_device_train_batch_size=1)
    html = cards.render("en", Asked(recipe, find_gpu("RTX 4090"), open_model(recipe.model)), **RANKING)
    first = html.split("<tbody")[1].split("</tr>")[0]
    assert 'aria-current=true data-card="GeForce RTX 4090"' in first and "cards (FSDP2)" in first


QUESTION = {
    "rows": "50,000", "tokens_per_row": "512", "usd_per_kwh": "0.3", "hours_per_month": "100", "devices": "2",
    "owned": "2 x RTX 3090",
    "compare": "RTX 5090, 2 x RTX 4090, A16 (per GPU, 4 per board)", "search": "rtx", "least_gib": "20",
    "most_usd_per_hour": "5",
    "sort": "hours", "way": "rent", "vendors": ["NVIDIA"], "kinds": ["consumer"], "whole": True,
    "own": [{"name": "mine, =1", "memory_gib": 48.0, "usd_per_hour": 0.5}],
}  # fmt: skip


def test_every_field_of_which_gpu_goes_round_by_the_link():
    """Read back, the link gives the controls, the table, the comparison and the files as they were."""
    assert set(QUESTION) == set(panel_options.DEFAULTS)
    assert all(QUESTION[name] != default for name, default in panel_options.DEFAULTS.items())
    what = asked(num_train_epochs=1.5)
    (link,) = re.findall(r'data-copy="link" data-text="([^"]*)"', take.render("en", replace(what, options=QUESTION)))
    params = dict(parse_qsl(html.unescape(link)))
    said, refused = panel_options.of_address(params)
    assert said == QUESTION and refused == []
    fields, card = from_query(html.unescape(link))
    again = Asked(Recipe.from_dict(fields), find_gpu(card), what.model, options=said)
    assert again.recipe == what.recipe
    for panel, options in ((take, {}), (cards, QUESTION)):
        first = panel.render("zh-CN", replace(what, options=QUESTION), **options)
        assert panel.render("zh-CN", again, **(said if panel is cards else {})) == first
    for name in QUESTION:  # and each alone
        alone = {name: QUESTION[name]}
        assert panel_options.of_address(dict(parse_qsl(panel_options.address_of(alone)))) == (alone, [])


@pytest.mark.parametrize(
    ("name", "text"),
    [("rows", "many"), ("rows", "0"), ("devices", "9"), ("devices", "x"), ("owned", "no card"),
        ("compare", "RTX 4090,L4,T4,A30"),
     ("sort", "luck"), ("way", "steal"), ("vendors", "5"), ("kinds", '["no"]'), ("whole", "perhaps"),
     ("usd_per_kwh", "-1")],
)  # fmt: skip
def test_what_an_address_asks_wrong_is_named_and_the_rest_taken(name, text):
    said, refused = panel_options.of_address({"least_gib": "20", name: text})
    assert [problem.field for problem in refused] == [name] and said == {"least_gib": "20"}


def downloads(text: str) -> dict[str, str]:
    found = re.findall(r'<a download="([^"]*)" href="data:[^,]*,([^"]*)"', text)
    return {name: base64.b64decode(data).decode() for name, data in found}


def test_what_is_taken_away_holds_rows_hours_energy_and_money_as_the_page_says_them():
    options = {name: QUESTION[name] for name in ("rows", "tokens_per_row", "usd_per_kwh", "hours_per_month", "compare")}
    what = replace(asked(num_train_epochs=1), options=options)
    costing = panel_options.costing_of(options)
    run = priced(what.recipe, what.gpu, costing, model=what.model)
    files = downloads(take.render("en", what))
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files["estimate.csv"]))}
    said = json.loads(files["estimate.json"])
    first = next(iter(said["runs"].values()))
    for name, value in (
        ("hours", run.throughput.hours),
        ("energy_kwh", run.throughput.energy_kwh),
        ("run_usd", run.cost.run_usd),
    ):
        for end, column in (("low", f"{name}_low"), ("central", name), ("high", f"{name}_high")):
            assert float(rows[column][0]) == first[column] == getattr(value, end)
        assert f"{value.central:,.2f} ({value.low:,.2f} – {value.high:,.2f})" in files["estimate.md"]
        assert f"{value.low:,.2f}" in cards.render("en", replace(what, options={}), **options | {"compare": "RTX 4090"})
    assert (rows["rows"][0], rows["tokens_per_row"][0], rows["num_train_epochs"][0]) == ("50000", "512", "1.0")
    assert said["costing"] == costing.stated() and [one["cards"] for one in said["compared"]] == [1, 2, 1]
    stated = tomllib.loads(files["recipe.toml"])
    assert stated["rows"] == 50_000 and stated["compare"] == said["costing"]["compare"]
    shown = downloads(cards.render("en", what, **options))
    assert list(csv.DictReader(io.StringIO(shown["compared.csv"])))[1]["hours"] == str(said["compared"][1]["hours"])
    assert [one["card"] for one in json.loads(shown["cards.json"])["cards"]] == named(
        cards.render("en", what, **options)
    )


def test_the_command_and_python_that_are_taken_away_say_the_same_money(capsys, tmp_path):
    options = {"rows": "1,000", "usd_per_kwh": "0.3", "owned": "RTX 4090"}
    what = replace(asked(num_train_epochs=1), options=options)
    costing = panel_options.costing_of(options)
    usd = vars(priced(what.recipe, what.gpu, costing, model=what.model).cost.run_usd)
    words = shlex.split(command_line(what.recipe, what.gpu.name, what.conditions, costing))
    assert cli.main([*words[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["cost"]["run_usd"] == usd
    exec(python_code(what.recipe, what.gpu.name, what.conditions, costing), {})
    assert str(usd) in capsys.readouterr().out
    file = tmp_path / "recipe.toml"
    file.write_text(downloads(take.render("en", what))["recipe.toml"])
    assert cli.main(["estimate", "--recipe", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["cost"]["run_usd"] == usd


def test_a_card_of_ones_own_goes_along_into_the_command_python_and_the_address(capsys):
    mine = {"name": "My card, the big one", "memory_gib": 24.0, "usd_per_hour": 0.125, "purchase_usd": 900.0}
    options = {"rows": "1,000", "own": [mine], "compare": "RTX 4090"}
    what = replace(asked(num_train_epochs=1), options=options)
    taken = re.findall(r"<pre[^>]*>(.*?)</pre>", take.render("en", what), re.S)
    _, commands, python = map(html.unescape, taken)
    assert (
        gpus_command.main([*shlex.split(commands.splitlines()[1])[2:], "--json", "--compare", "My card the big one"])
        == 0
    )
    own = panel_options.own_cards([mine | {"name": "My card the big one"}])
    costing = panel_options.costing_of(options | {"compare": "My card the big one"})
    expected = compared(what.recipe, costing, model=what.model, own=own)[0].to_dict()["cost"]
    assert json.loads(capsys.readouterr().out)["gpus"][0]["cost"] == json.loads(json.dumps(expected))
    assert expected["purchase_usd"] == 900 and expected["rents"][0]["usd_per_hour"] == 0.125
    exec(python, {})
    words = ["--model", what.recipe.model, "--rows", "1000", "--sort", "cost"]
    capsys.readouterr()
    assert gpus_command.main([*words, "--own-card", "Slow one, memory_gib=24"]) == 0
    assert "Slow one" in capsys.readouterr().out, "shown wherever it stands"
    words = ["--model", what.recipe.model, "--rows", "1000", "--compare", "RTX 4090"]
    assert gpus_command.main([*words, "--own-card", "RTX 4090, usd_per_hour=0.125"]) == 0
    out = capsys.readouterr().out
    link = out[out.index("?tab=") :].split()[0]
    said, refused = panel_options.of_address(dict(parse_qsl(link[1:])))
    assert not refused and said["own"] == [{"name": "RTX 4090", "usd_per_hour": 0.125}]


@pytest.mark.parametrize(
    "text, field", [("My card", "own_memory_gib"), ("RTX 4090, usd=2", "own_card"), ("RTX 4090, usd_per_hour=much",
     "own_usd_per_hour"), ("RTX 4090, usd_per_hour=-1", "own_usd_per_hour"), (", memory_gib=24", "own_name")]
)  # fmt: skip
def test_a_card_of_ones_own_that_cannot_be_read_names_the_figure(text, field):
    with pytest.raises(Problem) as caught:
        read_card(text)
    assert caught.value.field == field


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_count_that_was_chosen_is_priced_and_said(lang):
    text = shown(cards, lang, asked(), devices="2", rows="1000")
    assert "DDP" in text and "estimate.unknown" not in text
    plain = html.unescape(re.sub("<[^>]*>", " ", text))
    assert t(lang, "estimate.answer_for", card="2 × GeForce RTX 4090") in plain
    assert t(lang, "estimate.cards_basis_card") in plain and t(lang, "estimate.cards_basis_family") in plain


def test_what_is_taken_away_names_the_question_that_the_picture_shows():
    """So that the page can tell what is of the question before (`assets/scripts/taken.js`)."""
    what = asked(r=3)
    questions = [
        re.findall(r'data-question="([^"]*)"', html) for html in (take.render("en", what), picture("en", what))
    ]
    assert questions[0] == questions[1] and "r=3" in questions[0][0]

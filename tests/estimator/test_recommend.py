"""Plans for a model, a dataset and a budget."""

from __future__ import annotations

import math

import pytest

from estimator import Problem, Recipe, estimate
from estimator.advice.ranking import rank, rent_usd
from estimator.advice.recommend import Wish, recommend
from estimator.cost.rows import uniform
from estimator.model.catalog import load_preset

MODEL = "meta-llama/Llama-3.1-8B"
GPT2 = "openai-community/gpt2"
WISH = {"rows": 20_000, "tokens_per_row": 1000}


def asked(fields=(), **wish):
    return recommend({"model": MODEL, **dict(fields)}, Wish(**WISH, **wish))


def test_no_card_of_any_method_is_cheaper_than_the_first_plan():
    """The reference ranks each method on its own."""
    recipes = [Recipe(model=MODEL, method=method, max_length=1024) for method in ("full", "lora", "qlora")]
    ranked = [one for recipe in recipes for one in rank(recipe, uniform(20_000, 1000, recipe)) if one.estimate.fits]
    best = asked(plans=100).plans
    assert best[0].usd == min(map(rent_usd, ranked))
    fitting = {one.gpu.name for one in ranked}
    assert {plan.candidate.gpu.name for plan in best} <= fitting and len(
        {plan.candidate.gpu.name for plan in best}
    ) == min(100, len(fitting))


def test_a_budget_leaves_out_what_costs_more_and_only_that():
    everything = [plan.usd for plan in asked(plans=100).plans if math.isfinite(plan.usd)]
    budget = everything[len(everything) // 2]
    assert [plan.usd for plan in asked(plans=100, budget_usd=budget).plans] == [
        usd for usd in everything if usd <= budget
    ]


def test_a_card_to_buy_is_judged_by_its_price():
    plans = asked(buy=True, budget_usd=2000).plans
    assert plans and all(plan.usd == plan.candidate.cost.purchase_usd <= 2000 for plan in plans)


def test_a_method_that_was_chosen_is_kept():
    assert {plan.recipe.method for plan in asked({"method": "lora"}).plans} == {"lora"}


def test_where_nothing_fits_the_budget_the_recipe_changes_and_says_how():
    made = asked({"method": "full"}, buy=True, budget_usd=800)
    assert made.plans and made.nearest is None
    for plan in made.plans:
        assert plan.changes and plan.usd <= 800
        assert plan.recipe == Recipe(model=MODEL, method="full", max_length=1024).replace(
            **{n: v for c in plan.changes for n, v in c.values.items()}
        )
        assert estimate(plan.recipe, plan.candidate.gpu).fits


def test_a_budget_that_buys_nothing_names_the_nearest():
    made = asked(budget_usd=0.01)
    assert made.plans == () and made.nearest.usd == asked().plans[0].usd


def test_rows_are_as_long_as_the_data_and_the_model_allow():
    longest = load_preset(GPT2).spec.max_position_embeddings
    made = recommend({"model": GPT2}, Wish(lengths=[100, 900, 5000], plans=1))
    assert made.plans[0].recipe.max_length == longest and made.dataset.dropped_rows == 1
    assert recommend({"model": GPT2}, Wish(lengths=[100, 300], plans=1)).plans[0].recipe.max_length == 320


def test_a_cost_that_is_unknown_is_within_no_budget():
    """No law of an eager step ships, so its hours are not known."""
    eager = {"model": GPT2, "attn_implementation": "eager"}
    assert recommend(eager, Wish(rows=10)).plans[0].to_dict()["usd"] is None
    made = recommend(eager, Wish(rows=10, budget_usd=1e6))
    assert made.plans == () and made.nearest.to_dict()["usd"] is None


def test_a_method_the_model_cannot_take_is_told():
    made = recommend({"model": MODEL, "dtype": "float16"}, Wish(**WISH))
    assert set(made.refused) == {"full"} and {plan.recipe.method for plan in made.plans} <= {"lora", "qlora"}
    with pytest.raises(Problem):
        recommend({"model": MODEL, "dtype": "float16", "method": "full"}, Wish(**WISH))


@pytest.mark.parametrize(
    ("wish", "field"),
    [({}, "rows"), ({"rows": 1.5}, "rows"), ({"lengths": []}, "lengths"), ({"lengths": [0]}, "lengths"),
        ({"lengths": [5], "rows": 1}, "rows"),
     ({"rows": 1, "plans": 0}, "plans"), ({"rows": 1, "budget_usd": math.nan}, "budget_usd"),
     ({"rows": 1, "buy": "no"}, "buy")],
)  # fmt: skip
def test_a_wish_names_the_field_at_fault(wish, field):
    with pytest.raises(Problem) as caught:
        Wish(**wish)
    assert caught.value.field == field


def test_what_no_card_holds_alone_is_spread_over_the_fewest_that_do():
    made = recommend(
        {"model": "meta-llama/Llama-3.1-70B", "method": "full"}, Wish(rows=1000, tokens_per_row=1000, plans=100)
    ).plans
    assert {plan.candidate.devices for plan in made} <= {2, 4, 8}
    first = made[0].to_dict()
    n = first["devices"]
    assert (
        first["recipe"]["num_processes"] == n == made[0].recipe.num_processes
        and estimate(made[0].recipe, made[0].candidate.gpu).fits
    )
    assert not any(
        estimate(made[0].recipe.replace(num_processes=fewer), made[0].candidate.gpu).fits
        for fewer in (2, 4)
        if fewer < n
    )
    assert first["sharded"]["headroom_bytes"] > 0 and made[0].usd <= made[-1].usd


def test_several_cards_are_bought_at_the_price_of_all():
    plans = recommend({"model": MODEL, "method": "full"}, Wish(**WISH, buy=True, plans=100)).plans
    spread = [plan for plan in plans if plan.candidate.devices > 1]
    assert spread and all(
        plan.usd in (math.inf, plan.candidate.devices * (plan.candidate.gpu.launch_msrp_usd or 0)) for plan in spread
    )

"""The restated matching rules against PEFT itself, on the meta device: names and shapes of every trained tensor."""

import math
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.adapters.adapters import trainables
from estimator.adapters.matching import default_targets
from estimator.core.problems import Problem
from estimator.program.program import lora_config
from estimator.recipe.recipe import Recipe
from tests.estimator import small

LEAVES = (
    "q_proj",
    "v_proj",
    "self_attn.q_proj",
    "c_proj",
    "gate_up_proj",
    "w1",
    "w3",
    "gate",
    "lm_head",
    "model.layers.1.self_attn.q_proj",
    "layers.0.mlp.up_proj",
    "mlp",
    "norm",
    "nothing",
)
EXPRESSIONS = (
    "all-linear", "ALL-LINEAR", r".*\.(q|v)_proj", r".*layers\.[01]\..*proj", r".*attn.*", r".*\.c_(attn|fc)",
    r".*(experts|mlp).*_proj", r".*lm_head", "q_proj", r".*mlp\..*", r".*(query|value|\.q|\.v)",
    r".*visual.*(qkv|fc\d)", r"(?i).*Q_PROJ",
)  # fmt: skip
PATTERNS = (
    "q_proj",
    "v_proj",
    r"layers\.1\..*",
    "gate_up_proj",
    "c_attn",
    r".*\.down_proj",
    "1.self_attn.q_proj",
    "query",
    r"block\.0\..*",
    r".*\.gate_up_proj",
)
SAVED = ("lm_head", "embed_tokens", "wte", "norm", "model.norm", "ln_f", "pooler", "layers", "nothing")
WRONG_TENSORS = ("gate.weight", "norm.weight", "1.mlp.experts.down_proj", "nothing")
WRONG_EMBEDDINGS = ("q_proj", "norm", "nothing")


def unique(choices, most):
    return st.lists(st.sampled_from(sorted(choices)), min_size=1, max_size=most, unique=True).map(tuple)


def recipes(name):
    """Fields of recipes for the model `name`: mostly its own names, and some that fit nothing.

    Few of the optional fields at once: most combinations of many are refused, and a refusal shows little.
    """
    inventory = small.inventory(name)
    leaves = [
        *inventory.leaf_names(),
        *(module for module in (inventory.input_embedding, inventory.output_embedding) if module),
    ]
    single = {
        f"{n.rpartition('.')[2]}.{p.name}"
        for n, g in inventory.by_name.items()
        for p in g.parameters
        if len(p.shape) in (2, 3)
    }
    embeddings = {n.rpartition(".")[2] for n, g in inventory.by_name.items() if g.kind == "Embedding"} | {
        inventory.output_embedding or "nothing"
    }
    rows = st.lists(st.integers(0, 140), min_size=1, max_size=4, unique=True).map(tuple)
    patterns = st.one_of(
        st.none(), st.dictionaries(st.sampled_from((*PATTERNS, *leaves)), st.integers(1, 40), min_size=1, max_size=3)
    )
    targets = (
        unique(leaves, 4),
        unique(leaves, 4),
        unique({*LEAVES, *leaves}, 6),
        st.sampled_from(EXPRESSIONS),
        st.sampled_from((None, ())),
    )
    optional = {
        "exclude_modules": st.one_of(st.just(r".*layers\.2\..*"), unique({*LEAVES, *leaves}, 2)),
        "layers_to_transform": st.sampled_from(((0,), (1, 2), (7,))),
        "layers_pattern": st.sampled_from(("layers", "h", ("layers", "h"), r"(?:layers|block)")),
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
        "modules_to_save": unique(SAVED, 2),
        "bias": st.sampled_from(("all", "lora_only")),
        "lora_bias": st.just(True),
        "use_dora": st.just(True),
        "lora_dropout": st.just(0.1),
        "target_parameters": unique({*single, *WRONG_TENSORS}, 2),
        "trainable_token_indices": st.one_of(rows, st.dictionaries(st.sampled_from((*sorted(embeddings),
            *WRONG_EMBEDDINGS)), st.sampled_from(((1,), (0, 5))), min_size=1, max_size=2)),
        "init_lora_weights": st.sampled_from(("false", "gaussian", "orthogonal", "olora", "pissa", "pissa_niter_2",
            "mica")),
    }  # fmt: skip
    wanted = st.sets(st.sampled_from(sorted(optional)), max_size=3)
    always = {"target_modules": st.one_of(*targets), "r": st.integers(1, 80)}
    return wanted.flatmap(
        lambda names: st.fixed_dictionaries(always | {name: optional[name] for name in sorted(names)})
    )


cases = st.sampled_from(sorted(small.CONFIGS)).flatmap(lambda name: st.tuples(st.just(name), recipes(name)))


def by_peft(name: str, recipe: Recipe) -> dict[str, tuple[int, ...]] | Exception:
    """Name (without PEFT's prefix, wrappers and adapter name) and shape of what PEFT trains; its error where it
    refuses."""
    import torch
    from peft import get_peft_model
    from peft.tuners.lora.layer import ParamWrapper

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = lora_config(recipe)
            config.task_type = small.TASKS.get(name, config.task_type)
            with torch.device("meta"):
                model = get_peft_model(small.build(name), config)
        except Exception as error:
            return error
    single = {n: module.parameter_name for n, module in model.named_modules() if isinstance(module, ParamWrapper)}
    found = {}
    for full, tensor in model.named_parameters():
        if tensor.requires_grad:
            holder = full.partition(".lora_")[0]
            marked = full.replace(holder, f"{holder}.{single[holder]}") if holder in single else full
            found[_plain(marked)] = tuple(tensor.shape)
    return found


def _plain(name: str) -> str:
    name = name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".original_module", "")
    name = name.replace(".default", "")
    return name.removesuffix(".weight") if ".lora_" in name else name


def by_us(name: str, recipe: Recipe) -> dict[str, tuple[int, ...]] | Problem:
    try:
        made = trainables(recipe, small.inventory(name))
    except Problem as problem:
        return problem
    tensors = dict(made.tensors())
    assert made.parameters == sum(map(math.prod, tensors.values()))
    return tensors


@pytest.mark.parametrize("name", [name for name in small.CONFIGS if name != "mamba"])
@pytest.mark.parametrize(
    "target_modules", ["all-linear", ("q_proj", "v_proj", "c_attn", "query_key_value", "qkv_proj", "query", "q", "qkv")]
)
def test_trained_tensors_are_pefts(name, target_modules):
    recipe = Recipe(model=name, method="lora", r=8, target_modules=target_modules)
    expected = by_peft(name, recipe)
    assert expected and by_us(name, recipe) == expected


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases)
def test_any_recipe_trains_the_tensors_peft_trains(case):
    """Equal tensors; where PEFT refuses we refuse; where only we refuse, the reason is listed."""
    name, fields = case
    try:
        recipe = Recipe(model=name, method="lora", **fields)
    except Problem as problem:
        assert problem.code == "recipe.conflict"
        return
    ours, theirs = by_us(name, recipe), by_peft(name, recipe)
    if isinstance(ours, Problem):
        assert isinstance(theirs, Exception) or refused_on_purpose(ours, recipe), str(ours)
    else:
        assert ours == theirs


def refused_on_purpose(problem: Problem, recipe: Recipe) -> bool:
    """What PEFT lets through and we do not, each for the reason beside it."""
    field, text = problem.field, str(problem)
    tensors = recipe.target_parameters or ()
    return (
        # it matches nothing or overlaps, and PEFT goes on silently
        field == "modules_to_save"
        # on the meta device an index is not checked; rows of a layer other than an embedding are no tokens
        or (
            field == "trainable_token_indices"
            and (problem.code in ("recipe.range", "estimator.no_match") or "one way only" in text)
        )
        # not checked on the meta device (LoraLayer.mica_init)
        or (problem.code == "estimator.init_rank" and recipe.init_lora_weights == "mica")
        # A and B come out transposed: the first forward fails
        or (field == "init_lora_weights" and recipe.init_lora_weights == "olora")
        # a start out of the base's weight, on a tensor; name the module instead
        or (field == "init_lora_weights" and any(name.endswith("weight") for name in tensors))
        # a convolution in groups: its adapter cannot be merged
        or "conv1d is a Other" in text
    )


def test_nothing_matched_names_what_there_is():
    with pytest.raises(Problem) as caught:
        trainables(Recipe(model="llama", target_modules=("q_porj",)), small.inventory("llama"))
    assert caught.value.field == "target_modules"
    assert "q_porj" in str(caught.value) and "q_proj, k_proj, v_proj, o_proj" in str(caught.value)


def test_the_table_of_default_targets_is_pefts():
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    assert default_targets() == TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING


@pytest.mark.parametrize(
    ("name", "fields", "field", "words"),
    [
        ("llama", {"lora_bias": True, "use_dora": True}, "lora_bias", "use_dora"),
        ("llama", {"lora_bias": True, "init_lora_weights": "pissa"}, "lora_bias", "init_lora_weights pissa"),
        ("llama", {"lora_bias": True, "target_modules": ("embed_tokens",)}, "lora_bias", "embed_tokens"),
        ("llama", {"init_lora_weights": "pissa", "method": "qlora"}, "init_lora_weights", "method qlora"),
        ("llama", {"init_lora_weights": "eva"}, "init_lora_weights", "pissa_niter_N"),
        ("llama", {"init_lora_weights": "orthogonal", "r": 7}, "r", "an even rank"),
        ("llama", {"init_lora_weights": "mica", "r": 65}, "r", "up to"),
        (
            "llama",
            {"target_modules": (), "target_parameters": ("experts.down_proj",)},
            "target_parameters",
            "no stacked tensors",
        ),
        (
            "qwen3-moe",
            {"target_modules": (), "target_parameters": ("experts.nothing",)},
            "target_parameters",
            "experts.gate_up_proj",
        ),
        (
            "qwen3-moe",
            {"target_modules": (), "target_parameters": ("down_proj",), "lora_bias": True},
            "lora_bias",
            "down_proj",
        ),
        (
            "llama",
            {"target_modules": ("q_proj",), "target_parameters": ("q_proj.weight",)},
            "target_parameters",
            "target_modules",
        ),
        (
            "llama",
            {"target_modules": (), "target_parameters": ("q_proj.weight",), "method": "qlora"},
            "target_parameters",
            "qlora",
        ),
        ("llama", {"trainable_token_indices": (128,)}, "trainable_token_indices", "0 to 127"),
        ("llama", {"trainable_token_indices": (-1,)}, "trainable_token_indices", "from 0"),
        ("llama", {"trainable_token_indices": (3, 3)}, "trainable_token_indices", "each row once"),
        ("llama", {"trainable_token_indices": {"embed": (1,)}}, "trainable_token_indices", "model.embed_tokens"),
        (
            "llama",
            {"trainable_token_indices": (1,), "modules_to_save": ("embed_tokens",)},
            "trainable_token_indices",
            "modules_to_save",
        ),
        (
            "gemma-tied",
            {"trainable_token_indices": (1,), "target_modules": ("lm_head",)},
            "trainable_token_indices",
            "lm_head",
        ),
        ("qwen2-vl", {"target_modules": None}, "target_modules", "qwen2_vl"),
        ("mamba", {"target_modules": ("out_proj",)}, "target_modules", "out_proj"),
        ("llama", {"target_modules": r".*mlp\..*"}, "target_modules", "act_fn"),
        ("llama", {"modules_to_save": ("layers",), "target_modules": ("lm_head",)}, "modules_to_save", "model.layers"),
    ],
)
def test_what_peft_cannot_make_is_refused_by_name(name, fields, field, words):
    with pytest.raises(Problem) as caught:
        trainables(Recipe(**{"model": name, "method": "lora", **fields}), small.inventory(name))
    assert caught.value.field == field and words in str(caught.value)


def test_a_tied_head_follows_the_rows_of_the_embedding():
    def count(name, rows):
        made = trainables(
            Recipe(model=name, method="lora", target_modules=("q_proj",), trainable_token_indices=rows),
            small.inventory(name),
        )
        return sum(math.prod(shape) for _, shape in made.rows)

    assert count("gemma-tied", (1, 2)) == count("gemma-tied", {"embed_tokens": (1, 2), "lm_head": (1, 2)}) == 2 * 64
    assert count("gemma-tied", {"embed_tokens": (1, 2), "lm_head": (1,)}) == 3 * 64
    assert count("llama", {"embed_tokens": (1, 2), "lm_head": (1, 2)}) == 4 * 64


def test_rank_above_the_layer_warns_and_counts():
    made = trainables(Recipe(model="llama", r=70, target_modules=("q_proj",)), small.inventory("llama"))
    assert made.parameters == 3 * 70 * (64 + 64)
    assert [code for code, _ in made.warnings] == ["estimator.rank_over_layer"]


def test_full_training_trains_every_tensor_once():
    assert (
        trainables(Recipe(model="gemma-tied", method="full"), small.inventory("gemma-tied")).parameters
        == small.inventory("gemma-tied").total_parameters
    )

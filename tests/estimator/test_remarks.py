"""What an answer says beside its figures, and what it refuses before a start: each case of `tests/estimator/cases` by
its kind."""

import json
import math

import pytest

from estimator import Problem, Recipe, check, estimate
from estimator.adapters.adapters import trainables
from estimator.cli.cli import main
from estimator.estimates.disk import disk_of, safetensors_bytes
from estimator.estimates.parts import parts_of
from estimator.hub.sources import model_from_config
from estimator.law.question import Question
from estimator.model.catalog import load_preset
from estimator.model.spec import ModelSpec
from tests.estimator import cases, small

torch = pytest.importorskip("torch")
MIXTURES = (
    "mistralai/Mixtral-8x7B-v0.1",
    "Qwen/Qwen3-30B-A3B",
    "openai/gpt-oss-20b",
    "deepseek-ai/DeepSeek-V2-Lite",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct",
)


def notes(made):
    return {note.code: note for note in made.warnings}


@pytest.mark.parametrize("id", MIXTURES)
def test_a_mixture_says_which_part_stays_whole_and_what_is_trained(id):
    recipe, model = Recipe(model=id, max_length=512), load_preset(id)
    made = estimate(recipe, model=model)
    whole = notes(made)["estimator.experts_whole"]
    stacked = sum(
        g.count * math.prod(p.shape)
        for g in model.inventory.groups
        for p in g.parameters
        if "experts" in g.name.split(".")[-1]
    )
    assert (
        whole.params["size"] == f"{2 * stacked / 2**30:.2f} GiB"
        and whole.params["version"] == made.versions["transformers"]
    )
    assert made.components["weights"] > 2 * stacked
    trained = notes(made).get("estimator.experts_trained")
    if id.startswith("openai"):
        assert trained is None and "experts.gate_up_proj" in notes(made)["estimator.experts_frozen"].params["allowed"]
        return
    experts = sum(
        g.parameters
        for g in trainables(recipe, model.inventory).adapters
        if g.leaf in ("gate_up_proj", "down_proj") and g.kind == "Experts"
    )
    assert trained.params["experts"] == f"{experts:,}" and trained.params["routers"] != "0"
    narrow = recipe.replace(target_modules=tuple(trained.params["allowed"].split()))
    assert "estimator.experts_trained" not in notes(estimate(narrow, model=model))
    assert "estimator.experts_whole" not in notes(estimate(recipe.replace(method="lora"), model=model))


def test_a_router_is_called_by_its_name():
    (over,) = [
        note for note in estimate(Recipe(model=MIXTURES[0])).warnings if note.code == "estimator.rank_over_layer"
    ]
    assert over.params["module"] == "gate.weight"


def test_the_answer_names_the_versions_it_is_for():
    data = estimate(Recipe(model=MIXTURES[0])).to_dict()
    assert data["versions"]["transformers"].split(".")[0] == "5"
    assert any("Transformers 5" in note["text"] for note in data["warnings"])


@pytest.mark.parametrize(
    ("id", "sees"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", True),
        ("google/gemma-3-4b-it", True),
        ("Qwen/Qwen3.5-0.8B", True),
        ("google/gemma-3-1b-it", False),
        ("google/flan-t5-base", False),
    ],
)
def test_a_model_that_sees_says_that_images_are_not_counted(id, sees):
    found = notes(estimate(Recipe(model=id, max_length=64)))
    assert ("estimator.images_not_counted" in found) is sees
    if sees:
        assert int(found["estimator.tower_trained"].params["value"].replace(",", "")) > 0
    narrow = notes(
        estimate(Recipe(model=id, max_length=64, target_modules=r".*(language_model|layers|block).*\.(q_proj|q)$"))
    )
    assert ("estimator.images_not_counted" in narrow) is sees


@pytest.mark.parametrize(
    ("changed", "context"),
    [
        ({}, 64),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}, 256),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}, 256),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8}},
            64,
        ),  # stated as scaled
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 64),
        ({"rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 16}}, 64),
        ({"rope_scaling": {"factor": float("inf"), "original_max_position_embeddings": 64}}, 64),
        ({"rope_scaling": {"factor": "4", "original_max_position_embeddings": True}}, 64),
    ],
)
def test_a_length_above_the_context_is_counted_with_a_warning(changed, context, tmp_path):
    config = small.CONFIGS["llama"] | changed
    assert ModelSpec.from_config(config).max_position_embeddings == context
    model = model_from_config(small.CONFIGS["llama"], "small", tmp_path)
    made = estimate(Recipe(model="small", max_length=65), model=model)
    assert (
        notes(made)["estimator.beyond_context"].params["allowed"] == "64"
        and check(Recipe(model="small", max_length=65), model=model) == []
    )
    assert "estimator.beyond_context" not in notes(estimate(Recipe(model="small", max_length=64), model=model))


@pytest.mark.parametrize("name", ["gpt2-conv1d", "opt-bias"])
def test_beyond_a_table_of_positions_nothing_can_be_trained(name):
    """The real model raises: the row is not there."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = small.CONFIGS[name]
    limit = config.get("n_positions") or config["max_position_embeddings"]
    real = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    real(torch.ones((1, limit), dtype=torch.int64))
    with pytest.raises(IndexError):
        real(torch.ones((1, limit + 1), dtype=torch.int64))
    model = model_from_config(config, "small")
    assert [problem.code for problem in check(Recipe(model="small", max_length=limit + 1), model=model)] == [
        "estimator.too_long"
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ("lm_head", "q_proj")},
        {"target_modules": r".*(lm_head|q_proj)"},
        {"target_modules": ("q_proj",), "modules_to_save": ("lm_head",)},
        {"target_modules": ("embed_tokens", "q_proj")},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["llama", "gemma-tied"])
def test_an_adapter_on_the_head_is_refused_where_trl_refuses_it(name, fields, tmp_path):
    import datasets
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from estimator.program.program import lora_config

    recipe = Recipe(model="small", method="lora", dtype="float32", max_length=16, **fields)
    model = model_from_config(small.CONFIGS[name], "small", tmp_path)
    refused = [problem.code for problem in check(recipe, model=model)] == ["estimator.head_adapted"]
    real = AutoModelForCausalLM.from_config(AutoConfig.for_model(**small.CONFIGS[name]))
    rows = datasets.Dataset.from_dict({"input_ids": [[1, 2, 3]], "labels": [[1, 2, 3]]})
    args = SFTConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], dataset_kwargs={"skip_prepare_dataset": True}
    )
    try:
        SFTTrainer(
            model=real,
            args=args,
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained("assets/base"),
            peft_config=lora_config(recipe),
        )
    except ValueError as error:
        assert refused and "lm_head" in str(error)
    else:
        assert not refused
    if refused:
        with pytest.raises(Problem):
            estimate(recipe, model=model)
        assert check(recipe, model=model, loop="trainer") == []  # Transformers' own loss goes through the adapter


def test_the_case_of_two_embeddings_is_what_peft_writes(tmp_path):
    """Two tables of 128,256 x 256 in bfloat16 beside the adapters."""
    model = model_from_config(cases.case("small_bigvocab"), "small", tmp_path)
    recipe = Recipe(
        model="small",
        method="lora",
        dtype="bfloat16",
        max_length=16,
        target_modules=("q_proj", "embed_tokens", "lm_head"),
    )
    parts = parts_of(Question(recipe, model, "trainer"))
    whole = [(name, shape, "bfloat16") for name, shape in parts.trained.saved_whole]
    assert sum(2 * math.prod(shape) for _, shape, _ in whole) == 2 * 2 * 128_256 * 256
    without = Recipe(model="small", method="lora", dtype="bfloat16", max_length=16, target_modules=("q_proj",))
    assert (
        disk_of(recipe, parts).weights_bytes
        > safetensors_bytes(whole) + disk_of(without, parts_of(Question(without, model, "trainer"))).weights_bytes
    )


RIGHT = {
    "chatglm_remote": "model.remote_code",
    "qwen1_remote": "model.remote_code",
    "unknown_type": "model.remote_code",
    "adapter_config": "model.is_adapter",
    "noarch": None,
    "float32_dtype": None,
    "gemma2_9b": None,
    "gptoss_mxfp4": None,
    "small_bigvocab": None,
    "llama31_bnb4": None,
    "qwen25_awq": "model.stored_untrainable",
    "qwen25_gptq": "model.stored_untrainable",
    "qwen25_gptq8": "model.stored_untrainable",
}


def test_every_case_has_its_right_answer():
    assert set(RIGHT) == set(cases.NAMES)


@pytest.mark.parametrize("name", [name for name in cases.NAMES if RIGHT[name]])
def test_the_command_refuses_a_case_in_one_line(name, capsys, tmp_path):
    assert main(["estimate", "--config", str(cases.path(name)), "--max-length", "64", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    with pytest.raises(Problem) as raised:
        estimate(Recipe(model=name), model=model_from_config(cases.case(name), name, tmp_path))
    assert raised.value.code == RIGHT[name]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("noarch", 8_030_261_248),
        ("float32_dtype", 8_030_261_248),
        ("gemma2_9b", 9_241_705_984),
        ("gptoss_mxfp4", 20_914_757_184),
        ("llama31_bnb4", 8_030_261_248),
    ],
)
def test_a_case_that_is_right_stays_right(name, parameters, tmp_path):
    assert RIGHT[name] is None
    model = model_from_config(cases.case(name), name, tmp_path)
    assert check(Recipe(model=name), model=model) == []
    made = estimate(Recipe(model=name, max_length=64), model=model)
    assert made.total_parameters == parameters and sum(made.components.values()) == made.peak_allocated_bytes


def test_an_adapters_folder_names_its_model(tmp_path, capsys):
    (tmp_path / "adapter_config.json").write_text(json.dumps(cases.case("adapter_config")))
    assert main(["estimate", "--model", str(tmp_path)]) == 2
    assert "meta-llama/Llama-3.1-8B" in capsys.readouterr().err

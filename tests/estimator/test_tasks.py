"""What a model is trained to do is one record: its names exist, builders read them, nobody writes them again."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from estimator.model.catalog import models
from estimator.program import loading, program
from estimator.recipe.recipe import FIELDS, Recipe
from estimator.recipe.tasks import CAUSAL_LM, TASKS, Task

ROOT = Path(__file__).parents[2]
OTHER = dataclasses.replace(
    CAUSAL_LM, name="labels", auto_class="AutoModelForSequenceClassification", peft_task_type="SEQ_CLS",
    trainer="RewardTrainer", arguments="RewardConfig", metrics=("accuracy",),
)  # fmt: skip


@pytest.fixture
def another(monkeypatch) -> Task:
    """Every recipe is of another task."""
    monkeypatch.setattr(Recipe, "task", property(lambda self: OTHER))
    return OTHER


@pytest.mark.parametrize("task", [*TASKS.values(), OTHER], ids=lambda task: task.name)
def test_its_names_are_those_of_the_libraries(task):
    import peft
    import transformers
    import trl

    assert hasattr(transformers, task.auto_class) and hasattr(trl, task.trainer) and hasattr(trl, task.arguments)
    assert task.peft_task_type in peft.TaskType.__members__


def test_the_presets_that_can_be_trained_are_those_that_its_auto_class_makes():
    """Of the others, those that see or hear make a text model too (`AutoModelForImageTextToText`)."""
    from transformers.models.auto import modeling_auto

    causal = set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    seeing = set(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values())
    known = {name for name in causal | seeing if isinstance(name, str)}
    named = {preset.class_name for preset in models().values()}
    assert {name for name in named & known if CAUSAL_LM.takes(name)} == named & known
    assert not [name for name in CAUSAL_LM.not_classes if CAUSAL_LM.takes(name)]


def test_adapters_and_a_loaded_base_are_of_the_recipes_task(another, tmp_path):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    recipe = Recipe(model=str(tmp_path), method="lora", dtype="float32")
    assert program.lora_config(recipe).task_type == "SEQ_CLS"
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForSequenceClassification(LlamaConfig(vocab_size=32, **shape)).save_pretrained(tmp_path)
    made = loading.load_base(recipe, tmp_path, training=True)
    assert type(made) is LlamaForSequenceClassification
    assert program._trainer_class(another).__mro__[1].__name__ == "RewardTrainer"


def test_a_task_is_no_field_of_a_recipe_yet():
    """It becomes one with the second; until then no file, link or command holds a word that nothing reads."""
    assert "task" not in FIELDS and Recipe(model="m").task is CAUSAL_LM


def written_again(text: str) -> list[str]:
    """The names that only a record may say, in a module's code: in strings, and as imports."""
    names = {CAUSAL_LM.auto_class, CAUSAL_LM.peft_task_type}
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
            found.append(node.value)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("transformers", "peft", "trl")):
            found += [alias.name for alias in node.names if alias.name in names]
    return found


def test_nobody_writes_its_names_again():
    # What counts any model tries every kind; a GGUF is of a causal language model.
    own = {"estimator/recipe/tasks.py", "estimator/trace/meta_model.py", "studio/workers/convert.py"}
    files = [path for top in ("estimator", "studio") for path in (ROOT / top).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if written_again(path.read_text("utf-8"))}
    assert found == own


def test_one_who_writes_them_again_is_found():
    assert written_again("from transformers import AutoModelForCausalLM") and written_again("x = 'CAUSAL_LM'")
    assert not written_again('"""What AutoModelForCausalLM makes."""')

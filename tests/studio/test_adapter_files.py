"""An adapter is used on the base it was trained on, whole, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from estimator.core.problems import Problem
from estimator.program.program import lora_config
from estimator.recipe.recipe import Recipe
from studio.inference import adapter_files
from studio.inference.choice import Choice
from studio.inference.weights import Weights
from studio.models import fingerprints
from studio.space import Space
from tests.packed_bases import tensors_of, write
from tests.studio.chat_models import make_base, make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A base and a finished run of it, to be copied."""
    root = tmp_path_factory.mktemp("made")
    make_run(root / "runs", "run", make_base(root / "base"), r=4)
    fingerprints.write(root / "runs" / "run" / "adapter", "base", fingerprints.of(root / "base"))
    return root


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A data folder with the two; the run knows the base by its place."""
    for name in ("base", "runs"):
        shutil.copytree(made / name, tmp_path / "here" / name)
    recipe = tmp_path / "here" / "runs" / "run" / "recipe.json"
    recipe.write_text(recipe.read_text().replace(str(made), str(tmp_path / "here")))
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "here"))
    return tmp_path / "here"


def attach() -> Weights:
    choice = Choice.of(Space.default(), {"run_id": "run"})
    weights = Weights(choice.recipe, choice.base, "cpu")
    weights.attach("run", choice.result)
    return weights


def refused() -> Problem:
    with pytest.raises(Problem) as caught:
        attach()
    return caught.value


def test_the_adapter_of_this_base_is_attached(place):
    assert attach().adapters["run"].mixes


def change_one_number(base: Path) -> None:
    tensors = tensors_of(base)
    tensors["model.layers.1.mlp.down_proj.weight"][5, 7] += 0.5
    write(base, base, tensors)


def change_the_config(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 5e5
    (base / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("change", "part"), [(change_one_number, "*.safetensors"), (change_the_config, "config.json")])
def test_another_base_of_the_same_shapes_is_told_apart(place, change, part):
    change(place / "base")
    problem = refused()
    assert (problem.code, problem.params["parts"]) == ("chat.other_base", part)
    with pytest.raises(Problem) as caught:  # as a run that goes on asks
        fingerprints.check(
            "run.other_base", place / "runs" / "run" / "adapter", fingerprints.of(place / "base"), "run", "base"
        )
    assert caught.value.code == "run.other_base"
    (place / "runs" / "run" / "adapter" / fingerprints.FILE).unlink()  # a run of an older version
    assert attach().adapters


def test_the_same_base_in_other_files_is_the_same(place):
    before = fingerprints.of(place / "base")
    model = AutoModelForCausalLM.from_pretrained(place / "base")
    (place / "base" / "model.safetensors").unlink()
    model.save_pretrained(place / "base", max_shard_size="60KB")
    assert fingerprints.of(place / "base") == before
    assert attach().adapters


def test_of_a_large_base_each_tensor_is_looked_at(place, monkeypatch):
    monkeypatch.setattr(fingerprints, "READ_WHOLE_BYTES", 0)
    monkeypatch.setattr(fingerprints, "SAMPLE_BYTES", 256)
    before = fingerprints.of(place / "base")
    for name, tensor in tensors_of(place / "base").items():
        changed = tensors_of(place / "base") | {
            name: tensor + torch.linspace(0.01, 0.02, tensor.numel()).reshape(tensor.shape)
        }
        write(place / "base", place / "base", changed)
        assert fingerprints.of(place / "base")["tensors"] != before["tensors"], name
        before = fingerprints.of(place / "base")


def without_fingerprint(adapter: Path) -> None:
    (adapter / fingerprints.FILE).unlink()


def shallower_base(adapter: Path) -> None:
    without_fingerprint(adapter)
    base = adapter.parents[2] / "base"
    write(base, base, {name: t for name, t in tensors_of(base).items() if "layers.1." not in name}, num_hidden_layers=1)


def narrower_targets(adapter: Path) -> None:
    in_config(adapter, target_modules=["q_proj"])


def wider_targets(adapter: Path) -> None:
    in_config(
        adapter, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
    )


def in_config(adapter: Path, **changes: object) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | changes))


def in_weights(adapter: Path, change) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(change(tensors), adapter / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (shallower_base, (0, 14, 0)),
        (narrower_targets, (0, 24, 0)),
        (wider_targets, (2, 0, 0)),
        (lambda a: in_weights(a, lambda t: {k: v for k, v in t.items() if "layers.0" not in k}), (14, 0, 0)),
        (lambda a: in_weights(a, lambda t: t | {"base_model.model.more.lora_A.weight": torch.zeros(4, 64)}), (0, 1, 0)),
    ],
)
def test_tensors_without_a_place_and_places_without_a_tensor_are_counted(place, change, counts):
    change(place / "runs" / "run" / "adapter")
    problem = refused()
    assert problem.code == "chat.adapter_tensors" and "lora_" in problem.params["tensors"]
    assert tuple(problem.params[key] for key in ("missing", "unexpected", "reshaped")) == counts


def lone_pickle(adapter: Path) -> None:
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lone_pickle, "adapter_model.safetensors: missing"),
        (lambda a: in_config(a, peft_type="NO_SUCH"), "NO_SUCH"),
        (lambda a: in_config(a, peft_type=None), "peft_type"),
        (lambda a: in_config(a, r=8), "size mismatch"),
        (lambda a: in_config(a, r="eight"), "adapter"),
        (lambda a: (a / "adapter_config.json").write_text("[" * 50_000), "deep"),
        (lambda a: (a / "adapter_config.json").write_text("[]"), "not an object"),
        (
            lambda a: (a / "adapter_model.safetensors").write_bytes(
                (a / "adapter_model.safetensors").read_bytes()[:-9]
            ),
            "not fully covered",
        ),
    ],
)
def test_a_broken_adapter_is_named(place, change, words):
    change(place / "runs" / "run" / "adapter")
    problem = refused()
    assert problem.code == "chat.adapter" and words in str(problem), str(problem)


@pytest.mark.parametrize("names", [("layers.0.*", "layers.*"), ("layers.*", "layers.0.*"), ("q_proj", "0.self_attn.*")])
def test_patterns_that_overlap_load_as_they_were_trained(tmp_path, names):
    """The first that matches decides; PEFT sorts them when it saves."""
    recipe = Recipe(
        model="base",
        method="lora",
        target_modules=("q_proj",),
        rank_pattern=dict(zip(names, (2, 4), strict=True)),
        alpha_pattern=dict(zip(names, (64, 16), strict=True)),
    )
    make_base(tmp_path / "base")
    trained = get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), lora_config(recipe))
    adapter_files.save(trained, tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"), str(tmp_path / "adapter")
    )
    one, other = (
        [(module.r, module.scaling) for module in model.modules() if isinstance(module, LoraLayer)]
        for model in (trained, loaded)
    )
    assert one == other and len({str(layer) for layer in one}) == (1 if names[0] in ("layers.*", "q_proj") else 2)

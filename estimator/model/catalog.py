"""Presets as typed records: tables and models; accelerators are `estimator.hardware.cards`. Files in `presets/`, read
lazily; an empty cell stays unknown (None)."""

from __future__ import annotations

import csv
import difflib
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.model.family_names import in_latin
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec
from estimator.recipe.tasks import CAUSAL_LM

TINY_BASE = "lora-studio/tiny-base"
"""The base model that comes with the program."""


def presets_dir() -> Path:
    """`presets/` of the checkout, or its copy inside the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_presets"
    return installed if installed.is_dir() else package.parent / "presets"


def rows(name: str) -> list[dict[str, str]]:
    """The lines of a table in `presets/`, by column."""
    with (presets_dir() / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def tp_plans() -> dict[str, dict[str, str]]:
    """How Transformers splits each model type's modules under tensor parallel (`presets/tp_plans.json`)."""
    plans: dict[str, dict[str, str]] = _json(presets_dir() / "tp_plans.json")["plans"]
    return plans


@dataclass(frozen=True)
class ModelPreset:
    """One model of `presets/models.csv`: what it is, what it counts, and where each came from."""

    id: str
    family: str
    license: str
    gated: bool
    model_type: str
    parameters: int
    """Counted on the meta build, tied tensors once."""
    published_parameters: int | None
    published_source: str
    context_length: int | None
    class_name: str
    flag: str
    notes: str
    released: str
    chinese_friendly: bool

    @property
    def stem(self) -> str:
        return self.id.replace("/", "__")

    @property
    def is_causal(self) -> bool:
        """Whether it can be trained on text rows (a decoder, alone or inside a vision-language model)."""
        return CAUSAL_LM.takes(self.class_name)


@functools.cache
def models() -> dict[str, ModelPreset]:
    """All model presets by id, in the file's order."""
    return {row["hf_id"]: _model(row) for row in rows("models.csv")}


def _model(row: dict[str, str]) -> ModelPreset:
    return ModelPreset(
        id=row["hf_id"],
        gated=row["gated"] == "yes",
        parameters=int(row["params_exact"]),
        published_parameters=int(row["params_published"]) if row["params_published"] else None,
        published_source=row["params_published_source"],
        context_length=int(row["context_length"]) if row["context_length"] else None,
        class_name=row["params_class"],
        chinese_friendly=row["chinese_friendly"] == "yes",
        **{key: row[key] for key in ("family", "license", "model_type", "flag", "notes", "released")},
    )


@dataclass(frozen=True, eq=False)
class Model:
    """What an estimate needs of a model: its tensors, its sizes, and its name. `notes` are warnings about how it was
    counted."""

    id: str
    inventory: Inventory
    spec: ModelSpec
    notes: tuple[Problem, ...] = ()
    config: dict[str, Any] | None = None
    """The content of config.json, which a trace is made from."""
    repository: str = ""
    """The repository that is meant, where a preset of the same structure, `id`, answers for it
    (`estimator.model.names`)."""
    stored_fields: dict[str, Any] | None = None
    """Fields of that repository's config.json about how it stores its weights, as far as its name tells them."""

    @property
    def name(self) -> str:
        """What a sentence calls it."""
        return self.repository or self.id

    @property
    def known_config(self) -> dict[str, Any]:
        """Raises ValueError where there is none: a preset always has one."""
        if self.config is None:
            raise ValueError(f"{self.id} has no config.json")
        return self.config

    @property
    def stored_config(self) -> dict[str, Any]:
        """The config that says how the repository stores its weights."""
        return (self.config or {}) | (self.stored_fields or {})


@functools.lru_cache(maxsize=64)
def load_preset(id: str) -> Model:
    """A preset's inventory and sizes. Raises `Problem` model.unknown with close ids."""
    if id not in models():
        raise unknown_model(id)
    stem = models()[id].stem
    inventory = Inventory.from_json(_json(presets_dir() / "inventories" / f"{stem}.json"))
    config = preset_config(id)
    return Model(
        id, inventory, ModelSpec.from_config(config, context_length=models()[id].context_length), config=config
    )


def preset_config(id: str) -> dict[str, Any]:
    """The content of a preset's config.json."""
    config: dict[str, Any] = _json(presets_dir() / "configs" / f"{models()[id].stem}.json")
    return config


def unknown_model(id: str) -> Problem:
    return Problem("model.unknown", field="model", value=id[:120], allowed=close_names(id))


MAX_NAME_CHARS = 200
"""What is compared of a name: comparing takes time with the product of the lengths."""


def close_names(id: str) -> str:
    """Presets whose ids look like `id`, closest first, for a sentence: those that have all its words (`llama 3.1`),
    then those of like spelling. A model and its instruct version count the same."""
    id = in_latin(id[:MAX_NAME_CHARS])
    words = _words(id)
    whole = [name for name in models() if words and words <= _words(name)]
    known: dict[str, list[str]] = {}
    for name in models():
        known.setdefault(_plain(name), []).append(name)
    close = difflib.get_close_matches(_plain(id), known, n=5, cutoff=0.5)
    named = dict.fromkeys([*whole, *(name for plain in close for name in known[plain])])
    return ", ".join(list(named)[:5] or list(models())[:5])


def _words(id: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)*|[^\W\d_]+", id.casefold()))


def _plain(id: str) -> str:
    return re.sub(r"-(instruct|it|chat|base|hf|v[\d.]+)\b", "", id.lower().rpartition("/")[2])


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))

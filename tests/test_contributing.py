"""What is forgotten most easily of each change that CONTRIBUTING.md describes, by name; other tests walk the rest."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import string
import tomllib
from pathlib import Path

import pytest

from estimator.core.problems import TEMPLATES
from estimator.hardware.cards import gpus
from estimator.model.catalog import rows
from estimator.recipe.optimizers import ALIASES, NEAREST, RECORDS
from estimator.recipe.recipe import FIELDS, Recipe
from studio import i18n
from studio.datasets.files.reading import READERS
from studio.datasets.kinds import FORMATS

ROOT = Path(__file__).parents[1]
NOT_OF_THE_TRAINER = {"save_total_limit", "assistant_only_loss"}
"""What the worker does itself: checkpoints are rotated once they are complete, labels are made by
`studio.rendering`."""
OTHER_VALUES = {
    "optim": "sgd", "lr_scheduler_type": "linear", "packing_strategy": "wrapped", "max_length": 128, "packing": True,
    "eval_steps": 7, "gradient_checkpointing": False,
}  # fmt: skip


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_an_optimizer_stands_in_one_list_and_its_package_is_installed_for_tests():
    for name, record in RECORDS.items():
        assert name not in NEAREST, f"{name} is a record: take it out of NEAREST in estimator/recipe/optimizers.py"
        assert name not in ALIASES and set(record.milder) <= set(RECORDS), name
    extra = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]["test"]
    packages = {record.package for record in RECORDS.values()} - {"", "torchao"}  # torchao needs a GPU
    for package in packages:
        assert any(re.match(rf"{package}\b", line) for line in extra), f"{package}: name it in pyproject.toml, test"


def test_a_gpu_has_its_source_and_each_offer_its_card():
    for row in rows("gpus.csv"):
        assert row["source_urls"].startswith("http") and row["checked"], f"{row['name']}: source_urls, checked"
    for row in rows("cloud_prices.csv"):
        where = f"{row['provider']} {row['instance_or_flavor']}: presets/cloud_prices.csv"
        assert row["gpu"] in gpus(), f"{where} names {row['gpu']!r}, which presets/gpus.csv has not"
        assert row["as_of_date"] and row["source_url"].startswith("http"), f"{where}: as_of_date, source_url"


def test_a_file_format_has_a_reader_a_word_and_a_test():
    assert set(FORMATS.values()) == set(READERS), "a suffix of FORMATS and a line of READERS for each format"
    tested = text_of("tests/studio/test_ingest.py") + text_of("tests/studio/test_files.py")
    for suffix, kind in FORMATS.items():
        known = [other for other, same in FORMATS.items() if same == kind and other in tested]
        assert known, f"{suffix}: a file of it in tests/studio/test_ingest.py"
        for lang in i18n.LANGUAGES:
            for key in ("dataset.file_help", "problem.dataset.not_text"):
                assert kind in i18n.strings(lang)[key].lower(), f"{kind}: {key} in studio/i18n/{lang}/dataset.json"
    for readme in ("README.md", "README.zh-CN.md"):
        assert all(kind in text_of(readme).lower() for kind in READERS), readme


def test_a_field_that_the_trainer_knows_by_this_name_reaches_it(tmp_path):
    """Each such field at another value than its default: what TRL is given is what the recipe says."""
    trl = pytest.importorskip("trl")
    from estimator.program import program

    known = set(trl.SFTConfig.__dataclass_fields__) - NOT_OF_THE_TRAINER
    lost = []
    for name in sorted(known & set(FIELDS)):
        info = FIELDS[name]
        value = OTHER_VALUES[name] if name in OTHER_VALUES else other_value(info)
        recipe = Recipe(**{"model": "m", "method": "lora", "dtype": "float32", "optim": "sgd"} | {name: value})
        given = getattr(program.sft_config(recipe, tmp_path, device="cpu", evaluates=True), name)
        lost += [] if given == getattr(recipe, name) else [name]
    assert not lost, f"{lost}: hand it on in estimator/program/program.py, sft_config"


def other_value(info):
    default, choices = info.default, info.limits.get("choices")
    if isinstance(default, bool) or choices:
        return next(choice for choice in (choices or (True, False)) if choice != default)
    return default / 2 if isinstance(default, float) and default else (default or 0) + 1


def test_a_cuda_temporary_belongs_to_an_operator_and_has_a_case():
    """A name that no library registers is never met, and its bytes are never counted."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("bitsandbytes")
    from estimator.trace.kernels import HIDDEN
    from tests.estimator.test_fit import HIDDEN_CASES

    for name in HIDDEN:
        space, _, operator = name.partition("::")
        assert hasattr(getattr(torch.ops, space), operator), f"{name}: no library registers it"
    assert set(HIDDEN) == set(HIDDEN_CASES), "a case of each in HIDDEN_CASES of tests/estimator/test_fit.py"


def test_a_panel_is_on_the_page_and_has_its_words():
    from studio.tabs import panels
    from studio.tabs.estimate import PANELS

    modules = [
        importlib.import_module(f"{panels.__name__}.{one.name}") for one in pkgutil.iter_modules(panels.__path__)
    ]
    made = {module.NAME: module for module in modules if hasattr(module, "NAME") and hasattr(module, "render")}
    shown = {panel.NAME for panel in PANELS}
    assert set(made) == shown, f"PANELS of studio/tabs/estimate.py: {set(made) ^ shown}"
    for lang in i18n.LANGUAGES:
        for name in made:
            assert f"estimate.panel_{name}" in i18n.strings(lang), f"panel_{name}: studio/i18n/{lang}/estimate.json"


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_a_language_has_every_sentence_and_can_be_chosen():
    folder = ROOT / "studio" / "i18n"
    folders = {path.name for path in folder.iterdir() if list(path.glob("*.json"))}
    assert set(i18n.LANGUAGES) == folders, "LANGUAGES of studio/i18n/__init__.py names each folder"
    english = {f"problem.{code}": text for code, text in TEMPLATES.items()} | i18n.strings("en")
    header, styles = text_of("studio/web/frame.py"), text_of("assets/theme/frame.css")
    for lang in folders - {"en"}:
        said = i18n.strings(lang)
        assert set(said) == set(english), f"studio/i18n/{lang}: {sorted(set(said) ^ set(english))[:5]}"
        wrong = [key for key, text in english.items() if placeholders(said[key]) != placeholders(text)]
        assert not wrong, f"studio/i18n/{lang}: other values in {wrong[:5]}"
    for lang in folders:
        assert i18n.nearest(lang) == lang, f"{lang}: nearest() of studio/i18n/__init__.py"
        assert f'data-set-lang="{lang}"' in header, f"{lang}: a link in studio/web/frame.py"
        assert f'data-lang="{lang}"' in styles, f"{lang}: shown alone by assets/theme/frame.css"


def test_every_change_of_the_guide_names_a_test_that_is_there():
    guide = text_of("CONTRIBUTING.md")
    parts = re.split(r"^## ", guide, flags=re.MULTILINE)[1:]
    changes = [part for part in parts if part[0].isdigit()]
    assert len(changes) == 8
    for part in changes:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", part)
        assert named, part.splitlines()[0]
        for path, test in named:
            assert not test or f"def {test}" in text_of(path), (path, test)
        for key in re.findall(r"-k ([\w_]+)", part):
            assert key in text_of("tests/test_contributing.py") or key.isupper(), key
    assert json.dumps(parts) and "make check" in guide

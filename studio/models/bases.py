"""From the name of a base model to a folder with safe weights and a tokenizer. Executes nothing from a repository."""

from __future__ import annotations

from pathlib import Path

from estimator.core.problems import Problem
from studio.models import base_files, downloads
from studio.models.find import local_folder
from studio.space import Space

# Only what loading needs: never pickles, never code.
DOWNLOADED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
)


def open_base(space: Space, name: str, field: str = "model") -> Path:
    """A local folder for a preset's id, a folder or a hub id (downloaded when it is not here), checked to be loadable.

    Raises `Problem` (`base.*`) with `field` naming the input at fault.
    """
    folder = local_folder(space, name, field)
    if folder is None:
        folder = downloads.fetch(space, name, field, DOWNLOADED)
    _check_config(folder, name, field)
    base_files.check_weights(folder, name, field)
    _check_tokenizer(folder, name, field)
    return folder


def open_tokenizer(space: Space, name: str, field: str = "model") -> Path:
    """The same for those who need no weights: a preview of data must not download a model."""
    folder = local_folder(space, name, field)
    if folder is None:
        folder = downloads.fetch(
            space, name, field, tuple(pattern for pattern in DOWNLOADED if "safetensors" not in pattern)
        )
    _check_config(folder, name, field)
    _check_tokenizer(folder, name, field)
    return folder


def _check_config(folder: Path, name: str, field: str) -> None:
    config_file = folder / "config.json"
    if (
        folder / "adapter_config.json"
    ).is_file():  # Transformers would load the base that it names, and the adapter on it
        whose = base_files.read_object(folder / "adapter_config.json", name, field).get("base_model_name_or_path")
        raise Problem("base.is_adapter", field=field, value=name, base=str(whose)[:120])
    if not config_file.is_file():
        raise Problem("base.missing", field=field, value=name)
    config = base_files.read_object(config_file, name, field)
    if not isinstance(config.get("model_type"), str):
        raise Problem("base.broken", field=field, value=name, reason="config.json: no model_type")
    _check_known(config, config["model_type"], name, field)
    base_files.check_json(folder, name, field)


def _check_tokenizer(folder: Path, name: str, field: str) -> None:
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise Problem("base.no_tokenizer", field=field, value=name)


def _check_known(config: dict, model_type: str, name: str, field: str) -> None:
    """Refuse what Transformers can only load by running the repository's own code."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if model_type not in CONFIG_MAPPING_NAMES:
        code = sorted(
            {str(target).split(".")[0].split("--")[-1] + ".py" for target in (config.get("auto_map") or {}).values()}
        )
        raise Problem("base.remote_code", field=field, value=name, files=", ".join(code) or model_type)

"""Which files of a repository are which split of which config, as the `datasets` library has it.

The README's `configs:` say it; else the names of files and folders do (`datasets/data_files.py`), and there is one
config. Patterns are fsspec's, translated by fsspec. What a config asks for besides (separators, features) is told.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from studio.datasets.kinds import FORMATS, format_of, is_archive, suffix_of

DEFAULT = "default"
_SHARDS = "data/{}-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*"
_SHARD = re.compile(r"(.+)-[0-9]{5}-of-[0-9]{5}.*")
_SPLIT = re.compile(r"\w+(\.\w+)*")
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_ENDS = "[-._ 0-9]"
_IN_FOLDERS = (
    "**/{word}/**",
    f"**/{{word}}{_ENDS}*/**",
    f"**/*{_ENDS}{{word}}/**",
    f"**/*{_ENDS}{{word}}{_ENDS}*/**",
)
_IN_NAMES = (f"**/{{word}}{_ENDS}*", f"**/*{_ENDS}{{word}}{_ENDS}*")
_IGNORED = ("README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip",
            "dataset_dict.json")  # fmt: skip
_READ = ("config_name", "data_files", "data_dir", "default", "description", "license", "features")
"""Keys of a config that say where its files are, or nothing of how they are read."""
_FAMILIES = {"jsonl": "json", "text": "documents", "markdown": "documents", "html": "documents", "docx": "documents",
             "pptx": "documents", "epub": "documents", "pdf": "documents"}  # fmt: skip
_FAVOURITES = (".csv", ".json", ".jsonl", ".arrow", ".parquet")
"""Of as many files of each kind, the last of these."""

Splits = dict[str, list[str]]


@dataclass
class Config:
    """One config: files by split; `unread` holds what it asks for that is not honoured, `absent` patterns that name no
    file."""

    splits: Splits
    unread: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files that belong to it and are of another kind than most, which are not read with them."""


def configs_of(files: Sequence[str], card: Any) -> tuple[dict[str, Config], str | None]:
    """The configs of a repository by name, and the one that is meant where nobody chooses; None: there is none such.

    `card` is the front matter of its README, or whatever stood there. A config that is not written as it should be
    counts as one without files.
    """
    said = card.get("configs") if isinstance(card, dict) else None
    named = [one for one in said or () if isinstance(one, dict) and isinstance(one.get("config_name"), str)] if (
        isinstance(said, list)) else []  # fmt: skip
    if not named:
        return {DEFAULT: _one_kind(Config(by_convention(files)))}, DEFAULT
    configs = {one["config_name"]: _one_kind(_config(files, one)) for one in named}
    chosen = [one["config_name"] for one in named if one.get("default")]
    if len(configs) == 1 or DEFAULT in configs:
        return configs, next(iter(configs)) if len(configs) == 1 else DEFAULT
    return configs, chosen[0] if chosen else None


def _config(files: Sequence[str], said: dict[str, Any]) -> Config:
    folder = str(said.get("data_dir") or "").strip("/")
    there = [file for file in files if not folder or file.startswith(f"{folder}/")]
    inside = [file[len(folder) + 1 :] if folder else file for file in there]
    unread = {key: str(value)[:80] for key, value in said.items() if key not in _READ}
    found = Config({}, unread)
    if said.get("data_files") is None:
        found.splits = by_convention(inside)
    else:
        for split, patterns in _patterns(said["data_files"]).items():
            found.splits[split] = _unique(file for pattern in patterns for file in matching(inside, pattern))
            found.absent += [pattern for pattern in patterns if not matching(inside, pattern)]
    if folder:
        found.splits = {split: [f"{folder}/{file}" for file in some] for split, some in found.splits.items()}
    found.splits = {split: some for split, some in found.splits.items() if some}
    return found


def _patterns(said: Any) -> dict[str, list[str]]:
    """`data_files` as patterns by split: text, a list of texts, or `{split, path}` each."""
    entries = said if isinstance(said, list) else [said]
    found: dict[str, list[str]] = {}
    for one in entries:
        split, path = (one.get("split"), one.get("path")) if isinstance(one, dict) else ("train", one)
        paths = path if isinstance(path, list) else [path]
        found.setdefault(str(split), []).extend(text for text in paths if isinstance(text, str))
    return found


def by_convention(files: Sequence[str]) -> Splits:
    """Files by split where nobody says it: `data/train-00000-of-00002.parquet`, folders, names; else all is train."""
    shards = {file: match[1] for file in matching(files, _SHARDS.format("*"))
              if (match := _SHARD.fullmatch(PurePosixPath(file).name))}  # fmt: skip
    if shards and all(_SPLIT.fullmatch(split) for split in shards.values()):
        splits = sorted(set(shards.values()), key=lambda one: (list(_WORDS).index(one) if one in _WORDS else 9, one))
        return {split: matching(files, _SHARDS.format(split)) for split in splits}
    for patterns in (_IN_FOLDERS, _IN_NAMES):
        found = {split: _unique(file for word in words for pattern in patterns
                                for file in matching(files, pattern.format(word=word)))
                 for split, words in _WORDS.items()}  # fmt: skip
        if any(found.values()):
            return {split: some for split, some in found.items() if some}
    everything = matching(files, "**")
    return {"train": everything} if everything else {}


def matching(files: Sequence[str], pattern: str) -> list[str]:
    """The files of a pattern, in the order of the listing. Hidden ones and those that describe a dataset have to be
    named for it."""
    pattern = pattern.removeprefix("./").lstrip("/")
    fits = _fitting(pattern)
    name, hidden, special = PurePosixPath(pattern).name, _hidden(pattern), _special(pattern)
    return [
        file for file in files
        if fits and fits.fullmatch(file) and _hidden(file) == hidden and _special(file) == special
        and (PurePosixPath(file).name not in _IGNORED or PurePosixPath(file).name == name)
    ]  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _fitting(pattern: str) -> re.Pattern[str] | None:
    from fsspec.utils import glob_translate

    try:
        return re.compile(glob_translate(pattern))
    except (ValueError, re.error):
        return None


def _hidden(path: str) -> int:
    return sum(part.startswith(".") and bool(part.strip(".")) for part in PurePosixPath(path).parts)


def _special(path: str) -> int:
    return sum(part.startswith("__") for part in PurePosixPath(path).parts[:-1])


def _unique(files: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(files))


def family(file: str) -> str:
    """Kinds that are read together: JSON and JSON Lines are, CSV and Parquet are not (one is most often a copy of the
    other)."""
    kind = format_of(file)
    return "archives" if is_archive(file) else _FAMILIES.get(kind or "", kind or "")


def _one_kind(config: Config) -> Config:
    """Of all files of a config those of its usual kind: by number, of those that are read at all."""
    counts: Counter[str] = Counter()
    for file in _unique(file for some in config.splits.values() for file in some):
        if family(file) not in ("", "code"):
            counts[suffix_of(file) if suffix_of(file) in FORMATS else ".zip"] += 1
    if not counts:
        config.others, config.splits = _unique(file for some in config.splits.values() for file in some), {}
        return config
    suffix = max(counts, key=lambda one: (counts[one], _FAVOURITES.index(one) if one in _FAVOURITES else -1))
    kind = family(f"x{suffix}")
    kept = {split: [file for file in some if family(file) == kind] for split, some in config.splits.items()}
    taken = {file for some in kept.values() for file in some}
    config.others = _unique(file for some in config.splits.values() for file in some if file not in taken)
    config.splits = {split: some for split, some in kept.items() if some}
    return config


def of_conversion(files: Sequence[str]) -> dict[str, Config]:
    """The configs of Hugging Face's own Parquet: `config/split/0000.parquet`; `partial-` begins the name of a split of
    which it holds the beginning."""
    found: dict[str, Config] = {}
    for file in files:
        parts = PurePosixPath(file).parts
        if len(parts) == 3 and parts[2].endswith(".parquet"):
            config = found.setdefault(parts[0], Config({}))
            config.splits.setdefault(parts[1].removeprefix("partial-"), []).append(file)
            if parts[1].startswith("partial-"):
                config.unread["partial"] = parts[1]
    return found

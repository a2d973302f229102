"""Names that people type for models, and the preset whose structure answers each.

`meta-llama/Llama-3.1-8B-Instruct`, `unsloth/llama-3-8b-bnb-4bit`, `LLM-Research/Meta-Llama-3.1-8B`, `qwen2.5 7b`,
`llama3.1:8b`: an instruct version has the tensors of its base, a mirror those of what it mirrors. Which ids do is
`presets/names.csv`, whose copies are mirrors is `presets/mirrors.csv`; the rest is spelling. A name that says more than
a known one is not known: nothing is asked of a hub.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from estimator.core.problems import Problem
from estimator.model import catalog
from estimator.model.catalog import MAX_NAME_CHARS, Model
from estimator.model.family_names import in_latin
from estimator.model.originals import without_endings
from estimator.model.spec import ModelSpec
from estimator.model.stored_names import record_of, sixteen_bits

MODELSCOPE = "modelscope:"
_ADDRESS = re.compile(r"https?://([^/\s]+)/(?:models/)?([\w.\-]+/[\w.\-]+)(?:[/?#]\S*)?", re.ASCII)
_WORDS = re.compile(r"\d+(?:[._](?=\d)\d+)*|[^\W\d_]+")
_SILENT = {"hf", "meta", "ms"}
"""Words that say who wrote the files, or in which form, and nothing of the model."""
_VARIANTS = {"instruct", "it", "chat", "base", "pt", "model", "模型"}
"""Words that say what a model was trained for."""
MOST = 8
"""Candidates named in a sentence."""

Words = tuple[str, ...]
Level = tuple[Callable[[Words], Words], Callable[[Words], Words]]


@dataclass(frozen=True)
class Known:
    """An id and the preset of its structure. `differs` says instead what makes it another one."""

    id: str
    preset: str
    context_length: int | None = None
    differs: str = ""

    @property
    def owner(self) -> str:
        return self.id.rpartition("/")[0]


@dataclass(frozen=True)
class Meant:
    """What a name means: the repository `id`, its structure, and of a packed copy how its name says it is stored.

    `is_certain`: the table says so, and no hub has to be asked; otherwise the name alone does.
    """

    asked: str
    id: str
    known: Known
    is_certain: bool
    endings: str = ""

    @property
    def record(self) -> dict[str, Any] | None:
        """Its `quantization_config` as the name tells it; empty for 16 bits, None where the name says nothing."""
        return record_of(self.endings, self.known.owner, self.id) if self.endings else None


@functools.lru_cache(maxsize=512)
def meant(name: str) -> Meant | None:
    """What is meant, or None where only a hub knows.

    Raises `Problem` for a name without owner that several structures share (`model.ambiguous`).
    """
    plain = plain_id(name)
    plain = plain if "/" in plain else in_latin(plain)
    if len(plain) > MAX_NAME_CHARS:
        return None
    prefix = MODELSCOPE if plain.lower().startswith(MODELSCOPE) else ""
    owner, _, tail = plain[len(prefix) :].rpartition("/")
    if "/" in owner:
        return None
    tail = re.sub(r"[\s:]+", "-", tail) if not owner and plain.casefold() not in _nicknames() else tail
    bare, endings = without_endings(sixteen_bits(tail)[0])
    endings = f"{endings}{sixteen_bits(tail)[1]}"
    found = _owned(owner, bare, bool(endings)) if owner else _spelled(bare, name)
    if found is None or endings and not _is_told(endings, found[0], owner, f"{owner}/{tail}"):
        return None
    known, is_certain = found
    if not owner:
        return Meant(name, plain if endings else known.id, known, True, endings)
    return Meant(name, _repository(prefix, owner, tail, known), known, is_certain and not endings, endings)


def _is_told(endings: str, known: Known, owner: str, id: str) -> bool:
    """Whether the name tells how a copy is stored. Of strangers' copies only what cannot be trained whatever they hold;
    how stacked experts are packed no name tells."""
    record = record_of(endings, known.owner, id)
    if record is None:
        return False
    method = record.get("quant_method")
    if method == "bitsandbytes" and catalog.load_preset(known.preset).spec.num_experts:
        return False
    is_stranger = bool(owner) and owner.casefold() not in _mirrors() and owner.casefold() not in _owners()
    return not is_stranger or method not in (None, "bitsandbytes", "fp8", "mxfp4", "mxfp8")


def plain_id(name: str) -> str:
    """A name as it was meant to be written: without blanks around it, and an address of a hub's page as its id."""
    name = unicodedata.normalize("NFKC", name.strip())
    if address := _ADDRESS.fullmatch(name):
        return (MODELSCOPE if "modelscope" in address[1].lower() else "") + address[2]
    return name


def repository(name: str) -> str:
    """The repository that holds what is meant; the name itself where it is one, or nothing is known of it. Raises
    `model.ambiguous`."""
    found = None if name in catalog.models() else meant(name)
    return found.id if found else plain_id(name)


@functools.lru_cache(maxsize=64)
def model(meaning: Meant) -> Model:
    """The preset's tensors under the name that was asked for, with what has to be said of it. Raises
    `model.other_structure`.

    The same record each time: what is computed of a model is kept by it.
    """
    known = meaning.known
    if known.differs:
        words = {"field": "model", "value": known.id, "preset": known.preset, "differs": known.differs}
        raise Problem("model.other_structure", **words)
    preset = catalog.load_preset(known.preset)
    said = []
    if meaning.id != meaning.asked:
        said.append(Problem("model.read_as", field="model", value=meaning.asked[:120], id=meaning.id))
    if meaning.id != known.preset:
        said.append(Problem("model.same_structure", field="model", value=meaning.id[:120], preset=known.preset))
    if meaning.record:
        said.append(Problem("model.stored_by_name", field="model", value=meaning.id[:120]))
    spec = preset.spec
    if known.context_length:
        spec = ModelSpec.from_config(preset.config, context_length=known.context_length)
    stored = None
    if meaning.record is not None:
        stored = {"quantization_config": meaning.record, "_name_or_path": known.id}
    return Model(preset.id, preset.inventory, spec, tuple(said), preset.config, meaning.id, stored)


def _repository(prefix: str, owner: str, tail: str, known: Known) -> str:
    mirror = _mirrors().get(owner.casefold())
    if mirror and mirror["renamed_to"]:
        return known.id if known.owner == mirror["renamed_to"] else f"{mirror['renamed_to']}/{tail}"
    if owner.casefold() == known.owner.casefold():
        return prefix + (known.id if tail.casefold() == known.id.rpartition("/")[2].casefold() else f"{owner}/{tail}")
    return f"{MODELSCOPE if mirror and mirror['hub'] == 'modelscope' else prefix}{owner}/{tail}"


def _owned(owner: str, tail: str, is_packed: bool) -> tuple[Known, bool] | None:
    """Of an id: its row; a mirror's copy of a row, or anyone's packed one; or the owner's own under a spelling that no
    row has."""
    row = _by_id().get(f"{owner}/{tail}".casefold())
    if row:
        return row, True
    mirror = _mirrors().get(owner.casefold())
    owners = None
    if mirror and mirror["renamed_to"]:
        owners = {mirror["renamed_to"].casefold()}
    elif owner.casefold() in _owners():
        owners = {owner.casefold()}
    elif not mirror and not is_packed:
        return None
    for certain, level in ((True, _LEVELS[:1]), (False, _LEVELS[1:])):
        found = _alike(tail, level, lambda known: owners is None or known.owner.casefold() in owners)
        if found:
            one = _one_structure(found, tail)
            return (one, certain) if one else None
    return None


def _spelled(text: str, asked: str) -> tuple[Known, bool] | None:
    """Of a name without an owner. Raises `model.ambiguous`."""
    if nick := _nicknames().get(text.casefold()):
        found = [_by_id()[id.casefold()] for id in nick.split(";")]
    else:
        found = _alike(text, _LEVELS, lambda known: True)
    if not found:
        return None
    if one := _one_structure(found, text):
        return one, True
    ids = list(dict.fromkeys(known.id for known in found))[:MOST]
    raise Problem("model.ambiguous", field="model", value=asked[:120], allowed=", ".join(ids))


def _one_structure(found: list[Known], text: str) -> Known | None:
    """The row that is meant, where all have one structure: one of the same variant, else a preset's own."""
    if len({(known.differs, *_sizes(known.preset)) for known in found}) > 1:
        return None
    variants = set(_split(text)) & _VARIANTS
    return min(found, key=lambda known: (not variants <= set(_split(known.id)), known.id != known.preset))


def _sizes(preset: str) -> tuple[Any, ...]:
    row = catalog.models()[preset]
    return row.model_type, row.parameters, row.class_name


def _alike(text: str, levels: Iterable[Level], may: Callable[[Known], bool]) -> list[Known]:
    """The rows of the first level on which the words are the same."""
    typed = _split(text)
    for level in levels:
        words = level[0](typed)
        found = [known for known in _index(level).get(words, ()) if may(known)]
        if found and words:
            return found
    return []


def _split(text: str) -> Words:
    """`Qwen2.5-7B-Instruct` and `qwen 2.5 7b instruct` are the same words: runs of letters and numbers."""
    words = (word.replace("_", ".") for word in _WORDS.findall(text.casefold()))
    return tuple(word for word in words if word not in _SILENT)


def _plain(words: Words) -> Words:
    return tuple(word for word in words if word not in _VARIANTS)


def _undated(words: Words) -> Words:
    """Without the date or the version of a release: `2407`, `v0.1`."""
    pairs = zip(words, (*words[1:], ""), strict=True)
    numbered = [w == "v" and "." in after for w, after in pairs]
    return tuple(
        w
        for i, w in enumerate(words)
        if not numbered[i] and not (i and numbered[i - 1]) and not re.fullmatch(r"\d{4}", w)
    )


def _same(words: Words) -> Words:
    return words


def _plain_undated(words: Words) -> Words:
    return _undated(_plain(words))


_LEVELS: tuple[Level, ...] = ((_same, _same), (_same, _undated), (_plain, _plain), (_plain, _plain_undated))
"""What is left out of what was typed, and of the ids: what is not said may be left out, what is said must be there."""


@functools.cache
def _index(level: Level) -> dict[Words, list[Known]]:
    """The rows by their words, with the owner's in front too: `google gemma 2 9b`."""
    made: dict[Words, list[Known]] = {}
    for known in _by_id().values():
        owner, _, tail = known.id.rpartition("/")
        if owner in _mirrors():  # a copy that is not what its name says
            continue
        words = level[1](_split(tail))
        for key in {words, (*_split(owner), *words)}:
            made.setdefault(key, []).append(known)
    return made


@functools.cache
def _rows() -> list[dict[str, str]]:
    return catalog.rows("names.csv")


@functools.cache
def _by_id() -> dict[str, Known]:
    """Presets and the rows of the table, by id in small letters."""
    made = {id.casefold(): Known(id, id) for id in catalog.models()}
    for row in _rows():
        if "/" in row["name"]:
            context = int(row["context_length"]) if row["context_length"] else None
            made[row["name"].casefold()] = Known(row["name"], row["means"], context, row["differs"])
    return made


@functools.cache
def _nicknames() -> dict[str, str]:
    """Names without an owner that are not spelled like the id they mean, in small letters."""
    return {row["name"].casefold(): row["means"] for row in _rows() if "/" not in row["name"]}


@functools.cache
def _owners() -> set[str]:
    return {known.owner.casefold() for known in _by_id().values() if not known.differs}


@functools.cache
def _mirrors() -> dict[str, dict[str, str]]:
    return {row["owner"].casefold(): row for row in catalog.rows("mirrors.csv")}

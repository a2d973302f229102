"""Every tensor of a model: name, shape, kind. All counts of the estimator are sums over this one list.

An inventory comes from a meta-device build (`estimator.trace.meta_model`) and is stored as JSON with repeated layers
folded: `model.layers.{0-31}.self_attn.q_proj`. Reading one needs no torch.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

FORMAT = 1
LINEAR_KINDS = ("Linear", "Linear+", "Conv1D")


@dataclass(frozen=True)
class Parameter:
    """One tensor of a module. `tied` is the full name of the tensor it shares storage with, if any."""

    name: str
    shape: tuple[int, ...]
    tied: str | None = None

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Module:
    """A module that owns parameters. In a folded list `name` is a pattern that stands for several modules."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]
    layout: str | None = None
    """Order of a stacked expert tensor's axes: `experts,out,in` or `experts,in,out`."""
    fp32: str | None = None
    """`always` or `half` (under float16 only): Transformers keeps the module in fp32."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(unfold(self.name))

    @property
    def count(self) -> int:
        return len(self.names)

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor that the module is known to have. Raises KeyError."""
        if (parameter := self.parameter(name)) is None:
            raise KeyError(f"{self.name} has no {name}")
        return parameter.shape

    @cached_property
    def in_out(self) -> tuple[int, int]:
        """(in, out) features as PEFT reads them; Conv1D stores its weight transposed, a Conv folds its kernel into
        in."""
        shape = self.shape("weight")
        if self.kind == "Conv1D":
            return shape[0], shape[1]
        if self.kind == "Embedding":
            return shape[0], shape[1]
        return math.prod(shape[1:]), shape[0]


@dataclass(frozen=True)
class Inventory:
    """A model's tensors, folded, with what PEFT and Transformers need to know of its names."""

    model_type: str
    class_name: str
    groups: tuple[Module, ...]
    output_embedding: str | None
    input_embedding: str | None
    not_quantized: tuple[str, ...]
    """Patterns of linear layers that Transformers keeps out of bitsandbytes."""
    expert_names: dict[str, Any] | None = None
    """PEFT's renaming of expert targets, where the experts are stacked tensors."""
    buffer_bytes: int = 0
    supports_checkpointing: bool = True
    bare: tuple[str, ...] = ()
    """Names, folded, of modules without parameters (activations, rotary embeddings): PEFT refuses a target that meets
    one."""
    lists: tuple[str, ...] = ()
    """Names, folded, of lists and tables of modules, which have no forward: PEFT saves none of them whole."""
    versions: dict[str, str] = field(default_factory=dict, compare=False)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @cached_property
    def total_parameters(self) -> int:
        """Parameters as `model.num_parameters()` counts them: tied tensors once."""
        return sum(g.count * p.numel for g in self.groups for p in g.parameters if p.tied is None)

    @cached_property
    def module_names(self) -> tuple[str, ...]:
        """Names of all modules that own parameters, and of every module that contains one."""
        leaves = [name for group in self.groups for name in group.names]
        parents = {name[:end] for name in leaves for end in _dots(name)}
        return tuple(leaves) + tuple(sorted(parents.difference(leaves)))

    @cached_property
    def all_names(self) -> tuple[str, ...]:
        """Names of all modules but the model itself: what PEFT matches targets against."""
        bare = (name for pattern in self.bare for name in unfold(pattern))
        return tuple(name for name in (*self.module_names, *bare) if name)

    @cached_property
    def list_names(self) -> frozenset[str]:
        return frozenset(name for pattern in self.lists for name in unfold(pattern))

    @cached_property
    def by_name(self) -> dict[str, Module]:
        """Name of one module -> the folded group it belongs to."""
        return {name: group for group in self.groups for name in group.names}

    @cached_property
    def linear_names(self) -> tuple[str, ...]:
        """What PEFT's `all-linear` takes: every linear layer but the output embedding."""
        names = (name for g in self.groups if g.kind in LINEAR_KINDS for name in g.names)
        return tuple(name for name in names if name != self.output_embedding)

    @cached_property
    def is_tied(self) -> bool:
        """Whether the head shares its weight with the input embedding."""
        head = self.by_name.get(self.output_embedding or "")
        return head is not None and any(p.tied for p in head.parameters)

    @cached_property
    def tied_to_input(self) -> tuple[str, ...]:
        """Modules whose weight is the input embedding's, as PEFT's `_get_module_names_tied_with_embedding` lists
        them."""
        if self.output_embedding is not None and not self.is_tied:
            return ()  # tie_word_embeddings is off
        source = f"{self.input_embedding}."
        return tuple(n for n, g in self.by_name.items() if any((p.tied or "").startswith(source) for p in g.parameters))

    def leaf_names(self) -> list[str]:
        """Last parts of linear layers' names, once each, in the model's order: what a person may type as a target."""
        return list(dict.fromkeys(name.rpartition(".")[2] for name in self.linear_names))

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "model_type": self.model_type,
            "class_name": self.class_name,
            "output_embedding": self.output_embedding,
            "input_embedding": self.input_embedding,
            "not_quantized": list(self.not_quantized),
            "expert_names": self.expert_names,
            "buffer_bytes": self.buffer_bytes,
            "supports_checkpointing": self.supports_checkpointing,
            "bare": list(self.bare),
            "lists": list(self.lists),
            "versions": self.versions,
            "modules": [_module_json(group) for group in self.groups],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Inventory:
        """Raises ValueError for another format: an inventory is derived again, never guessed at."""
        if data["format"] != FORMAT:
            raise ValueError(f"inventory format {data['format']!r}; this program reads {FORMAT}")
        return cls(
            groups=tuple(_module_from(entry) for entry in data["modules"]),
            not_quantized=tuple(data["not_quantized"]),
            bare=tuple(data.get("bare", ())),  # inventories of before have neither
            lists=tuple(data.get("lists", ())),
            **{
                key: data[key]
                for key in (
                    "model_type", "class_name", "output_embedding", "input_embedding",
                    "expert_names", "buffer_bytes", "supports_checkpointing", "versions",
                )
            },
        )  # fmt: skip


def _dots(name: str) -> Iterator[int]:
    return (match.start() for match in re.finditer(r"\.", name))


def _module_json(module: Module) -> list[Any]:
    """[name, kind, {parameter: shape or [shape, tied to]}], then layout and fp32 where there is one."""
    parameters = {p.name: list(p.shape) if p.tied is None else [list(p.shape), p.tied] for p in module.parameters}
    entry: list[Any] = [module.name, module.kind, parameters]
    return entry + [module.layout, module.fp32] if module.layout or module.fp32 else entry


def _module_from(entry: list[Any]) -> Module:
    name, kind, parameters = entry[:3]
    made = []
    for short, value in parameters.items():
        tied = None
        if len(value) == 2 and isinstance(value[1], str):
            value, tied = value
        made.append(Parameter(short, tuple(value), tied))
    return Module(name, kind, tuple(made), *entry[3:])


def unfold(pattern: str) -> Iterator[str]:
    """`layers.{0-2,5}.q` -> layers.0.q, layers.1.q, layers.2.q, layers.5.q; several braces give every combination."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    if len(parts) == 1:
        return iter((pattern,))
    choices = [[text] if i % 2 == 0 else list(_numbers(text)) for i, text in enumerate(parts)]
    return ("".join(combination) for combination in itertools.product(*choices))


def _numbers(text: str) -> Iterator[str]:
    for run in text.split(","):
        first, _, last = run.partition("-")
        yield from map(str, range(int(first), int(last or first) + 1))


def fold_numbers(numbers: Iterable[int]) -> str:
    """[0, 1, 2, 5] -> `0-2,5`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


@functools.lru_cache(maxsize=65536)
def converted(name: str, patterns: tuple[str, ...]) -> bool:
    """Transformers' `should_convert_module` (bitsandbytes): a linear layer stays as it is on a match up to a dot, or on
    a plain ending."""
    return not (patterns and (_expression(patterns).match(name) or name.endswith(patterns)))


@functools.lru_cache(maxsize=256)
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """All of them as one: a list may be longer than what `re` remembers."""
    boundary = r"(?:(?<=\.)|(?=\.|$))"
    return re.compile("(?:" + "|".join(f"(?:{key})" for key in patterns) + ")" + boundary)


def fold(names: Iterable[str]) -> tuple[str, ...]:
    """Names, folded: `unfold` of each gives back exactly the same set."""
    return tuple(module.name for module in compress([Module(name, "", ()) for name in names]))


def compress(modules: list[Module]) -> tuple[Module, ...]:
    """Fold modules that differ only in the numbers of their names. `unfold` gives back exactly the same set."""
    families: dict[tuple[str, Module], list[tuple[int, ...]]] = {}
    for module in modules:
        template, numbers = _template(module.name)
        families.setdefault((template, replace(module, name="")), []).append(numbers)
    folded = []
    for (template, module), indices in families.items():
        folded += [replace(module, name=name) for name in _fold_family(template, indices)]
    return tuple(folded)


def _template(name: str) -> tuple[str, tuple[int, ...]]:
    parts = name.split(".")
    numbers = tuple(int(part) for part in parts if part.isdigit())
    return ".".join("{}" if part.isdigit() else part for part in parts), numbers


def _fold_family(template: str, numbers: list[tuple[int, ...]]) -> list[str]:
    """One pattern where the indices are a full grid, else one pattern for each setting of all but the first index."""
    if not numbers[0]:
        return [template]
    columns = [set(column) for column in zip(*numbers)]
    if math.prod(map(len, columns)) == len(numbers):
        return [_filled(template, columns)]
    rest: dict[tuple[int, ...], set[int]] = {}
    for first, *others in numbers:
        rest.setdefault(tuple(others), set()).add(first)
    return [_filled(template, [firsts, *({n} for n in others)]) for others, firsts in rest.items()]


def _filled(template: str, columns: list[set[int]]) -> str:
    texts = (str(min(c)) if len(c) == 1 else "{" + fold_numbers(c) + "}" for c in columns)
    pieces = template.split("{}")
    return "".join(itertools.chain.from_iterable(itertools.zip_longest(pieces, texts, fillvalue="")))

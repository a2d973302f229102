"""What a cleaning step is, what is chosen of it, and what it says of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from estimator.core.problems import Problem
from studio.datasets.forms import Row

ACTIONS = ("drop", "mask", "fix", "cut", "split", "warn")
Found = tuple[str, dict[str, Any]]
"""A reason of `dataset.reason_*` and the values of its sentence."""


@dataclass(frozen=True)
class Option:
    """A number between `low` and `high`, or a text where these are None."""

    default: Any
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What a step says of a row: what was `found`, and the `rows` that come of it: none where it is left out, another
    one, several, or None where it stays as it is."""

    found: Sequence[Found]
    rows: tuple[Row, ...] | None = None


class Tokens(Protocol):
    """Lengths as the model sees them, of whoever has a tokenizer at hand."""

    def of_row(self, row: Row) -> int:
        """Tokens of a row as it is trained; 0 where it is not trained."""

    def of_text(self, text: str) -> int:
        """Tokens of a text alone."""


@dataclass(frozen=True)
class Asked:
    """A choice with everything filled in, as a judge gets it."""

    step: str
    action: str
    options: dict[str, Any]
    files: Sequence[str] = ()
    """Names of the files that the rows came from: the only one's where rows have no `file`."""
    tokens: Tokens | None = None

    def file_of(self, row: Row) -> str:
        at = row.get("file", 0)
        return self.files[at] if at < len(self.files) else ""


Judge = Callable[[Row, Asked], Verdict | None]
"""Pure: the same for a row whatever came before it; None where it has nothing to say."""


@dataclass(frozen=True)
class Step:
    """One entry of `steps.STEPS`. Without a `judge` rows are compared with one another."""

    name: str
    actions: tuple[str, ...]
    """What it may do to the rows it finds, a subset of `ACTIONS`; the first is what it does unless told otherwise."""
    on: bool = True
    options: Mapping[str, Option] = field(default_factory=dict)
    judge: Judge | None = None
    needs_tokens: bool = False
    """Whether it can only look where a tokenizer is at hand."""


@dataclass(frozen=True)
class Choice:
    """That a step is to run, what it is to do (as its default without) and its options where they are not the
    default."""

    step: str
    action: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def checked(step: Step, choice: Choice, files: Sequence[str] = (), tokens: Tokens | None = None) -> Asked:
    """Raises `Problem` `dataset.step_action`, `dataset.step_option` or `dataset.step_value`."""
    action = choice.action or step.actions[0]
    if action not in step.actions:
        raise Problem("dataset.step_action", step=step.name, value=str(action)[:40], allowed=", ".join(step.actions))
    for name in choice.options:
        if name not in step.options:
            allowed = ", ".join(step.options) or "-"
            raise Problem("dataset.step_option", step=step.name, value=str(name)[:40], allowed=allowed)
    options = {name: choice.options.get(name, option.default) for name, option in step.options.items()}
    for name, value in options.items():
        _check_value(step, name, value)
    return Asked(step.name, action, options, files, tokens)


def _check_value(step: Step, name: str, value: Any) -> None:
    option = step.options[name]
    if option.low is None or option.high is None:
        fits, allowed = isinstance(value, str) and len(value) <= 200, "text"
    else:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_number &= not isinstance(option.default, int) or isinstance(value, int)
        fits, allowed = is_number and option.low <= value <= option.high, f"{option.low:g}–{option.high:g}"
    if not fits:
        raise Problem("dataset.step_value", step=step.name, option=name, value=str(value)[:40], allowed=allowed)

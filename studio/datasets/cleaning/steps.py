"""The steps there are, in the order in which they look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.cleaning import contacts, empty, garbled, length, placeholders, ratios, refusals, secrets
from studio.datasets.cleaning.copies import EXACT, LEAKS, NEAR, SIMILARITY
from studio.datasets.cleaning.record import Asked, Choice, Option, Step, Tokens, checked

COPIES = (EXACT, NEAR, LEAKS)
"""Steps that compare rows with one another."""
_SIMILAR = {"similarity": Option(SIMILARITY, 0.5, 1.0)}
STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("garbled", ("fix", "drop", "warn"), judge=garbled.judge),
        Step("empty", ("drop", "warn"), judge=empty.judge, options={
            "text_characters": Option(empty.TEXT_CHARACTERS, 0, 100_000),
            "answer_characters": Option(1, 0, 100_000),
        }),
        Step("ratios", ("warn", "drop"), judge=ratios.judge, options={
            "symbols": Option(ratios.SYMBOLS, 0.0, 10.0),
            "letters": Option(ratios.LETTERS, 0.0, 1.0),
            "lines": Option(ratios.LINES, 0.0, 1.0),
            "repeated": Option(ratios.REPEATED, 0.0, 1.0),
            "looped": Option(ratios.LOOPED, 0.0, 1.0),
            "languages": Option(""),
            "language": Option(ratios.LANGUAGE, 0.0, 1.0),
        }),
        Step(EXACT, ("drop", "warn")),
        Step(NEAR, ("drop", "warn"), options=_SIMILAR),
        Step(LEAKS, ("drop", "warn"), options=_SIMILAR),
        Step("placeholders", ("warn", "drop"), judge=placeholders.judge),
        Step("refusals", ("warn", "drop"), judge=refusals.judge),
        Step("secrets", ("mask", "drop", "warn"), judge=secrets.judge),
        Step("emails", ("warn", "mask", "drop"), judge=contacts.judge_emails),
        Step("phones", ("warn", "mask", "drop"), judge=contacts.judge_phones, options={"regions": Option("CN,US,GB")}),
        Step("documents", ("split", "warn"), on=False, judge=length.judge_documents, options={
            "length": Option(length.PIECE, 16, 10_000_000),
            "overlap": Option(length.OVERLAP, 0, 1_000_000),
        }),
        Step("too_long", ("warn", "drop", "cut", "split"), judge=length.judge, needs_tokens=True, options={
            "max_length": Option(Recipe.__dataclass_fields__["max_length"].default, 16, 10_000_000),
            "overlap": Option(0, 0, 100_000),
        }),
    )
}  # fmt: skip
"""By name. What mends texts comes first, so that copies are found of what they become; what makes several rows of one
comes last."""


def defaults(with_tokens: bool = False) -> list[Choice]:
    """Every step that is on unless told otherwise, and can look."""
    return [Choice(step.name) for step in STEPS.values() if step.on and (with_tokens or not step.needs_tokens)]


def chosen(choices: Iterable[Choice], files: Sequence[str] = (), tokens: Tokens | None = None) -> list[Asked]:
    """The choices with everything filled in, in the order of `STEPS`; of one made twice the last.

    Raises `Problem`: `dataset.unknown_step`, `dataset.step_*`.
    """
    made: dict[str, Asked] = {}
    for choice in choices:
        if choice.step not in STEPS:
            raise Problem("dataset.unknown_step", value=str(choice.step)[:40], allowed=", ".join(STEPS))
        made[choice.step] = checked(STEPS[choice.step], choice, files, tokens)
    return [made[name] for name in STEPS if name in made]

"""Did a run learn? Said from what its journal measured: the loss of held-out rows under the base and under what was
trained, row by row, and the training loss against its start. What nobody measured is said to be unknown.

Every sentence is a `Problem` of the area `learned`, so that page, file and export say the same in the reader's
language.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean
from typing import Any

from estimator.core.problems import Problem
from estimator.core.units import human_count
from estimator.model.catalog import TINY_BASE
from estimator.recipe.recipe import Recipe
from studio.jobs.journal import Course
from studio.jobs.standing_out import standing_out

CONFIDENCE = 0.95
FEWEST_ROWS = 5
"""Below so many held-out rows the spread between them is itself a guess: no interval, no judgement."""
LITTLE = 0.05
"""A loss that falls by less than this share of the base's is called a little, however sure it is."""
FAR_LOSS = 3.0
"""exp(3) is 20: a model that hesitates among 20 tokens at each place writes no sentence of the kind it was taught.
Fine-tunes that read well end between about 1 and 2 (3 to 8 tokens), below that for answers of a fixed form."""
END_SHARE = 10
"""Start and end of the training loss are means of a tenth of its points each: one point is one batch's luck."""
TONES = {"better": "good", "worse": "bad"}


@dataclass(frozen=True)
class Compared:
    """The same rows under two weights. Losses are means per trained token, in nats; `gain` is first minus second, above
    0 where the second is better, with its 95 % interval over the rows (None where they are too few)."""

    rows: int
    tokens: int
    first_loss: float
    second_loss: float
    gain: float
    low: float | None
    high: float | None
    better_rows: int

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Learned:
    """`verdict` is the one sentence; `facts` what else was measured, `settings` what stands out in the recipe."""

    verdict: Problem
    facts: tuple[Problem, ...]
    settings: tuple[Problem, ...]
    heldout: Compared | None

    @property
    def kind(self) -> str:
        """better, little, far, worse, unclear, few, no_validation or not_measured."""
        return self.verdict.code.removeprefix("learned.")

    @property
    def tone(self) -> str:
        """good, bad or open."""
        return TONES.get(self.kind, "open")

    def to_dict(self) -> dict[str, Any]:
        """For `run.json`: codes with their values, and the English sentences."""
        said = {"verdict": [self.verdict], "facts": self.facts, "settings": self.settings}
        return {
            "kind": self.kind,
            "heldout": asdict(self.heldout) if self.heldout else None,
            **{name: [note.to_dict() | {"text": str(note)} for note in notes] for name, notes in said.items()},
        }


def learned(recipe: Recipe, course: Course) -> Learned | None:
    """None for a run that has not finished."""
    if course.ended != "finished":
        return None
    heldout = _heldout(course)
    return Learned(
        _verdict(heldout, course),
        (*_training(course, heldout), *_after(heldout, course), *_of_the_base(recipe, course)),
        standing_out(recipe, course),
        heldout,
    )


def _heldout(course: Course) -> Compared | None:
    base, trained = (course.heldout.get(weights) for weights in ("base", "trained"))
    return compare(base, trained) if base and trained else None


def compare(first: dict[str, Any], second: dict[str, Any]) -> Compared | None:
    """Two `heldout` lines of journals; None where they are not of the same rows.

    The gain is a ratio of sums (loss over tokens), so its variance comes from the rows' residuals against it, as for
    any ratio estimate over clusters (Cochran, Sampling Techniques, 6.3), with Student's t for as many rows.
    """
    tokens = second["tokens"]
    if first["tokens"] != tokens or not sum(tokens):
        return None
    gains = [n * (a - b) for n, a, b in zip(tokens, first["losses"], second["losses"], strict=True)]
    total, rows = sum(tokens), len(tokens)
    gain = sum(gains) / total
    half = None
    if rows >= FEWEST_ROWS:
        residuals = sum((row_gain - gain * n) ** 2 for row_gain, n in zip(gains, tokens, strict=True))
        half = student_t(rows - 1) * math.sqrt(rows / (rows - 1) * residuals) / total
    return Compared(
        rows=rows,
        tokens=total,
        first_loss=_mean(first),
        second_loss=_mean(second),
        gain=gain,
        low=None if half is None else gain - half,
        high=None if half is None else gain + half,
        better_rows=sum(row_gain > 0 for row_gain in gains),
    )


def _mean(line: dict[str, Any]) -> float:
    tokens: list[int] = line["tokens"]
    losses: list[float] = line["losses"]
    return sum(n * loss for n, loss in zip(tokens, losses, strict=True)) / sum(tokens)


def student_t(degrees: int) -> float:
    """The two-sided 95 % point of Student's t (Abramowitz and Stegun 26.7.5), within 0.1 % from 4 degrees of freedom
    on."""
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / float(degrees) ** power for power, term in enumerate(terms))


def _verdict(heldout: Compared | None, course: Course) -> Problem:
    if heldout is None:
        kept = course.data.get("eval", {}).get("kept", 0)
        evals = [point["eval_loss"] for point in course.evals if point["eval_loss"] is not None]
        if not kept and not evals:
            return Problem("learned.no_validation")
        return Problem("learned.not_measured", trained=number(evals[-1]) if evals else "?")
    return Problem(f"learned.{_kind(heldout)}", **words(heldout))


def _kind(heldout: Compared) -> str:
    if heldout.rows < FEWEST_ROWS:
        return "few"
    if not heldout.is_sure:
        return "unclear"
    if heldout.gain < 0:
        return "worse"
    if heldout.second_loss >= FAR_LOSS:
        return "far"
    return "little" if heldout.gain < LITTLE * heldout.first_loss else "better"


def words(compared: Compared) -> dict[str, Any]:
    """Its figures as sentences have them."""
    shown: dict[str, Any] = {
        "rows": f"{compared.rows:,}",
        "better": f"{compared.better_rows:,}",
        "tokens": f"{compared.tokens:,}",
    }
    shown |= {"base": number(compared.first_loss), "trained": number(compared.second_loss)}
    shown |= {"gain": number(compared.gain), "lost": number(-compared.gain), "fewest": FEWEST_ROWS}
    if compared.low is not None and compared.high is not None:
        ends = (compared.low, compared.high)
        shown |= {"low": number(ends[0]), "high": number(ends[1])}
        shown |= {"lost_low": number(-ends[1]), "lost_high": number(-ends[0])}
    return shown


def number(value: float) -> str:
    """Two decimals, or below 1 two figures."""
    return (
        f"{value:.2f}"
        if abs(value) >= 1 or abs(value) < 1e-6
        else f"{value:.{1 - math.floor(math.log10(abs(value)))}f}"
    )


def training_loss(course: Course) -> tuple[float, float, int] | None:
    """(start, end, points in each mean) of the training loss; None below two points."""
    points = [point["loss"] for point in course.metrics if point["loss"] is not None]
    if len(points) < 2:
        return None
    count = max(1, len(points) // END_SHARE)
    return fmean(points[:count]), fmean(points[-count:]), count


def _training(course: Course, heldout: Compared | None) -> list[Problem]:
    """The training loss against its start; and whether the rows were rather learned by heart."""
    loss = training_loss(course)
    if loss is None:
        return []
    start, end, points = loss
    notes = [Problem("learned.training", start=number(start), end=number(end), points=points)]
    if heldout and heldout.second_loss > 2 * end + LITTLE:
        notes.append(Problem("learned.by_heart", end=number(end), trained=number(heldout.second_loss)))
    evals = [(point["eval_loss"], point["step"]) for point in course.evals if point["eval_loss"] is not None]
    if evals and (best := min(evals))[0] * (1 + LITTLE) < evals[-1][0]:
        notes.append(
            Problem("learned.past_best", best=number(best[0]), step=f"{best[1]:,}", trained=number(evals[-1][0]))
        )
    return notes


def _after(heldout: Compared | None, course: Course) -> list[Problem]:
    """What the loss means: among how many equally likely tokens the model hesitates; or that the text is foreign to it,
    where a blind guess among all its tokens would do as well. Without held-out rows the training rows have to tell."""
    if course.base is None:
        return []
    vocabulary = course.base["vocabulary"]
    blind = math.log(vocabulary)
    training = training_loss(course)
    losses = (heldout.first_loss, heldout.second_loss) if heldout else training[:2] if training else None
    if losses is None:
        return []
    notes = []
    if losses[0] >= blind:
        said = {"base": number(losses[0]), "blind": number(blind), "vocabulary": f"{vocabulary:,}"}
        notes.append(Problem("learned.foreign", **said))
    if heldout and losses[1] < blind:
        before, after = (f"{math.exp(min(loss, blind)):,.3g}" for loss in losses)
        notes.append(Problem("learned.among", before=before, after=after, vocabulary=f"{vocabulary:,}"))
    return notes


def _of_the_base(recipe: Recipe, course: Course) -> list[Problem]:
    """What a base of this size can take on at all."""
    if recipe.model == TINY_BASE:
        return [Problem("learned.base_embedded")]
    if course.base is None:
        return []
    parameters = course.base["parameters"]
    size = "tiny" if parameters < 50e6 else "small" if parameters < 1e9 else "large"
    return [Problem(f"learned.base_{size}", parameters=human_count(parameters))]

"""The verdict on one estimate: a key, a sign and a word. A sign never stands alone, nor does a colour."""

from __future__ import annotations

from estimator.estimates.estimate import Estimate
from studio.i18n import t

SIGNS = {"fits": "✓", "close": "!", "several": "+", "unknown": "?", "misses": "✕"}


def verdict_of(made: Estimate) -> str:
    """A key of SIGNS: `close` where the limit lies inside the error bar, on whichever side the figure is."""
    if made.fits is None:
        return "unknown"
    return "close" if made.is_close else "fits" if made.fits else "misses"


def sign_text(lang: str, made: Estimate) -> str:
    """The word; of what is close it says on which side the figure is."""
    verdict = verdict_of(made)
    return t(lang, "estimate.sign_close_over" if verdict == "close" and not made.fits else f"estimate.sign_{verdict}")

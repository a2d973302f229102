"""Why a step could not be traced, as something to say: which library stopped, what stands in for it, what to do. No
torch.

What the library said goes along as `reason`, for whoever mends it; no sentence shows it.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath

from estimator.core.problems import Problem

LIBRARIES = {
    "peft": "PEFT",
    "transformers": "Transformers",
    "bitsandbytes": "bitsandbytes",
    "trl": "TRL",
    "accelerate": "Accelerate",
}
TORCH = "PyTorch"
OURS = "LoRA Studio"


class NotLinear(Exception):
    """A storage whose bytes are no sum of the law's terms, or steps that do not align."""


def untraced(model_id: str, error: Exception) -> Problem:
    """`error` as raised while a step was built or ran on tensors without memory."""
    if isinstance(error, Problem):
        return error
    known = {"field": "model", "value": model_id}
    missing = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if missing in ("torch", *LIBRARIES):
        return Problem("law.no_torch", **known, package=missing)
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    if isinstance(error, NotLinear):
        return Problem("law.not_linear", **known, reason=reason)
    return Problem("law.not_traced", **known, library=_library(error), reason=reason)


def no_config(model_id: str) -> Problem:
    return Problem("law.no_config", field="model", value=model_id)


def _library(error: Exception) -> str:
    """Whose code was at work: the innermost of the libraries that torch serves, else torch."""
    folders = [set(PurePath(frame.filename).parts) for frame in reversed(traceback.extract_tb(error.__traceback__))]
    for parts in folders:
        if found := next((name for folder, name in LIBRARIES.items() if folder in parts), None):
            return found
    return TORCH if any("torch" in parts for parts in folders) else OURS

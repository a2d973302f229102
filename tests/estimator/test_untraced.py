"""What is said of a step that could not be traced."""

from __future__ import annotations

import pytest

from estimator.core import problems
from estimator.law.untraced import NotLinear, no_config, untraced
from studio.i18n import LANGUAGES, explain

RAW = "variable and tensor have incompatible tensor type"


def raised_in(file: str, error: str = f"RuntimeError({RAW!r})") -> Exception:
    """An error whose innermost frame is in `file`."""
    try:
        exec(compile(f"raise {error}", file, "exec"), {"NotLinear": NotLinear})
    except Exception as found:
        return found


@pytest.mark.parametrize(
    ("error", "code", "names"),
    [
        (raised_in("/lib/site-packages/peft/tuners/lora/dora.py"), "law.not_traced", "PEFT"),
        (raised_in("/lib/site-packages/torch/_tensor.py"), "law.not_traced", "PyTorch"),
        (raised_in("/here/estimator/trace/step.py"), "law.not_traced", "LoRA Studio"),
        (
            raised_in("/lib/site-packages/transformers/models/x.py", "ModuleNotFoundError('no', name='causal_conv1d')"),
            "law.not_traced",
            "Transformers",
        ),
        (
            raised_in("/here/estimator/shelf/laws.py", "ModuleNotFoundError('no', name='torch.nn')"),
            "law.no_torch",
            "torch",
        ),
        (raised_in("/here/estimator/trace/fit.py", f"NotLinear({RAW!r})"), "law.not_linear", ""),
    ],
)
def test_a_failed_trace_names_the_model_what_stopped_and_what_to_do(error, code, names):
    problem = untraced("org/model", error)
    assert problem.code == code and problem.field == "model"
    for lang in LANGUAGES:
        said = explain(lang, problem)
        assert "org/model" in said and names in said and RAW not in said and "Error" not in said and "{" not in said
        assert any(remedy in said for remedy in ("measure", "--engine trace", "install"))


def test_every_sentence_of_a_failed_trace_says_what_stands_in():
    codes = [code for code in problems.TEMPLATES if code.startswith("law.")]
    assert len(codes) == 5 and no_config("x").code in codes
    assert all("approximation stands in" in problems.TEMPLATES[code] for code in codes)

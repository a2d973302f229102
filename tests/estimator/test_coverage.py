"""A sample of `make coverage`: every kind of class, counted as Transformers and PEFT count it."""

import pytest

from tests.estimator import coverage

SAMPLE = {
    "causal-lm": (
        "llama", "qwen3", "gemma3_text", "gpt_neox", "falcon", "mpt", "cohere2", "starcoder2",
        "deepseek_v3", "granitemoe", "jamba", "qwen3_next", "mamba2", "rwkv", "doge", "xlnet", "bert",
    ),
    "seq2seq-lm": ("t5", "mbart", "pegasus_x", "switch_transformers", "fsmt"),
    "classification": ("t5", "diffllama", "deberta-v2", "modernbert", "canine", "perceiver", "llama", "layoutlm"),
    "embedding": ("roberta", "mt5", "clip_text_model", "mobilebert"),
}  # fmt: skip


@pytest.mark.parametrize(("task", "model_type"), [(task, name) for task, names in SAMPLE.items() for name in names])
def test_a_class_is_counted_as_it_is(task, model_type):
    with coverage.quiet():
        ((_, _, case),) = coverage.cases([model_type], [task])
        assert isinstance(case, coverage.Case), case
        found = coverage.looked_at(case)
    assert not [value for value in found.values() if value.startswith("WRONG")], found
    assert case.class_name in coverage.NEEDS_DATA or not found["traced"].startswith(coverage.NOT_TRACED), found


def test_a_wrong_count_is_seen(monkeypatch):
    """The proof that the walk can fail."""
    monkeypatch.setattr(coverage, "trainables", lambda recipe, inventory: type("None", (), {"parameters": 1}))
    with coverage.quiet():
        case = coverage.case_of("causal-lm", "llama", "LlamaForCausalLM")
        assert coverage.looked_at(case)["trained"].startswith("WRONG 1 / ")

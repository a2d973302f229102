"""Greedy answers to many prompts at once, from the weights of a run: the same template and loading as everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel

from estimator.program import loading
from studio.jobs.folder import RunFolder
from studio.models.bases import open_base
from studio.rendering import rendering
from studio.space import Space


def answers(run: RunFolder, prompts: list[str]) -> dict[str, list[str]]:
    """`base` and `adapter`: one answer a prompt, both from the base as the run stored it (quantized, if it was)."""
    recipe = run.recipe()
    base = loading.load_base(recipe, open_base(Space.default(), recipe.model), training=False)
    tokenizer = rendering.load_tokenizer(run.adapter)
    model = PeftModel.from_pretrained(base, run.adapter).eval()
    with model.disable_adapter():
        plain = _generate(model, tokenizer, prompts)
    return {"base": plain, "adapter": _generate(model, tokenizer, prompts)}


def _generate(model: Callable[..., Any], tokenizer: Any, prompts: list[str]) -> list[str]:
    rows = [rendering.prompt_ids(tokenizer, [{"role": "user", "content": prompt}]) for prompt in prompts]
    width = max(map(len, rows))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    stops = list(rendering.stop_ids(tokenizer))
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=64,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
        )
    return [tokenizer.decode(row[width:], skip_special_tokens=True) for row in out]

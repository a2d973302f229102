"""What the second pane costs: base and adapter from one batch against the two in turn, on one copy of the base.

Both ways answer the same prompts with the same number of tokens, through the worker's own functions, in a process with
the worker's environment; rounds are interleaved, and the ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from studio import shipped
from studio.protocol.client import worker_environment
from studio.space import Space

ROUNDS = 8
TARGET = "<= 0.85 x"
# name: tokens an answer, shape (None is the base that ships)
SIZES = {
    "embedded base": (64, None),
    "80 M random Llama": (16, {"hidden": 768, "layers": 15, "vocab": 320, "spread": 0.02}),
}
STORED = {"float32": {"method": "lora"}, "nf4": {"method": "qlora"}}


def figures() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        env=worker_environment(Space.default()),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads(done.stdout)


def measure() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size, (tokens, shape) in SIZES.items():
            base = _base(Path(folder) / "bases" / size.replace(" ", "-"), shape)
            for stored, fields in STORED.items() if base else ():
                rows += _figures(f"{size}, {stored}", base, Path(folder) / size / stored, fields, tokens)
    return rows


def _base(folder: Path, shape: dict[str, int] | None) -> Path | None:
    if shape is None:
        return shipped.embedded_base() if (shipped.embedded_base() / "config.json").is_file() else None
    from tests.studio.chat_models import make_base

    return make_base(folder, **shape)


def _figures(name: str, base: Path, folder: Path, fields: dict[str, Any], tokens: int) -> list[dict[str, Any]]:
    from studio.inference.generation import Answer, answer_together
    from studio.inference.sampling import Sampling
    from studio.inference.weights import Weights, storage_bytes
    from studio.jobs.folder import RunFolder
    from studio.rendering.rendering import load_tokenizer, prompt_ids
    from tests.studio.chat_models import make_run

    run = make_run(folder, "run", base, r=16, **fields)
    weights = Weights(RunFolder(run).recipe(), base, "cpu")
    weights.model.generation_config.eos_token_id = None  # every answer has its full length
    alone_bytes = storage_bytes(weights.model)
    adapter = weights.attach("run", run / "adapter")
    adapter_bytes = sum(p.nbytes for key, p in weights.model.named_parameters() if "lora_" in key)
    tokenizer = load_tokenizer(base)
    prompts = [prompt_ids(tokenizer, [{"role": "user", "content": "who are you and what do you know"}])] * 2
    sampling = Sampling(max_new_tokens=tokens)

    def answer(model: Any, rows: int, **arguments: Any) -> None:
        answers = [Answer(tokenizer, set()) for _ in range(rows)]
        answer_together(model, prompts[:rows], answers, sampling, set(), lambda: False, **arguments)
        assert all(answer.tokens == tokens for answer in answers)

    def together() -> None:
        with weights.mixed(adapter) as model:
            answer(model, 2, adapter_names=weights.rows(adapter))

    def in_turn() -> None:
        with weights.base_only() as model:
            answer(model, 1)
        with weights.with_adapter(adapter) as model:
            answer(model, 1)

    seconds = _interleaved(together, in_turn)
    batch, turn = map(statistics.median, zip(*seconds, strict=True))
    ratio = statistics.median(pair[0] / pair[1] for pair in seconds)  # pair by pair: the machine's speed drifts
    copies = (weights.parameter_bytes() - adapter_bytes) / alone_bytes
    return [
        {"name": f"chat, {name}: both in turn, {tokens} tokens each, median", "value": turn, "unit": "s"},
        {"name": f"chat, {name}: both in one batch, median", "value": batch, "unit": "s"},
        {"name": f"chat, {name}: one batch / in turn", "value": ratio, "unit": "x", "target": TARGET},
        {"name": f"chat, {name}: copies of the base in memory", "value": copies, "unit": "", "target": "1"},
    ]


def _interleaved(*ways: Any) -> list[list[float]]:
    """Seconds of each way in each round, the first way first in every second round; a first round is not counted."""
    rounds = []
    for n in range(ROUNDS + 1):
        seconds = [0.0] * len(ways)
        for place in range(len(ways))[:: 1 if n % 2 else -1]:
            started = time.perf_counter()
            ways[place]()
            seconds[place] = time.perf_counter() - started
        rounds.append(seconds)
    return rounds[1:]


if __name__ == "__main__":
    print(json.dumps(measure()))

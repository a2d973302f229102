"""Every language model class of the installed Transformers, counted: `python -m tests.estimator.coverage [TYPE ...]`.

Walks the causal-LM, sequence-to-sequence, sequence classification and text embedding classes. Each is built on the meta
device from its default configuration, cut to two layers where that still builds, and looked at by the functions in
`COLUMNS`. One line a class; then a summary that names what is not counted, with the reason. Exit code 1 where a count
is wrong; a class that Transformers itself cannot build from its defaults is named and fails nothing.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from estimator.adapters.adapters import trainables
from estimator.core.problems import Problem
from estimator.model.inventory import Inventory
from estimator.program.program import lora_config
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.trace import meta_model
from estimator.trace.step import Sizes, trace_step

TASKS = {
    "causal-lm": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "seq2seq-lm": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "classification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "embedding": "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES",
}
DEPTHS = (
    "num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers",
    "num_encoder_layers", "depth", "num_hidden_groups",
)  # fmt: skip
LAYERS = 2
# Defaults that Transformers leaves unset or contradictory; each value is what its published models have.
FIXES: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 1408},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "reformer": {"is_decoder": True, "axial_pos_shape": [8, 8]},
    "xmod": {"default_language": "en_XX"},
}


@dataclass(frozen=True)
class Case:
    """One class of Transformers, with a configuration it can be built from."""

    task: str
    model_type: str
    class_name: str
    config: dict[str, Any]
    is_small: bool

    @functools.cached_property
    def inventory(self) -> Inventory:
        return meta_model.derive(self.config, self.class_name)

    def build(self) -> torch.nn.Module:
        """The model without any of our code between: what the counts are held against."""
        config = transformers.AutoConfig.for_model(**copy.deepcopy(self.config))
        with torch.device("meta"):
            return getattr(transformers, self.class_name)(config)


def total(case: Case) -> str:
    """Our parameters against the model's own."""
    return _verdict(case.inventory.total_parameters, sum(p.numel() for p in case.build().parameters()))


def trained(case: Case) -> str:
    """Parameters our matching trains with all-linear, against PEFT's on the model itself; both may refuse."""
    from peft import get_peft_model

    recipe = Recipe(model=case.model_type, method="lora", r=4)
    config = lora_config(recipe)
    config.task_type = None
    try:
        ours = trainables(recipe, case.inventory).parameters
    except Problem as problem:
        ours = f"refused: {problem}"
    try:
        with torch.device("meta"):
            theirs = get_peft_model(case.build(), config).get_nb_trainable_parameters()[0]
    except Exception as error:
        theirs = f"refused: {type(error).__name__}: {error}"
    if isinstance(ours, str) and isinstance(theirs, str):
        return "both refuse"
    return _verdict(ours, theirs)


def traced(case: Case) -> str:
    """Whether one step of full fine-tuning runs on tensors without memory: the allocations seen, or why not.

    In bfloat16, or in float32 where the model's own code mixes the two types, which no device multiplies.
    """
    if case.class_name in NEEDS_DATA:
        return f"{NOT_TRACED} {NEEDS_DATA[case.class_name]}"
    tokens = (
        () if case.task == "causal-lm" else ("pad_token_id", "decoder_start_token_id")
    )  # what a tokenizer brings with it
    config = _with(case.config, tokens)
    reason = ""
    for dtype in ("bfloat16", "float32"):
        recipe = Recipe(model=case.model_type, method="full", gradient_checkpointing=False, dtype=dtype)
        try:
            step = trace_step(recipe, config, LOOPS["plain"], Sizes(2, 64, 4, 64), class_name=case.class_name)
        except Exception as error:
            reason = reason or f"{NOT_TRACED} {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        else:
            return f"{sum(delta > 0 for delta in step.events.delta_bytes)} allocations" + (
                f" in {dtype}" if reason else ""
            )
    return reason


def _with(config: dict[str, Any], tokens: tuple[str, ...]) -> dict[str, Any]:
    """`config` and the text part of it with token ids where there are none."""
    parts = {name: _with(part, tokens) for name, part in config.items() if name == "text_config" and part}
    return config | parts | {name: 0 for name in tokens if config.get(name) is None}


NOT_TRACED = "not traced:"
NEEDS_DATA = {
    "BltForCausalLM": "bytes are cut into patches by their entropy",
    "GitForCausalLM": "the loss is that of text after a picture",
    "JetMoeForCausalLM": "each expert's share of the tokens is read from the router's values",
    "JetMoeForSequenceClassification": "each expert's share of the tokens is read from the router's values",
    "LongcatFlashForCausalLM": "each expert's share of the tokens is read from the router's values",
    "LongformerForSequenceClassification": "its first token attends to all, which is asked of values",
    "MusicgenForCausalLM": "a position has several codes of sound, no one id",
    "MusicgenMelodyForCausalLM": "a position has several codes of sound, no one id",
    "SwitchTransformersForConditionalGeneration": "each expert's share of the tokens is read from the router's values",
    "VoxtralRealtimeForConditionalGeneration": "takes sound, no text alone",
}
"""Classes whose tensors depend on values that made-up rows do not have."""
# A column is a function of a case: "ok" or a few words, or else what is wrong, after "WRONG". Others go here.
COLUMNS: dict[str, Callable[[Case], str]] = {"total": total, "trained": trained, "traced": traced}


def _verdict(ours: Any, theirs: Any) -> str:
    if ours == theirs:
        return f"{ours:,}"
    return "WRONG " + " / ".join(f"{n:,}" if isinstance(n, int) else " ".join(n.split())[:150] for n in (ours, theirs))


def cases(wanted: Iterable[str] = (), tasks: Iterable[str] = tuple(TASKS)) -> Iterator[tuple[str, str, Case | str]]:
    """(task, model type, case), or the reason in its place where Transformers cannot build the class from defaults."""
    only = set(wanted)
    for task in tasks:
        for model_type, class_names in getattr(modeling_auto, TASKS[task]).items():
            if not only or model_type in only:
                class_name = class_names if isinstance(class_names, str) else class_names[0]
                yield task, model_type, case_of(task, model_type, class_name)


def case_of(task: str, model_type: str, class_name: str) -> Case | str:
    """The smallest configuration of a class that builds, or why none does.

    Tried: the model type's default, and that of the class's own config where it is another (the text part of a composed
    model), each cut first and whole then.
    """
    reason = ""
    for config_class in (transformers.CONFIG_MAPPING[model_type], getattr(transformers, class_name).config_class):
        for cut in (shrunk, functools.partial(shrunk, mixed=False), None):
            try:
                config = config_class().to_dict()
                config |= FIXES.get(model_type, {}) if config["model_type"] == model_type else {}
                case = Case(task, model_type, class_name, cut(config) if cut else config, cut is not None)
                case.build()
                return case
            except Exception as error:
                reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    return reason


def shrunk(config: dict[str, Any], mixed: bool = True) -> dict[str, Any]:
    """`config`, and every part of it, with two layers, if `mixed` of two types where there are more; lists with an
    entry a layer are cut alike. Widths cost nothing on meta."""
    small = {key: shrunk(value, mixed) if isinstance(value, dict) else value for key, value in config.items()}
    types = mixed and config.get("layer_types") or []
    other = next((n for n, kind in enumerate(types) if kind != types[0]), 1)
    depths = [key for key in DEPTHS if isinstance(config.get(key), int) and config[key] > LAYERS]
    for key in depths:
        small[key] = LAYERS
        for name, value in config.items():
            if isinstance(value, list) and len(value) == config[key]:
                small[name] = [value[0], value[min(other, len(value) - 1)]]
    return small


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Default configurations are made to be warned about."""
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def looked_at(case: Case) -> dict[str, str]:
    found = {}
    for name, look in COLUMNS.items():
        try:
            found[name] = look(case)
        except Exception as error:  # a row that breaks is a row of the table
            found[name] = f"WRONG {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return found


def main(wanted: list[str]) -> int:
    unbuilt, wrong, untraced, seen = [], [], [], Counter()
    for task, model_type, case in cases(wanted):
        if isinstance(case, str):
            unbuilt.append(f"{task} {model_type}: {case}")
            print(f"{task:<15} {model_type:<28} not built: {case}", flush=True)
            continue
        found = looked_at(case)
        size = f"{LAYERS} layers" if case.is_small else "default"
        print(
            f"{task:<15} {model_type:<28} {case.class_name:<45} {size:<9}"
            + "".join(f" {n}: {v}" for n, v in found.items()),
            flush=True,
        )
        seen[task] += 1
        if found["traced"].startswith(NOT_TRACED):
            untraced.append(f"{task} {model_type}: {found['traced'].removeprefix(NOT_TRACED)}")
        wrong += [f"{task} {model_type}: {name}: {value}" for name, value in found.items() if value.startswith("WRONG")]
    print(f"\ntransformers {transformers.__version__}")
    for task in TASKS:
        amiss = len({line.partition(":")[0] for line in wrong if line.startswith(task + " ")})
        missing = sum(line.startswith(task + " ") for line in unbuilt)
        print(
            f"{task:<15} {seen[task]} built, {seen[task] - amiss} counted exactly; {missing} not built by Transformers"
        )
    for task in TASKS:
        missed = sum(line.startswith(task + " ") for line in untraced)
        print(f"{task:<15} {seen[task] - missed} of {seen[task]} traced")
    share = 1 - len(untraced) / max(1, seen.total())
    print("\n".join(["", f"{share:.1%} of what is built is traced; not:", *untraced]))
    print("\n".join(["", "Not counted:", *wrong] if wrong else ["", "All that are built are counted."]))
    print("\n".join(["", "Not built:", *unbuilt] if unbuilt else []))
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with quiet():
        raise SystemExit(main(sys.argv[1:]))

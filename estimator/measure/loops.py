"""A recipe's real training loop over made-up rows, step by step under a meter: TRL's, Transformers' and a plain one.

The names are those of `estimator.recipe.loop.LOOPS`. TRL's is built by the functions that build the studio's
(`estimator.program.program`); the other two do what is published as "Trainer" and as a hand-written loop. Imports torch
inside the functions.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimator.measure.meter import Meter
from estimator.measure.random_weights import quiet, random_base
from estimator.model.catalog import Model
from estimator.program import program
from estimator.recipe.batches import is_flat
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback

SPECIAL = ["<pad>", "<end>"]


def run(recipe: Recipe, model: Model, loop: str, steps: int, meter: Meter, folder: Path) -> None:
    """`steps` optimizer steps on `meter.device`. An evaluation of one batch follows every `recipe.eval_steps` of them.

    Raises what torch raises where memory runs out, and `Problem` where the model cannot be built.
    """
    from transformers import PrinterCallback

    recipe = recipe.replace(max_steps=steps, save_steps=0, logging_steps=steps)
    base = random_base(recipe, model, device=meter.device)
    evaluates = 0 < recipe.eval_steps <= steps
    train = rows(recipe, base, steps * recipe.gradient_accumulation_steps * recipe.per_device_train_batch_size)
    evaluation = rows(recipe, base, recipe.per_device_train_batch_size) if evaluates else None
    with quiet():
        trainer = (_trl if LOOPS[loop].fused_loss else _standard)(recipe, base, loop, train, evaluation, meter, folder)
        trainer.remove_callback(PrinterCallback)
        if LOOPS[loop].keeps_outputs:
            _plain(recipe, trainer, steps, meter)
        else:
            trainer.train()


def load_libraries() -> None:
    """Import what the first step would: about 100 MB of code that is no part of the model's memory."""
    import bitsandbytes  # noqa: F401
    import torch
    import torch._dynamo  # noqa: F401  (the first optimizer step imports it)
    import trl.trainer.sft_trainer  # noqa: F401

    torch.ones(1, requires_grad=True).sum().backward()


def rows(recipe: Recipe, base: PreTrainedModel, count: int) -> Dataset:
    """Rows of random tokens, all `max_length` long and trained whole: no padding, no masked token."""
    import numpy as np
    from datasets import Dataset

    vocabulary = base.config.get_text_config().vocab_size
    tokens = np.random.default_rng(recipe.seed).integers(len(SPECIAL), vocabulary, (count, recipe.max_length))
    return Dataset.from_dict({"input_ids": tokens, "labels": tokens})


def tokenizer() -> PreTrainedTokenizerBase:
    """The smallest that TRL accepts: rows are tokens already, only padding and end are asked for."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(SPECIAL)}, unk_token=SPECIAL[0]))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=SPECIAL[0], eos_token=SPECIAL[1])


def _collator(recipe: Recipe) -> Any:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=0, padding_free=is_flat(recipe))


def _trl(
    recipe: Recipe,
    base: PreTrainedModel,
    loop: str,
    train: Dataset,
    evaluation: Dataset | None,
    meter: Meter,
    folder: Path,
) -> Trainer:
    """What the studio's training worker builds; for `trl-upcast` after PEFT's preparation of a quantized base."""
    if recipe.is_quantized and LOOPS[loop].upcasts == "all":
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    args = program.sft_config(recipe, folder, device=_kind(meter.device), evaluates=evaluation is not None)
    return program.make_trainer(recipe, base, tokenizer(), train, evaluation, args, _collator(recipe), [_watch(meter)])


def _standard(
    recipe: Recipe,
    base: PreTrainedModel,
    loop: str,
    train: Dataset,
    evaluation: Dataset | None,
    meter: Meter,
    folder: Path,
) -> Trainer:
    """Transformers' Trainer with the loss of the model itself, adapters made by PEFT."""
    from transformers import Trainer

    args = program.sft_config(recipe, folder, device=_kind(meter.device), evaluates=evaluation is not None)
    model = _prepared(recipe, base, upcasts=LOOPS[loop].upcasts)
    watch = [] if LOOPS[loop].keeps_outputs else [_watch(meter)]
    return Trainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=evaluation,
        data_collator=_collator(recipe),
        callbacks=watch,
    )


def _prepared(recipe: Recipe, base: PreTrainedModel, upcasts: str) -> Any:
    """As PEFT's examples prepare it. Raises ValueError for an upcast that only versions of the past did."""
    from peft import get_peft_model, prepare_model_for_kbit_training

    if upcasts not in ("all", "none"):
        raise ValueError(f"upcasts {upcasts!r}: no installed library does this")
    model = base
    if recipe.is_quantized and upcasts == "all":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": recipe.use_reentrant})
    if recipe.has_adapters:
        model = get_peft_model(model, program.lora_config(recipe), autocast_adapter_dtype=recipe.autocast_adapter_dtype)
        if recipe.gradient_checkpointing:
            model.enable_input_require_grads()
    return model


def _plain(recipe: Recipe, trainer: Trainer, steps: int, meter: Meter) -> None:
    """A loop as tutorials write it: `outputs` keeps the logits alive until the next forward pass replaces them.

    Model, batches and optimizer are the Trainer's, so that nothing but the loop differs.
    """
    import torch

    model, optimizer = trainer.model, trainer.create_optimizer()
    optimizer = optimizer or trainer.optimizer
    batches = iter(trainer.get_train_dataloader())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    scaler = torch.amp.GradScaler(_kind(meter.device), enabled=recipe.mixed_precision == "fp16")
    model.train()
    for number in range(1, steps + 1):
        meter.begin()
        for _ in range(recipe.gradient_accumulation_steps):
            batch = {
                name: value.to(meter.device) if hasattr(value, "to") else value for name, value in next(batches).items()
            }
            with _autocast(recipe, meter.device):
                outputs = model(**batch)
            scaler.scale(outputs.loss / recipe.gradient_accumulation_steps).backward()
        if recipe.max_grad_norm:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(trained, recipe.max_grad_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        meter.end()
        if trainer.eval_dataset is not None and number % recipe.eval_steps == 0:
            _evaluate(recipe, trainer, meter.device)


def _evaluate(recipe: Recipe, trainer: Trainer, device: str) -> None:
    import torch

    trainer.model.eval()
    with torch.no_grad(), _autocast(recipe, device):
        for batch in trainer.get_eval_dataloader():
            trainer.model(**{name: tensor.to(device) for name, tensor in batch.items()})
    trainer.model.train()


def _autocast(recipe: Recipe, device: str) -> contextlib.AbstractContextManager[Any]:
    import torch

    if recipe.mixed_precision == "no":
        return contextlib.nullcontext()
    return torch.autocast(_kind(device), torch.bfloat16 if recipe.mixed_precision == "bf16" else torch.float16)


def _watch(meter: Meter) -> TrainerCallback:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """The meter's hands in a Trainer: one call before and one after each optimizer step."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            meter.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.end()

    return Watch()


def _kind(device: str) -> str:
    """`cuda` of `cuda:0`."""
    return device.partition(":")[0]

"""From a recipe to the program that trains it: quantization, model, adapters, training arguments, trainer.

The training worker and the tracer both build through these functions, so that what is estimated is what runs. Imports
torch, transformers, peft and trl inside the functions: importing this module costs nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimator.recipe.batches import is_flat
from estimator.recipe.recipe import Recipe
from estimator.recipe.tasks import Task

if TYPE_CHECKING:
    import datasets
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTConfig, SFTTrainer


def dtype(recipe: Recipe) -> torch.dtype:
    """The torch type of `recipe.dtype`."""
    import torch

    return getattr(torch, recipe.dtype)


def quantization_config(recipe: Recipe) -> BitsAndBytesConfig | None:
    """How bitsandbytes stores the frozen weights; None unless the method is qlora."""
    if not recipe.is_quantized:
        return None
    from transformers import BitsAndBytesConfig

    if recipe.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=recipe.quantization,
        bnb_4bit_use_double_quant=recipe.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=dtype(recipe),
        bnb_4bit_quant_storage=recipe.bnb_4bit_quant_storage,
    )


def lora_config(recipe: Recipe) -> LoraConfig:
    """PEFT's record of the adapters; only fields that the recipe sets."""
    from peft import LoraConfig

    whole = recipe.to_dict()
    plain = {name: whole[name] for name in _LORA_FIELDS if whole[name] is not None}
    initial = {"true": True, "false": False}.get(recipe.init_lora_weights, recipe.init_lora_weights)
    return LoraConfig(task_type=recipe.task.peft_task_type, init_lora_weights=initial, **plain)


_LORA_FIELDS = (
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "target_parameters",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "trainable_token_indices",
    "bias",
    "lora_bias",
    "use_dora",
    "use_rslora",
)


def attention(recipe: Recipe, model_class: type[PreTrainedModel]) -> str:
    """The kernel that a class runs: one without the fused kernel asked for computes eagerly, where Transformers would
    raise."""
    fused = {"sdpa": "_supports_sdpa", "flash_attention_2": "_supports_flash_attn"}
    asked = recipe.attn_implementation
    return asked if getattr(model_class, fused.get(asked, ""), True) else "eager"


def keep_gradients(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for inference during an evaluation.

    On processors with AVX512-BF16 `Linear4bit` repacks its weight for good at the first forward in eval mode without
    gradients; every later training step then runs through a kernel without autograd, and the adapters learn wrongly,
    silently (bitsandbytes 0.50, nn/modules.py, `support_avx512bf16_for_cpu`).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def sft_config(recipe: Recipe, output_dir: Path, *, device: str, evaluates: bool) -> SFTConfig:
    """TRL's arguments. Checkpoints are rotated by the worker, once they are complete, hence no `save_total_limit`."""
    import trl

    eval_steps, save_steps = recipe.eval_steps, recipe.save_steps
    return getattr(trl, recipe.task.arguments)(
        output_dir=str(output_dir),
        max_length=recipe.max_length,
        per_device_train_batch_size=recipe.per_device_train_batch_size,
        per_device_eval_batch_size=recipe.eval_batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        gradient_checkpointing=recipe.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": recipe.use_reentrant}
        if recipe.gradient_checkpointing
        else None,
        optim=recipe.optim,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler_type,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        num_train_epochs=recipe.num_train_epochs,
        max_steps=recipe.max_steps,
        seed=recipe.seed,
        bf16=recipe.mixed_precision == "bf16",
        fp16=recipe.mixed_precision == "fp16",
        use_cpu=device == "cpu",
        logging_steps=recipe.logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates and eval_steps else "no",
        eval_steps=eval_steps or None,
        save_strategy="steps" if save_steps else "no",
        save_steps=save_steps or 500,
        packing=recipe.packing,
        packing_strategy=recipe.packing_strategy,
        dataset_kwargs={"skip_prepare_dataset": not recipe.packing},
        dataloader_pin_memory=device == "cuda",
        report_to=[],
        disable_tqdm=True,
    )


def make_trainer(
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_dataset: datasets.Dataset,
    eval_dataset: datasets.Dataset | None,
    args: SFTConfig,
    collator: Any,
    callbacks: list[Any],
) -> SFTTrainer:
    """TRL's trainer over rows that already have `input_ids` and `labels`. Adapters are made here, by TRL and PEFT.

    Packed rows that reach the model as one need TRL's own collator, which it makes itself.
    """
    from peft import get_peft_model

    made_by_trl = recipe.has_adapters and recipe.autocast_adapter_dtype  # TRL does not hand the argument on
    if recipe.has_adapters and not made_by_trl:
        model = get_peft_model(model, lora_config(recipe), autocast_adapter_dtype=False)
    trainer = _trainer_class(recipe.task)(
        model=model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        data_collator=None if is_flat(recipe) else collator,
        peft_config=lora_config(recipe) if made_by_trl else None,
        callbacks=callbacks,
    )
    if recipe.is_quantized and recipe.dtype == "float32":
        keep_adapters_in_float32(trainer.model)
    return trainer


def keep_adapters_in_float32(model: PeftModel) -> None:
    """Undo TRL's cast of a quantized model's adapters to bfloat16, for a recipe that computes in float32.

    A processor without bfloat16 instructions takes ten times as long for the same step; and who asks for float32 means
    the adapters too. Before the optimizer is made, which takes its states' type from them.
    """
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def _trainer_class(task: Task) -> type[SFTTrainer]:
    import trl

    base: type[SFTTrainer] = getattr(trl, task.trainer)

    class Trainer(base):
        """TRL's, with two mends: a resumed run keeps the types it had, and an evaluation's loss is a mean per token.

        TRL casts the adapters of a quantized base to bfloat16; loading a checkpoint, PEFT casts them back to float32
        (peft 0.21, `load_adapter(autocast_adapter_dtype=True)`), and the resumed run would be another program. Cast
        before the optimizer's states are loaded, which take their parameter's type.

        Transformers' `eval_loss` is a mean over batches of each batch's mean, so that a run of another batch size would
        have another loss on the same rows (transformers 5.23, `evaluation_loop`). One process: nothing is gathered.
        """

        _evaluated: list[tuple[float, int]]

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            types = {name: p.dtype for name, p in self.model.named_parameters() if p.requires_grad}
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            for name, parameter in self.model.named_parameters():
                if name in types:
                    parameter.data = parameter.data.to(types[name])

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            labels = inputs["labels"]
            made = super().compute_loss(model, inputs, *args, **options)
            if not model.training:
                loss = made[0] if isinstance(made, tuple) else made
                self._evaluated.append((loss.item(), int((labels[..., 1:] != -100).sum())))
            return made

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
            self._evaluated = []
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
            if tokens := sum(count for _, count in self._evaluated):
                mean = sum(loss * count for loss, count in self._evaluated if count) / tokens
                output.metrics[f"{metric_key_prefix}_loss"] = mean
            return output

    return Trainer


def device() -> str:
    """The device this process trains on: `LORA_STUDIO_DEVICE`, else CUDA, else MPS, else the CPU."""
    import torch

    if chosen := os.environ.get("LORA_STUDIO_DEVICE"):
        return chosen
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

"""The weights a conversation needs: one base, the adapters on it, and who answers.

The base is loaded as training loaded it, through the same function, and stands in memory once however many adapters are
put on it. What a pane says about its weights is made here, beside the call that answers.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError
from transformers import GenerationConfig

from estimator.core.problems import Problem
from estimator.program import loading
from estimator.recipe.recipe import Recipe
from studio.inference import adapter_files
from studio.inference.mixing import BASE_ROW, can_mix, rows_by_slice
from studio.models import fingerprints

# LLM.int8() casts its inputs to float16 at each layer and says so each time: thousands of lines an answer.
logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)

MAX_ADAPTERS = 4
"""Adapters kept on one base; the next one starts afresh."""


@dataclass(frozen=True)
class BaseKey:
    """What makes two loaded bases the same: the files and how they are stored."""

    folder: Path
    dtype: str
    attn_implementation: str
    quantization: str | None
    double_quant: bool

    @classmethod
    def of(cls, recipe: Recipe, folder: Path) -> BaseKey:
        four_bit = recipe.is_quantized and recipe.quantization != "int8"
        return cls(
            folder=folder,
            dtype=recipe.dtype,
            attn_implementation=recipe.attn_implementation,
            quantization=recipe.quantization if recipe.is_quantized else None,
            double_quant=four_bit and recipe.bnb_4bit_use_double_quant,
        )

    @property
    def storage(self) -> str:
        """How the base's weights are stored, as a label shows it: `nf4`, `int8` or the dtype."""
        return self.quantization or self.dtype


@dataclass
class Adapter:
    """One run's adapter on the base."""

    name: str
    mixes: bool
    """Whether PEFT can answer with it and with the base in one batch, each row as if alone."""
    alone: bool
    """Whether no other adapter may be on the base with it: it has whole modules or biases of its own."""
    biases: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    """(parameter, the base's values, the run's values) where the run trained the base's own biases."""


class Weights:
    """A base in memory, with adapters or a fully tuned copy beside it."""

    def __init__(self, recipe: Recipe, folder: Path, device: str) -> None:
        self.key = BaseKey.of(recipe, folder)
        self.device = device
        self.model: Any = _load(recipe, folder, device)
        self.fingerprint = fingerprints.of(folder)
        self.adapters: dict[str, Adapter] = {}
        self.tuned: tuple[str, Any] | None = None
        """(run id, whole model) of a full fine-tune: a second model in memory."""

    def takes(self, run_id: str, folder: Path) -> bool:
        """Whether `attach` may put this adapter on the base as it stands; else the base must be loaded afresh.

        Never by PEFT's `unload`: it leaves the trained copies of `modules_to_save` in the base (0.21).
        """
        if run_id in self.adapters or not self.adapters:
            return True
        alone = _needs_the_base_alone(folder, run_id) or any(adapter.alone for adapter in self.adapters.values())
        return not alone and len(self.adapters) < MAX_ADAPTERS

    def attach(self, run_id: str, folder: Path) -> Adapter:
        """The adapter of a run, loaded onto the base unless it is there.

        Raises `Problem` (`chat.adapter`, `chat.adapter_tensors`, `chat.other_base`); these weights must then be
        dropped, for PEFT may have changed half the model.
        """
        self.drop_tuned()
        if run_id in self.adapters:
            return self.adapters[run_id]
        name = "run-" + run_id.replace(".", "_")
        alone = _needs_the_base_alone(folder, run_id)
        fingerprints.check("chat.other_base", folder, self.fingerprint, run_id, str(self.key.folder.name))
        own_biases = [
            (p, p.detach().clone())
            for key, p in self.model.named_parameters()
            if key.endswith("bias") and "lora_" not in key
        ]
        try:
            if isinstance(self.model, PeftModel):
                self.model.load_adapter(folder, adapter_name=name)
            else:
                self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)
        except (ValueError, RuntimeError, KeyError, OSError, TypeError, AttributeError, SafetensorError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise Problem(
                "chat.adapter", value=run_id, reason=" ".join(f"{type(error).__name__}: {error}".split())[:200]
            ) from error
        adapter_files.check_tensors("chat.adapter_tensors", self.model, name, folder, run_id)
        self.model.eval()
        biases = [(p, before, p.detach().clone()) for p, before in own_biases if not torch.equal(p, before)]
        for parameter, before, _ in biases:
            parameter.data.copy_(before)
        mixes = not biases and self.key.quantization != "int8" and can_mix(self.model, name)
        self.adapters[run_id] = Adapter(name, mixes, alone, biases)
        return self.adapters[run_id]

    def load_tuned(self, run_id: str, recipe: Recipe, folder: Path) -> None:
        """The whole model of a full fine-tune, beside the base."""
        if self.tuned and self.tuned[0] == run_id:
            return
        self.drop_tuned()
        self.tuned = (run_id, _load(recipe, folder, self.device))

    def drop_tuned(self) -> None:
        if self.tuned:
            self.tuned = None
            free()

    @contextlib.contextmanager
    def base_only(self) -> Iterator[Any]:
        """The model with every adapter switched off."""
        if not isinstance(self.model, PeftModel):
            yield self.model
            return
        with self.model.disable_adapter():
            _check_state(self.model, enabled=False)
            yield self.model

    @contextlib.contextmanager
    def with_adapter(self, adapter: Adapter) -> Iterator[Any]:
        """The model with one adapter switched on, and its biases in place of the base's."""
        self.model.set_adapter(adapter.name, inference_mode=True)
        _check_state(self.model, enabled=True, active=adapter.name)
        try:
            for parameter, _, tuned in adapter.biases:
                parameter.data.copy_(tuned)
            yield self.model
        finally:
            for parameter, before, _ in adapter.biases:
                parameter.data.copy_(before)

    @staticmethod
    def rows(adapter: Adapter) -> list[str]:
        """Who answers which row of a mixed batch, in PEFT's words: the base first."""
        return [BASE_ROW, adapter.name]

    @contextlib.contextmanager
    def mixed(self, adapter: Adapter) -> Iterator[Any]:
        """The model ready for `adapter_names=self.rows(adapter)`.

        The adapter is made active too: PEFT passes over a fully trained module (`modules_to_save`) whose active adapter
        lacks it, also for a row that names an adapter which has it.
        """
        self.model.set_adapter(adapter.name, inference_mode=True)
        _check_state(self.model, enabled=True, active=adapter.name)
        with rows_by_slice(self.model):
            yield self.model

    def parameter_bytes(self) -> int:
        """Bytes of all parameters and buffers of this process's models, each storage counted once."""
        models = [self.model, *([self.tuned[1]] if self.tuned else [])]
        return storage_bytes(*models)


def _needs_the_base_alone(folder: Path, run_id: str) -> bool:
    """Whether an adapter has biases or whole modules of its own.

    PEFT 0.21 allows one adapter with biases on a model, and a mixed batch fails on a whole module of another adapter.
    Raises `Problem("chat.adapter")` when the folder holds no whole adapter in safetensors.
    """
    config = adapter_files.check_files(folder, run_id)
    return config.get("bias", "none") != "none" or bool(config.get("modules_to_save"))


def storage_bytes(*models: torch.nn.Module) -> int:
    """Bytes behind parameters and buffers, shared storages counted once."""
    tensors = (t for model in models for t in (*model.parameters(), *model.buffers()))
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def free() -> None:
    """Give unused memory back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load(recipe: Recipe, folder: Path, device: str) -> Any:
    """The model as training loads it, ready to answer.

    `training=True` on purpose: the packed kernel that bitsandbytes would take on AVX512-BF16 rounds the scales of the
    quantized weights to bfloat16, so it would answer with a slightly other base than the one that was trained on.
    """
    model = loading.load_base(recipe, folder, training=True, device=device).eval()
    end_ids = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=end_ids)  # no sampling defaults of the base's own
    return model.requires_grad_(False)


def _check_state(model: PeftModel, *, enabled: bool, active: str | None = None) -> None:
    """Refuse to answer under a wrong label: every adapted layer must be in the state that the pane will name."""
    for name, module in model.named_modules():
        if not isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            continue
        wrong_adapter = enabled and module.active_adapters != [active]
        if module.disable_adapters is enabled or wrong_adapter or getattr(module, "merged", False):
            state = f"active {module.active_adapters}, switched off {module.disable_adapters}"
            raise RuntimeError(f"{name}: {state}; wanted {active or 'the base alone'}")

"""One training step of a recipe on the meta device, recorded: the real Transformers, PEFT and bitsandbytes modules.

What is restated and not run is what a machine without CUDA cannot run: the packed weights (their layout), the fused
attention kernel and TRL's Triton loss (`estimator.trace.on_cuda`, `estimator.trace.fused_loss`). Everything else is the
libraries' own code, so a new version of theirs is a new trace of ours. Imported by workers and by commands that find
torch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from estimator.hardware.platforms import Platform
from estimator.memory.load_events import Static
from estimator.memory.recorded import HEAD, Events
from estimator.recipe.batches import Batches, is_flat
from estimator.recipe.loop import LOOPS, Loop
from estimator.recipe.recipe import Recipe
from estimator.trace import autocast, fused_loss, packed
from estimator.trace.meta_model import quiet
from estimator.trace.on_cuda import as_on_cuda
from estimator.trace.prepared import base_of, layer_stack, prepared, trained
from estimator.trace.recorder import Programs, Recorder
from estimator.trace.work import Work


@dataclass(frozen=True)
class Sizes:
    """Where a step is traced. `tile` stands for `min(N, tile)` of a tiled loss, `rank` for `r`, `trained` for the
    tokens N whose label is not -100, read where not all of them train."""

    batch: int
    sequence: int
    rank: int
    tile: int
    trained: int = 0


@dataclass(frozen=True)
class RecordedStep:
    """A recorded step, how many layers its model had, the tensors that outlive it, and what it computed and moved.

    `fused`: the model has fused attention by SDPA. `windows`: sizes of local attention that Transformers was asked a
    mask for; SDPA takes one from that length on.
    """

    events: Events
    layers: int
    kept: list[Static]
    work: Work
    fused: bool
    windows: frozenset[int]
    stack_name: str = ""
    """Of the list of layers, as in the names of `kept`."""


def trace_step(
    recipe: Recipe,
    config: dict[str, Any],
    loop: Loop,
    sizes: Sizes,
    layers: int | None = None,
    platform: Platform = Platform(),
    class_name: str | None = None,
    batches: Batches = Batches(),
    evaluates: bool = False,
) -> RecordedStep:
    """Build `recipe`'s model with `layers` layers (None: all) and record forward, loss and backward.

    With `evaluates` a step of the Trainer's evaluation instead: forward and loss in eval mode, nothing kept for
    gradients. Raises whatever Transformers or PEFT raise where the model cannot run without data; the caller has
    another way then.
    """
    recipe = recipe.replace(r=sizes.rank) if recipe.has_adapters else recipe
    windows: set[int] = set()
    with as_on_cuda(platform, recipe, batches, windows), quiet():
        model = prepared(recipe, config, loop, layers, class_name)
        kept = packed.statics(model, recipe)
        recorder = Recorder(sizes.rank)
        recorder.ignore(*model.parameters(), *model.buffers(), *packed.packed_state(model))
        stack = layer_stack(model)
        hooks = _mark(recorder, model, stack)
        inputs = _inputs(sizes, is_flat(recipe))
        for tensor in inputs.values():
            recorder.hold(tensor)
        if recipe.gradient_accumulation_steps > 1 and not evaluates:
            for parameter in trained(model):
                parameter.grad = torch.empty_like(parameter)
            held = [parameter.grad for parameter in trained(model)]
            for ranked in (True, False):  # apart, so that each sum is a multiple of the rank or none is
                recorder.hold_together(
                    [grad for grad in held if (grad.numel() % sizes.rank == 0) is ranked], "gradients"
                )
        run = _evaluate if evaluates else _run
        with recorder:
            outputs = run(model, recipe, loop, batches, inputs, sizes, recorder)
        for hook in hooks:
            hook.remove()
    events = recorder.finish()
    del outputs
    name = next(name for name, module in base_of(model).named_modules() if module is stack)
    return RecordedStep(
        events, len(stack), kept, recorder.work, base_of(model)._supports_sdpa, frozenset(windows), name
    )


def layer_programs(
    recipe: Recipe,
    config: dict[str, Any],
    platform: Platform,
    class_name: str | None,
    layers: int | None = None,
    sequence: int = 67,
) -> list[Any]:
    """What each layer runs in the forward pass of rows of `sequence` tokens: operators with the shapes they give."""
    half = (
        {"dtype": "bfloat16"} if recipe.dtype == "float16" else {}
    )  # full fine-tuning takes no float16; the operators are the same
    plain = recipe.replace(method="full", gradient_checkpointing=False, **half)
    with as_on_cuda(platform, recipe, Batches()), quiet():
        model = prepared(plain, config, LOOPS["trainer"], layers, class_name)
        recorder = Programs()
        stack = layer_stack(model)
        _mark(recorder, model, stack)
        for layer in stack:  # what follows the last layer is not its own
            layer.register_forward_hook(lambda *_: setattr(recorder, "place", ("forward", HEAD)))
        inputs = _inputs(Sizes(2, sequence, 1, 1), flat=False)
        with recorder, autocast.around(recipe.mixed_precision):
            model.base_model(input_ids=inputs["input_ids"], use_cache=False)
    return [tuple(recorder.programs.get(number, ())) for number in range(len(stack))]


def _inputs(sizes: Sizes, flat: bool) -> dict[str, torch.Tensor]:
    """What TRL's collator makes: a mask beside ids and labels, or for packed rows laid out as one their positions and
    the number of each example (`DataCollatorForLanguageModeling.torch_call`)."""
    make = lambda dtype=torch.int64: torch.zeros((sizes.batch, sizes.sequence), dtype=dtype, device="meta")  # noqa: E731
    beside = {"position_ids": make(), "seq_idx": make(torch.int32)} if flat else {"attention_mask": make()}
    return {"input_ids": make(), "labels": make(), **beside}


def _forward(
    model: nn.Module, recipe: Recipe, loop: Loop, trained: int | None, sizes: Sizes, recorder: Recorder
) -> Any:
    """The loop's call of the model; under mixed precision the outputs become fp32, as in Accelerate's
    `prepare_model`."""
    if loop.copies_logits:
        base_of(model).loss_function = fused_loss.shifted_loss
    if loop.fused_loss:
        return functools.partial(fused_loss.fused_outputs, model, sizes.tile, trained, lambda: _enter(recorder, "loss"))
    if recipe.mixed_precision == "no" or loop.keeps_outputs:
        return model.forward
    from accelerate.utils import convert_outputs_to_fp32

    return convert_outputs_to_fp32(model.forward)


def _run(
    model: nn.Module,
    recipe: Recipe,
    loop: Loop,
    batches: Batches,
    inputs: dict[str, torch.Tensor],
    sizes: Sizes,
    recorder: Recorder,
) -> Any:
    """Forward, loss and backward as the loop does them; returns what the loop still holds afterwards."""
    trained = sizes.trained if batches.trained_share < 1 else None
    arguments = _arguments(model, inputs) | _told_apart(inputs, batches.pads(recipe))
    with autocast.around(recipe.mixed_precision):
        outputs = _forward(model, recipe, loop, trained, sizes, recorder)(**arguments)
    loss = _loss(outputs)
    outputs = outputs if loop.keeps_outputs else None
    recorder.place, recorder.work.phase = ("backward", HEAD), "backward"
    loss.backward()
    return outputs


def _evaluate(
    model: nn.Module,
    recipe: Recipe,
    loop: Loop,
    batches: Batches,
    inputs: dict[str, torch.Tensor],
    sizes: Sizes,
    recorder: Recorder,
) -> Any:
    """Trainer.evaluation_loop as the studio runs it, without metrics to compute: no logits are accumulated, only
    losses."""
    model.eval()
    arguments = _arguments(model, inputs) | _told_apart(inputs, batches.pads(recipe))
    with torch.no_grad(), autocast.around(recipe.mixed_precision):
        return _forward(model, recipe, loop, sizes.trained if batches.trained_share < 1 else None, sizes, recorder)(
            **arguments
        )


def _arguments(model: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Ids, and labels as the model takes them: a token's, a row's under a classifier, none where there is no head."""
    base = base_of(model)
    made = {"input_ids": inputs["input_ids"]}
    if "Classification" in type(base).__name__:
        return made | {"labels": inputs["labels"][:, 0]}
    return made | ({"labels": inputs["labels"]} if base.get_output_embeddings() is not None else {})


def _told_apart(inputs: dict[str, torch.Tensor], padded: bool) -> dict[str, torch.Tensor]:
    """Positions of packed rows, or the mask of padded ones. A mask of ones is left out, as Transformers leaves it
    out."""
    return {
        name: inputs[name]
        for name in ("position_ids", "attention_mask")
        if name in inputs and (padded or name == "position_ids")
    }


def _loss(outputs: Any) -> torch.Tensor:
    """The loss; of a model that has none, as an embedding model, a sum over what it gives."""
    if "loss" in outputs:
        return outputs["loss"]
    return (
        next(value for value in outputs.values() if isinstance(value, torch.Tensor) and value.is_floating_point())
        .float()
        .sum()
    )


def _enter(recorder: Recorder, phase: str) -> None:
    recorder.place, recorder.component = (phase, HEAD), "logits_and_loss"


def _mark(recorder: Recorder, model: nn.Module, stack: nn.ModuleList) -> list[Any]:
    """Hooks that keep `recorder.place`: each layer's forward, the head, each layer's backward; and name the
    gradients."""
    hooks: list[Any] = []

    def enter_layer(number: int) -> Any:
        def hook(*_: Any) -> None:
            phase = "forward" if recorder.place[0] == "forward" else "backward"
            recorder.place, recorder.component = (phase, number), "activations"

        return hook

    def leave_layer(number: int) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, (tuple, list)) else output
            if recorder.place[0] == "forward" and hidden.requires_grad:
                hidden.register_hook(lambda _: enter_backward(number))

        return hook

    def enter_backward(number: int) -> None:
        recorder.place, recorder.component = ("backward", number), "activations"

    for number, layer in enumerate(stack):
        hooks += [
            layer.register_forward_pre_hook(enter_layer(number)),
            layer.register_forward_hook(leave_layer(number)),
        ]
    head = model.get_output_embeddings()
    if head is not None:
        hooks.append(head.register_forward_pre_hook(lambda *_: _enter(recorder, "loss")))
    for parameter in trained(model):
        hooks.append(parameter.register_post_accumulate_grad_hook(lambda p: recorder.name(p.grad, "gradients")))
    return hooks

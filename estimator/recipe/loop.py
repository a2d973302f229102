"""Who runs the steps of a recipe, and what that loop keeps alive: TRL's SFTTrainer, Transformers' Trainer, a plain
loop."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Loop:
    """Who runs the step; what it keeps alive is part of the law, not a constant.

    `fused_loss`: the head and the loss run in tiles and the logits never exist whole (TRL). `upcasts`: which tensors
    become fp32 before QLoRA: `all` that are not quantized (`prepare_model_for_kbit_training`), the `norms` (TRL before
    0.14, which cast head and embeddings back), or `none`. `keeps_outputs`: the logits stay alive in the backward pass.
    `half_adapters`: adapters on quantized weights are cast to bf16 (TRL). `copies_logits`: the loss of Transformers
    before 4.49, which copies the shifted logits. `ends_with_step`: the step is a function of its own, so what it kept
    goes with it; else it lives until the next step's outputs take its name. `loads_on_device`: weights go straight to
    the card, in one block that Transformers asks for first; else those that are not quantized are moved there.
    `empties_cache`: after the upcast of `all`, as `prepare_model_for_kbit_training` does since PEFT's pull request
    3293. `reads_ahead`: threads that bring weights to the card while others are packed there, as Transformers 5.0 to
    5.3 did.
    """

    name: str
    fused_loss: bool
    upcasts: str
    keeps_outputs: bool
    half_adapters: bool
    copies_logits: bool = False
    ends_with_step: bool = False
    loads_on_device: bool = False
    empties_cache: bool = True
    reads_ahead: int = 0


LOOPS = {
    "trl": Loop("trl", fused_loss=True, upcasts="none", keeps_outputs=False, half_adapters=True, loads_on_device=True),
    "trainer": Loop("trainer", fused_loss=False, upcasts="all", keeps_outputs=False, half_adapters=False),
    "plain": Loop("plain", fused_loss=False, upcasts="all", keeps_outputs=True, half_adapters=False),
}
"""TRL's SFTTrainer as installed (the studio's), Transformers' Trainer, and a hand-written loop. The first leaves frozen
weights in their type, the others upcast them as PEFT's examples do; each by its `-upcast` or `-no-upcast` kin the other
way."""
LOOPS |= {
    "trl-upcast": replace(LOOPS["trl"], name="trl-upcast", upcasts="all"),
    "trainer-no-upcast": replace(LOOPS["trainer"], name="trainer-no-upcast", upcasts="none"),
    "plain-no-upcast": replace(LOOPS["plain"], name="plain-no-upcast", upcasts="none"),
}

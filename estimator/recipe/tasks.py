"""What a model is trained to do, as one record that every part reads which builds, trains or shows such a run.

Today's is the causal language model. Another is one more record here, and what its names mean to the studio beside it
(`studio.rendering.tasks`); which task a recipe is of becomes a field of it with the second.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Names are those of the libraries; nothing here imports them."""

    name: str
    auto_class: str
    """Of transformers: what makes the model of a folder or a config."""
    class_ends: tuple[str, ...]
    """How the names of Transformers' classes end that can be trained for it."""
    not_classes: tuple[str, ...]
    """Classes with such names that cannot."""
    peft_task_type: str
    """Of `peft.TaskType`."""
    trainer: str
    """Of trl."""
    arguments: str
    """Of trl: the trainer's arguments."""
    metrics: tuple[str, ...]
    """What the trainer logs of it beside every training's own figures."""

    def takes(self, class_name: str) -> bool:
        """Whether a class of transformers, by its name, can be trained for it."""
        return class_name.endswith(self.class_ends) and class_name not in self.not_classes


CAUSAL_LM = Task(
    name="causal_lm",
    auto_class="AutoModelForCausalLM",
    class_ends=("CausalLM", "LMHeadModel", "ForConditionalGeneration"),
    not_classes=("T5ForConditionalGeneration", "MT5ForConditionalGeneration", "BartForConditionalGeneration"),
    peft_task_type="CAUSAL_LM",
    trainer="SFTTrainer",
    arguments="SFTConfig",
    metrics=("mean_token_accuracy",),
)
TASKS = {task.name: task for task in (CAUSAL_LM,)}

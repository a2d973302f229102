"""The chat template that a base trains with: its own, TRL's variant of it with markers, or ours where it has none."""

from __future__ import annotations

from typing import Any

# For a base without a chat template. It uses no token that the base does not have, and ends the assistant's turn with
# the base's own end-of-text token, so that generation stops. `{% generation %}` marks what is trained.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'].capitalize() + ':\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n\\n' }}"
    "{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)


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
        return ("{{ bos_token }}" if _starts_with_bos(tokenizer) else "") + DEFAULT_TEMPLATE
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

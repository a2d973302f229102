"""From messages to text: the tokenizer of a base, the chat template that training and chat share, and what it marks.

`studio.workers.rendering` turns the text into tokens and labels; others import from there.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from estimator.problems import Problem

Messages = list[dict[str, str]]
Span = tuple[int, int]

# For a base without a chat template. It uses no token that the base does not have, and ends the assistant's turn with
# the base's own end-of-text token, so that generation stops. `{% generation %}` marks what is trained.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'].capitalize() + ':\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n\\n' }}"
    "{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)


def load_tokenizer(base: Path) -> Any:
    """The fast tokenizer of a local folder, with a chat template fit for training, a pad token and an end token.

    Never runs code of the folder. Raises `Problem` `base.broken`.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a broken tokenizer.json makes the library raise
        reason = f"tokenizer: {type(error).__name__}: {error}"
        raise Problem("base.broken", field="model", value=str(base), reason=reason[:200]) from error
    for missing, word in ((not tokenizer.is_fast, "no fast tokenizer"), (tokenizer.eos_token is None, "no end token")):
        if missing:
            raise Problem("base.broken", field="model", value=str(base), reason=f"tokenizer: {word}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # labels of the padding are -100 whatever its id is
    tokenizer.chat_template = training_template(tokenizer)
    return tokenizer


def training_template(tokenizer: Any) -> str:
    """The base's own template; TRL's variant with generation markers where it knows one; else `DEFAULT_TEMPLATE`."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = tokenizer.chat_template = own.get("default")
    if not own:
        return ("{{ bos_token }}" if _starts_with_bos(tokenizer) else "") + DEFAULT_TEMPLATE
    if has_generation_markers(own):
        return own
    try:
        return get_training_chat_template(tokenizer) or own
    except (ValueError, TypeError, LookupError, jinja2.TemplateError):
        return own  # one that TRL does not know: `_rendered_by_prefixes` finds the assistant's text


def _starts_with_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """The tokens a model is asked with: the same template, up to where the assistant begins."""
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]


@lru_cache(maxsize=8)
def turn_end(tokenizer: Any) -> int:
    """Id of the token that ends the assistant's turn: the special token that the template writes after it.

    A template that leaves the last turn open ends with the tokenizer's own end token.
    """
    answer = "What the assistant said."
    example = [{"role": "user", "content": "What the user said."}, {"role": "assistant", "content": answer}]
    text, _ = rendered(tokenizer, example)
    ids = tokenizer(text[text.rindex(answer) + len(answer) :], add_special_tokens=False)["input_ids"]
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return next((id for id in ids if id in special), tokenizer.eos_token_id)


def stop_ids(tokenizer: Any) -> list[int]:
    """Ids that end an answer: the end of the assistant's turn, and of the text."""
    return sorted({turn_end(tokenizer), tokenizer.eos_token_id})


def rendered(tokenizer: Any, messages: Messages) -> tuple[str, list[Span]]:
    """The template's text, and the assistant's places in it, in characters."""
    from transformers.utils.chat_template_utils import render_jinja_template
    from trl.chat_template_utils import has_generation_markers

    if not has_generation_markers(tokenizer.chat_template):
        return _rendered_by_prefixes(tokenizer, messages)
    texts, spans = render_jinja_template(
        conversations=[messages],
        chat_template=tokenizer.chat_template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    return texts[0], [tuple(span) for span in spans[0]]


def _rendered_by_prefixes(tokenizer: Any, messages: Messages) -> tuple[str, list[Span]]:
    """The same without markers: what each assistant turn adds to the prompt before it.

    Templates may render a turn differently once others follow it; then the places cannot be known, which is an error
    (`TemplateError`) of the row, never a guess.
    """

    def render(part: Messages, prompt: bool = False) -> str:
        return tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=prompt)

    whole, spans = render(messages), []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(messages[:index], prompt=True) if index else whole[: whole.index(message["content"].strip())]
        after = render(messages[: index + 1]).rstrip()
        start = _common_prefix(whole, before)  # some prompts end in a hint that the finished turn has not
        if not whole.startswith(after) or start >= len(after):
            raise jinja2.TemplateError("this template writes an earlier turn differently when others follow it")
        spans.append((start, len(after)))
    return whole, spans


def _common_prefix(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))

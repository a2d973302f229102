"""One row as tokens and labels, or why it is not trained."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio.datasets.forms import LM as TASK
from studio.datasets.forms import for_task, why_not
from studio.rendering import seen
from studio.rendering.messages import Messages, clean
from studio.rendering.templates import LeftOut, Refused, Rendered, Span, Turn, form_of, stop_ids, turn_end

IGNORED = -100
LONGEST_TOKENS = FIELDS["max_length"].limits["high"]
PIECE_CHARACTERS = 200_000
"""A longer text is counted in such pieces first, since nothing stops a tokenizer at work: megabytes take seconds."""


@dataclass(frozen=True)
class Encoded:
    """One row, ready for the collator. `offsets` places each token in `text`, in characters; of many rows encoded at
    once it is empty."""

    input_ids: Any
    """Ids: a list, or int32 (tokens,)."""
    labels: Any
    text: str
    offsets: list[Span]
    notes: tuple[str, ...] = ()
    """What the text leaves out of the row: `reasoning_left_out`, `system_left_out`, `unknown_tokens`; or
    `earlier_turns_read`: only the last answers are trained."""
    ends: tuple[int, ...] = ()
    """Tokens behind which an answer is over and a conversation can be split."""
    part_of: int = 0
    """The tokens of the whole row where this is a part of one."""

    @property
    def trained_tokens(self) -> int:
        return int(np.count_nonzero(np.asarray(self.labels) != IGNORED))


@dataclass(frozen=True)
class Dropped:
    """Why a row is not trained: `too_long` (length, limit in tokens), `cut_untrained` (the same; nothing of what the
    limit leaves is trained), `nothing_trained`, `template` (detail), `answer_left_out`, `turn_left_out`,
    `tools_left_out` (text: what the template does not write); or that it is not a row to be trained so
    (`studio.datasets.forms.why_not`)."""

    reason: str
    params: dict[str, Any] = field(default_factory=dict)


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """The tokens a model is asked with: those that a trained row with these messages has before the answer. Raises
    `Refused`."""
    prompt = form_of(tokenizer).prompt(messages)
    return _tokenize(tokenizer, prompt.text, [turn.start for turn in prompt.turns])[0]


def encode_row(
    tokenizer: Any, row: dict[str, Any], recipe: Recipe, cancelled: Callable[[], bool] = lambda: False
) -> Encoded | Dropped:
    """One normalised row as tokens and labels, or why it cannot be trained; `too_long` where it is longer than
    `recipe.max_length`. Raises `Problem` (`base.template_*`, `worker.cancelled`)."""
    return _encode(tokenizer, row, recipe.max_length, recipe.assistant_only_loss, cancelled)


def encode_whole(
    tokenizer: Any, row: dict[str, Any], recipe: Recipe, cancelled: Callable[[], bool] = lambda: False
) -> Encoded | Dropped:
    """The same whatever its length, up to the longest that a recipe may ask for."""
    return _encode(tokenizer, row, LONGEST_TOKENS, recipe.assistant_only_loss, cancelled)


def _encode(
    tokenizer: Any, row: dict[str, Any], limit: int, assistant_only: bool, cancelled: Callable[[], bool]
) -> Encoded | Dropped:
    stored, row = row, for_task(row, TASK) or {}
    if not row:
        return Dropped(*why_not(stored, TASK))
    whole = None if "messages" in row else bare(tokenizer, clean(row["text"]))
    try:
        rendered = None if whole is not None else _rendered(tokenizer, row)
    except LeftOut:
        return Dropped("answer_left_out", seen.last_answer(row["messages"]))
    except Refused as refused:
        return Dropped("template", {"detail": str(refused)})
    if isinstance(rendered, seen.Lost):
        return Dropped(rendered.reason, rendered.params)
    if length := _surely_over(tokenizer, rendered.text if whole is None else whole, limit, cancelled):
        return Dropped("too_long", {"length": length, "limit": limit})
    if whole is not None:
        encoded = _encode_text(tokenizer, whole)
    else:
        encoded = _encode_messages(tokenizer, row["messages"], rendered, assistant_only)
    if len(encoded.input_ids) > limit:
        return Dropped("too_long", {"length": len(encoded.input_ids), "limit": limit})
    return encoded if encoded.trained_tokens else Dropped("nothing_trained")


def _rendered(tokenizer: Any, row: dict[str, Any]) -> Any:
    """The first text of a conversation that has all of it, or what even the last one lacks."""
    messages, tools, missing = row["messages"], clean(row.get("tools")), None
    for rendered in form_of(tokenizer).conversation(messages, tools):
        missing = seen.lost(messages, tools, rendered)
        if not missing:
            return rendered
    return missing


def _surely_over(tokenizer: Any, text: str, limit: int, cancelled: Callable[[], bool]) -> int:
    """The tokens of a text that is longer than `limit` by far, counted in pieces as far as that is certain; 0 for any
    other."""
    if len(text) <= PIECE_CHARACTERS:
        return 0
    certain, tokens = limit + limit // 50 + 100, 0  # a cut adds a token or two
    for at in range(0, len(text), PIECE_CHARACTERS):
        if cancelled():
            raise Problem("worker.cancelled")
        tokens += len(tokenizer(text[at : at + PIECE_CHARACTERS], add_special_tokens=False)["input_ids"])
        if tokens > certain:
            return tokens
    return 0


def bare(tokenizer: Any, text: str) -> str:
    """Plain text, without blanks outside a start token and an end token that it brings itself."""
    if tokenizer.bos_token and text.lstrip().startswith(tokenizer.bos_token):
        text = text.lstrip()
    return text.rstrip() if text.rstrip().endswith(tokenizer.eos_token) else text


def _encode_text(tokenizer: Any, text: str) -> Encoded:
    """Plain text trains whole, and teaches where it begins and ends: with one start token, where there is one, and one
    end token."""
    out = tokenizer(text, add_special_tokens=True, return_offsets_mapping=True)
    ids, offsets = list(out["input_ids"]), [tuple(offset) for offset in out["offset_mapping"]]
    ids, offsets, text = text_ids(tokenizer, text, ids, offsets)
    return Encoded(ids, list(ids), text, offsets, unknown_in(tokenizer, text, ids))


def text_ids(tokenizer: Any, text: str, ids: list[int], offsets: list[Span]) -> tuple[list[int], list[Span], str]:
    """What the tokenizer made of a plain text, with one start and one end token, and the text that they stand for."""
    if (
        tokenizer.bos_token_id is not None
        and ids[:2] == [tokenizer.bos_token_id] * 2
        and text.startswith(tokenizer.bos_token)
    ):
        ids, offsets = ids[1:], offsets[1:]
    if ids[-2:] == [tokenizer.eos_token_id] * 2 and text.endswith(tokenizer.eos_token):
        ids, offsets = ids[:-1], offsets[:-1]
    if ids[-1:] != [tokenizer.eos_token_id]:
        text, ids, offsets = _with_end(tokenizer, text, ids, offsets)
    return ids, offsets, text


def _encode_messages(tokenizer: Any, messages: Messages, rendered: Rendered, assistant_only: bool) -> Encoded:
    text, trains = rendered.text, trained_turns(tokenizer, messages, rendered)
    ids, offsets = _tokenize(tokenizer, text, [turn.start for turn in rendered.turns])
    mask = _mask(tokenizer, ids, offsets, trains)
    if mask and mask[-1] and not is_closed(tokenizer, ids, len(ids)):
        text, ids, offsets = _with_end(tokenizer, text, ids, offsets)
        mask.append(True)
    ends = tuple(at for at in range(1, len(mask)) if mask[at - 1] and not mask[at])
    if not assistant_only:
        read = [turn for turn in rendered.turns if turn not in trains]
        mask = [not is_read for is_read in _mask(tokenizer, ids, offsets, read)]
    labels = [id if on else IGNORED for id, on in zip(ids, mask, strict=True)]
    unknown = unknown_in(tokenizer, text, [label for label in labels if label != IGNORED])
    only_read = (seen.READ,) if len(trains) < len(wanted_turns(messages, rendered)) else ()
    return Encoded(ids, labels, text, offsets, (*seen.notes(messages, rendered), *only_read, *unknown), ends)


def wanted_turns(messages: Messages, rendered: Rendered) -> list[Turn]:
    return [turn for turn in rendered.turns if messages[turn.index].get("trained", True)]


def trained_turns(tokenizer: Any, messages: Messages, rendered: Rendered) -> list[Turn]:
    """The turns that are to be trained, but those before the last question where the template asks for answers another
    way."""
    questions = [index for index, message in enumerate(messages) if message["role"] == "user"]
    since = 0 if len(questions) < 2 or form_of(tokenizer).asks_as_before else questions[-1]
    return [turn for turn in wanted_turns(messages, rendered) if turn.index >= since]


def _mask(tokenizer: Any, ids: list[int], offsets: list[Span], turns: list[Turn]) -> list[bool]:
    """Which tokens are of these turns, the ends of the turns included."""
    return _closed_turns(tokenizer, ids, _inside(offsets, [(turn.start, turn.end) for turn in turns]))


def unknown_in(tokenizer: Any, text: str, trained: Any) -> tuple[str, ...]:
    """Whether characters of the text became the unknown token, which is nothing to learn."""
    id, token = tokenizer.unk_token_id, tokenizer.unk_token
    if id is None or id in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id):
        return ()
    return (seen.UNKNOWN,) if np.count_nonzero(np.asarray(trained) == id) > text.count(token) else ()


def _tokenize(tokenizer: Any, text: str, cuts: list[int]) -> tuple[list[int], list[Span]]:
    """Ids and places of a text in one go, unless that would join the end of a prompt (at a cut) to the beginning of its
    answer.

    Chat asks with the tokens up to the cut. There the text is taken in two pieces, so that training reads the same
    ones.
    """
    ids, offsets = _ids_and_offsets(tokenizer, text)
    for cut in cuts:
        if _is_joined(tokenizer, text, cut, ids, offsets):
            (left, left_offsets), (right, right_offsets) = (
                _ids_and_offsets(tokenizer, text[:cut]),
                _continued(tokenizer, text[cut:]),
            )
            later = [other - cut for other in cuts if other > cut]
            if any(_is_joined(tokenizer, text[cut:], other, right, right_offsets) for other in later):
                right, right_offsets = _tokenize(tokenizer, text[cut:], later)
            return left + right, left_offsets + [(start + cut, end + cut) for start, end in right_offsets]
    return ids, offsets


def _is_joined(tokenizer: Any, text: str, cut: int, ids: list[int], offsets: list[Span]) -> bool:
    if not 0 < cut < len(text):
        return False
    if not between_blanks(text, cut):  # blanks may be missing from the places of tokens; anything else has its own
        return any(start < cut < end for start, end in offsets)
    alone = tokenizer(text[:cut], add_special_tokens=False)["input_ids"]
    return ids[: len(alone)] != alone


def between_blanks(text: str, cut: int) -> bool:
    """Whether a blank stands at a cut, other than one line's end before it."""
    before = text[cut - 1]
    return text[cut].isspace() or before.isspace() and (before != "\n" or text[cut - 2 : cut - 1].isspace())


def _ids_and_offsets(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    out = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(out["input_ids"]), [tuple(offset) for offset in out["offset_mapping"]]


def _continued(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """A text that follows on another: after a special token, so that no blank is put before it as at a beginning."""
    anchor = tokenizer.eos_token
    ids, offsets = _ids_and_offsets(tokenizer, anchor + text)
    return ids[1:], [(start - len(anchor), end - len(anchor)) for start, end in offsets[1:]]


def _with_end(tokenizer: Any, text: str, ids: list[int], offsets: list[Span]) -> tuple[str, list[int], list[Span]]:
    longer = text + tokenizer.eos_token
    return longer, [*ids, tokenizer.eos_token_id], [*offsets, (len(text), len(longer))]


def _inside(offsets: list[Span], spans: list[Span]) -> list[bool]:
    """Which tokens have a character inside one of `spans` (both in text order).

    A token trimmed to nothing (a blank that a tokenizer leaves out of its offsets) belongs where it stands.
    """
    inside, at = [], 0
    for start, end in offsets:
        while at < len(spans) and (spans[at][1] < start or spans[at][1] == start < end):
            at += 1
        low, high = spans[at] if at < len(spans) else (0, 0)
        inside.append(max(start, low) < min(end, high) if start < end else low < start <= high)
    return inside


def _closed_turns(tokenizer: Any, ids: list[int], mask: list[bool]) -> list[bool]:
    """Extend each trained stretch over the token that ends the turn, where a template left it outside.

    Without it the model never learns to stop.
    """
    closed = list(mask)
    for last in (i for i, on in enumerate(mask) if on and not any(mask[i + 1 : i + 2])):
        until = closed_until(tokenizer, ids, last)
        closed[last + 1 : until] = [True] * (until - last - 1)
    return closed


def closed_until(tokenizer: Any, ids: Any, last: int) -> int:
    """The token after the turn whose last one is `last`: with the token that ends it, where nothing but blanks stand
    between."""
    following = last + 1
    while following < len(ids) and is_blank(tokenizer, ids[following]):
        following += 1
    ends = following < len(ids) and ids[following] == turn_end(tokenizer)
    return following + 1 if ends and not is_closed(tokenizer, ids, last + 1) else last + 1


def is_closed(tokenizer: Any, ids: Any, until: int) -> bool:
    """Whether a stretch that reaches to token `until` ends in one that ends the turn, blanks after it aside."""
    last = next((ids[at] for at in range(until - 1, -1, -1) if not is_blank(tokenizer, ids[at])), None)
    return last in stop_ids(tokenizer)


def is_blank(tokenizer: Any, id: int) -> bool:
    known = _BLANK.setdefault(tokenizer, {})
    id = int(id)
    if id not in known:
        known[id] = not tokenizer.decode([id]).strip()
    return known[id]


_BLANK: weakref.WeakKeyDictionary[Any, dict[int, bool]] = weakref.WeakKeyDictionary()


def collator(tokenizer: Any) -> Any:
    """TRL's own collator, as the training uses it: pads on the right, labels of padding are -100."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)

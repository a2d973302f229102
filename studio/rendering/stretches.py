"""Where trained stretches of many texts end: with the token that ends a turn, and where a conversation can be split.
The same as `row_tokens` says of one row, for all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.rendering.row_tokens import is_blank
from studio.rendering.templates import stop_ids, turn_end
from studio.rendering.token_places import Tokens

_NOT_ASKED = -1


class Endings:
    """What of a tokenizer says where turns end, asked for once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos, self._turn_end = tokenizer.eos_token_id, turn_end(tokenizer)
        self._stops = np.array(stop_ids(tokenizer), np.int32)
        known = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id, None)
        self.has_unknown = tokenizer.unk_token_id not in known
        """Whether a token says that characters are not known, and nothing else."""
        self._blank: np.ndarray = np.full(len(tokenizer) + 1, _NOT_ASKED, np.int8)

    def closed(self, tokens: Tokens, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """bool (tokens,): which are of these stretches, with the tokens that end turns where a template left them
        outside."""
        mask = _inside(len(tokens.ids), first, last)
        lasts = np.flatnonzero(mask & ~_followed(tokens, mask))
        until, begins = tokens.firsts[1:][tokens.owners[lasts]], tokens.firsts[:-1][tokens.owners[lasts]]
        following = self._after_blanks(tokens.ids, lasts + 1, until)
        there = following < until
        ends = there & (tokens.ids[np.where(there, following, 0)] == self._turn_end)
        ends &= ~self._is_closed(tokens.ids, lasts, begins)
        return mask | _inside(len(tokens.ids), lasts[ends] + 1, following[ends] + 1)

    def ends(self, tokens: Tokens, answers: np.ndarray) -> dict[int, tuple[int, ...]]:
        """By text: behind which of its tokens an answer is over."""
        over = answers.copy()
        over[:-1] &= ~answers[1:]
        over[tokens.firsts[1:] - 1] = False  # behind the last there is nothing to split off
        places = np.flatnonzero(over) + 1
        owners = tokens.owners[places - 1]
        found: dict[int, tuple[int, ...]] = {}
        for text, place in zip(owners.tolist(), (places - tokens.firsts[owners]).tolist()):
            found[text] = (*found.get(text, ()), place)
        return found

    def open(self, tokens: Tokens, answers: np.ndarray) -> set[int]:
        """Texts whose last token is an answer's that does not end."""
        texts = np.flatnonzero(np.diff(tokens.firsts) > 0)
        lasts = tokens.firsts[1:][texts] - 1
        open_ = answers[lasts] & ~self._is_closed(tokens.ids, lasts, tokens.firsts[texts])
        return set(texts[open_].tolist())

    def _is_closed(self, ids: np.ndarray, lasts: np.ndarray, begins: np.ndarray) -> np.ndarray:
        """Whether what reaches to these tokens ends in one that ends the turn, blanks after it aside."""
        at = lasts.copy()
        while (back := self._is_blank(ids[np.maximum(at, 0)]) & (at >= begins)).any():
            at[back] -= 1
        return (at >= begins) & np.isin(ids[np.maximum(at, 0)], self._stops)

    def _after_blanks(self, ids: np.ndarray, at: np.ndarray, until: np.ndarray) -> np.ndarray:
        at = at.copy()
        while (on := (at < until) & self._is_blank(ids[np.minimum(at, len(ids) - 1)])).any():
            at[on] += 1
        return at

    def _is_blank(self, ids: np.ndarray) -> np.ndarray:
        if len(ids) and (most := int(ids.max())) >= len(self._blank):
            self._blank = np.append(self._blank, np.full(most + 1 - len(self._blank), _NOT_ASKED, np.int8))
        for id in np.unique(ids[self._blank[ids] == _NOT_ASKED]).tolist():
            self._blank[id] = is_blank(self._tokenizer, id)
        return self._blank[ids] == 1


def _inside(count: int, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """bool (count,): from each of `first` up to before `last`."""
    steps = np.zeros(count + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last, -1)
    inside: np.ndarray = np.cumsum(steps)[:-1] > 0
    return inside


def _followed(tokens: Tokens, mask: np.ndarray) -> np.ndarray:
    """Whether the next token of the same text is in it too."""
    follows = np.append(mask[1:], False)
    follows[tokens.firsts[1:][np.diff(tokens.firsts) > 0] - 1] = False
    return follows

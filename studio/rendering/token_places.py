"""Which tokens of many texts stand between two places of them, by one search for all.

Where a tokenizer writes bytes (GPT-2's way, which Llama 3, Qwen and most others took up) each token has as many bytes
wherever it stands: their sum is the place, and the tokenizer need not count characters. Any other one is asked for the
places of its tokens.
"""

from __future__ import annotations

import unicodedata
import weakref
from itertools import chain
from typing import Any

import numpy as np

_SAMPLE = "Hello, world!\n  x = 1; 你好 é 🏙️"
_WIDTHS: weakref.WeakKeyDictionary[Any, np.ndarray | None] = weakref.WeakKeyDictionary()


class Tokens:
    """The tokens of many texts behind one another. Places are characters (or bytes) of all texts behind one another
    too."""

    def __init__(self, tokenizer: Any, texts: list[str]) -> None:
        """Runs the Rust tokenizer on all its threads."""
        backend, self._texts = tokenizer.backend_tokenizer, texts
        widths = widths_of(tokenizer)
        encode = backend.encode_batch if widths is None else backend.encode_batch_fast
        encodings = encode(texts, add_special_tokens=False)
        many = [one.ids for one in encodings]
        counts = np.fromiter(map(len, many), np.int64, len(many))
        self.ids = np.fromiter(chain.from_iterable(many), np.int32, counts.sum())
        self.firsts: np.ndarray = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        """The first token of each text, and the one after all."""
        self.owners = np.repeat(np.arange(len(texts)), counts)
        self._in_bytes, self._composes = widths is not None, backend.normalizer is not None
        if widths is None:
            starts, ends, falls = _told_places(encodings, counts.sum())
            sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        else:
            starts, ends, falls, sizes = self._summed_places(widths)
        self._bases = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + 2)])
        """Where each text begins."""
        self.starts, self.ends = starts + self._bases[self.owners], ends + self._bases[self.owners]
        falls[1:] |= (np.diff(self.starts) < 0) | (np.diff(self.ends) < 0)
        irregular = np.zeros(len(texts), bool)
        irregular[self.owners[falls]] = True
        self.irregular: set[int] = set(np.flatnonzero(irregular).tolist())
        """Texts with tokens of no width, or whose places do not rise, or are not known."""
        lost = irregular[self.owners]
        self.starts[lost] = self.ends[lost] = self._bases[self.owners[lost]]
        if self._in_bytes and 10 * len(self.irregular) > len(texts):
            _WIDTHS[tokenizer] = None  # its tokens swallow blanks, say: from now on it is asked

    def _summed_places(self, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        taken = widths[self.ids]
        summed: np.ndarray = np.concatenate([np.zeros(1, np.int64), np.cumsum(taken)])
        sizes = np.fromiter(map(_size, self._texts), np.int64, len(self._texts))
        if self._composes:
            sizes[[at for at, text in enumerate(self._texts) if not _is_composed(text)]] = -1
        wrong = np.diff(summed[self.firsts]) != sizes
        starts = summed[:-1] - summed[self.firsts[:-1]][self.owners]
        return starts, starts + taken, wrong[self.owners] | (taken == 0), sizes

    def between(self, spans: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of (text, first character, one after the last): the tokens with a character between, as the first and the one
        after the last; whether the first begins before that character; and whether the last ends behind the other, of
        which tokens that are asked for their places, blanks at their ends left out, say something else."""
        texts, lows, highs = np.array(spans, np.int64).reshape(-1, 3).T
        if self._in_bytes:
            lows, highs = self._bytes(texts, lows), self._bytes(texts, highs)
        if not len(self.ids):
            return lows * 0, lows * 0, lows > highs, lows > highs
        lows, highs = lows + self._bases[texts], highs + self._bases[texts]
        first, last = np.searchsorted(self.ends, lows, "right"), np.searchsorted(self.starts, highs, "left")
        last = np.where(lows < highs, np.maximum(first, last), first)
        reaches_in = (first < self.firsts[texts + 1]) & (self.starts[np.minimum(first, len(self.ids) - 1)] < lows)
        reaches_out = (first < last) & (self.ends[np.maximum(last, 1) - 1] > highs) & self._in_bytes
        return first, last, reaches_in, reaches_out

    def _bytes(self, texts: np.ndarray, places: np.ndarray) -> np.ndarray:
        made = places.copy()
        for index, (text, place) in enumerate(zip(texts.tolist(), places.tolist())):
            if not (whole := self._texts[text]).isascii():
                made[index] = _size(whole[:place])
        return made


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _is_composed(text: str) -> bool:
    """Whether NFC changes nothing of it."""
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _told_places(encodings: list[Any], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    offsets = chain.from_iterable(chain.from_iterable(one.offsets for one in encodings))
    starts, ends = np.fromiter(offsets, np.int64, 2 * count).reshape(-1, 2).T
    return starts, ends, starts >= ends


def widths_of(tokenizer: Any) -> np.ndarray | None:
    """int64 (ids,): the bytes of each token; None where they depend on where it stands."""
    if tokenizer not in _WIDTHS:
        _WIDTHS[tokenizer] = _widths(tokenizer)
    return _WIDTHS[tokenizer]


def _widths(tokenizer: Any) -> np.ndarray | None:
    from tokenizers import decoders, models, normalizers

    backend = tokenizer.backend_tokenizer
    is_bytes = isinstance(backend.decoder, decoders.ByteLevel) and isinstance(backend.model, models.BPE)
    if not is_bytes or not isinstance(backend.normalizer, (type(None), normalizers.NFC)):
        return None
    vocabulary = backend.get_vocab(with_added_tokens=True)
    widths: np.ndarray = np.zeros(max(vocabulary.values(), default=-1) + 1, np.int64)
    for token, id in vocabulary.items():
        widths[id] = len(token)  # a character for each byte
    for id, added in tokenizer.added_tokens_decoder.items():
        widths[id] = len(added.content.encode())
    ids = backend.encode(_SAMPLE, add_special_tokens=False).ids
    return widths if widths[ids].sum() == len(_SAMPLE.encode()) else None

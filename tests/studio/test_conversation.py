"""What a browser gives back is untrusted, down to half of a character."""

from __future__ import annotations

import pytest

from studio.inference import conversation


@pytest.mark.parametrize("text", ["a\ud800", "\udc00b", "\ud83d \ude00", "\ude00\ud83d"])
def test_no_half_character_stays_in_a_conversation(text):
    answer = {"text": text, "model": text, "storage": text, "run": text, "stop": "end"}
    turns = conversation.restore(
        [{"prompt": text, "mode": None, "base": answer, "adapter": answer}, conversation.new_turn(text)]
    )
    assert str(turns).encode("utf-8") and len(turns) == 2
    assert all(message["content"].encode("utf-8") for message in conversation.history(turns, "base", "and now?"))


def test_a_whole_character_in_two_halves_is_made_whole():
    assert conversation.clean("\ud83d\ude00") == "\U0001f600" and conversation.clean(7) == 7

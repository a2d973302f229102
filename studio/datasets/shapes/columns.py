"""The columns people write, by the part they play. A new name for a part is a word in `COLUMNS`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from studio.datasets.values import Number, is_blank

# Compared in lower case, the most usual first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "消息"),
    "conversations": ("conversations", "conversation", "dialogue", "dialog", "对话"),
    "instruction": ("instruction", "prompt", "question", "query", "problem", "user", "human", "指令", "问题", "提问"),
    "input": ("input", "context", "输入"),
    "output": ("output", "response", "solution", "answer", "completion", "target", "assistant", "输出", "回答", "答案",
        "summary", "highlights", "abstract", "摘要"),
    # What an answer is about, where no column is named as a question.
    "source": ("dialogue", "dialog", "document", "article", "content", "text", "passage", "source", "文本", "内容"),
    "text": ("text", "content", "文本"),
    "system": ("system", "system_prompt", "系统"),
    "history": ("history",),
    "reasoning": ("reasoning_content", "reasoning", "thinking", "complex_cot", "思考"),
    "tools": ("tools", "functions"),
    "chosen": ("chosen", "chosen_response", "preferred_output", "preferred_response", "chosen_answer"),
    "rejected": ("rejected", "rejected_response", "rejected_messages", "non_preferred_output", "non_preferred_response",
        "rejected_answer"),
    "verdict": ("kto_tag", "is_chosen", "is_preferred", "desirable"),
    "label": ("label",),
    "media": ("images", "image", "videos", "video", "audios", "audio", "图片"),
    "role": ("role", "from", "speaker"),
    "id": ("message_id", "node_id", "id"),
    "parent": ("parent_id", "parent_message_id", "parent"),
    "thread": ("conversation_id", "conv_id", "dialogue_id", "dialog_id", "thread_id"),
    "deleted": ("deleted",),
    # A text with its class. Names come before numbers: `label_text` says what `label` counts.
    "labelled": ("text", "sentence", "sentence1", "premise", "question1", "review", "comment", "tweet", "content",
        "文本", "句子", "内容", "评论"),
    "text_pair": ("text_pair", "sentence2", "hypothesis", "question2"),
    "class": ("label_text", "label_name", "label", "labels", "sentiment", "intent", "emotion", "标签", "类别", "情感"),
    "tokens": ("tokens", "words"),
    "tags": ("ner_tags", "tags", "pos_tags", "chunk_tags", "bio_tags", "labels"),
    # A question whose answer stands in a context.
    "context": ("context", "passage", "paragraph", "上下文"),
    "asked": ("question", "query", "问题"),
    "answers": ("answers",),
    "span": ("answer", "answer_text"),
    "answer_start": ("answer_start", "answer_starts"),
    # Texts that are alike or not.
    "anchor": ("anchor", "query", "sentence1", "text1", "sentence_a", "question", "sentence"),
    "positive": ("positive", "pos", "positives"),
    "negative": ("negative", "neg", "negatives"),
    "other": ("sentence2", "text2", "sentence_b"),
    "score": ("score", "similarity", "similarity_score"),
    "from": ("source", "src", "source_text", "input_text", "原文"),
    "to": ("target", "tgt", "target_text", "output_text", "译文"),
    "translation": ("translation",),
}  # fmt: skip
_VERDICTS = {
    **dict.fromkeys(("true", "1", "1.0", "good", "chosen", "desirable"), True),
    **dict.fromkeys(("false", "0", "0.0", "bad", "rejected", "undesirable"), False),
}
KNOWN_COLUMNS = frozenset(name for names in COLUMNS.values() for name in names) - {"translation"}
"""Of others that hold an object each key is told when nobody reads it."""


def columns_of(row: dict[str, Any]) -> dict[str, str]:
    """Which column of a row plays which part: `{"instruction": "Question", ...}`. One that holds a value goes first."""
    return {
        part: there[0] if len(there) == 1 else next((name for name in there if not is_blank(row[name])), there[0])
        for part, there in _by_part(tuple(row))
    }


@lru_cache(maxsize=256)
def _by_part(names: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """The columns that may play each part, for rows with these names."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name.strip().lower(), name)
    found = ((part, [by_name[name] for name in known if name in by_name]) for part, known in COLUMNS.items())
    return [(part, there) for part, there in found if there]


def unused_columns(row: dict[str, Any], used: set[str]) -> Iterator[str]:
    """Columns that hold a value and are not used; those of an object one by one, as `meta.id`."""
    for name, value in row.items():
        if name in used or is_blank(value):
            continue
        if isinstance(value, dict) and str(name).strip().lower() not in KNOWN_COLUMNS:
            inside = ((f"{name}.{key}", inner) for key, inner in value.items() if not is_blank(inner))
            yield from (key for key, _ in inside if key not in used)
        else:
            yield str(name)


def as_verdict(value: object) -> bool | None:
    """A mark of a good or bad answer (KTO): true, false, 1, 0, also as text, or such a word; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return bool(value) if value in (0, 1) else None
    if isinstance(value, (str, Number)):
        return _VERDICTS.get(value.strip().lower())
    return None

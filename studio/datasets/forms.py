"""What a stored row is, by its keys, and what can be trained on it.

A *shape* is how people write rows (`studio.datasets.shapes`), a *form* what they become; several shapes have one form.
Each form names the tasks that it can train, by PEFT's `TaskType` or TRL's trainer; `for_task` is a row as such a task
takes it. Rows of every form are read through it, so that what is not trained is counted and never trained unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from estimator.recipe.tasks import CAUSAL_LM

Row = dict[str, Any]
LM = CAUSAL_LM.peft_task_type
"""The task that trains today."""
PLACE = ("row", "file")
"""Where a row stands in what was brought; the rest is its content."""
SAID_CHARACTERS = 4_000
"""Of one part of a row, where it is shown."""
TASKS = (
    LM, "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION",
    "DPO", "KTO", "ORPO", "REWARD", "GRPO",
)  # fmt: skip
"""PEFT's `TaskType`, and TRL's trainers of preferences; GRPO takes prompts alone."""


@dataclass(frozen=True)
class Form:
    """What rows of one kind hold. `keys` are always there, `more` where there is something to say."""

    name: str
    keys: tuple[str, ...]
    more: tuple[str, ...]
    tasks: tuple[str, ...]
    """The one that it is made for stands first."""


FORMS = {
    form.name: form
    for form in (
        Form("chat", ("messages",), ("tools",), (LM, "SEQ_2_SEQ_LM", "GRPO")),
        Form("preference", ("prompt", "chosen", "rejected"), ("tools",),
             ("DPO", "ORPO", "REWARD", LM, "GRPO")),
        Form("unpaired", ("prompt", "completion", "label"), ("tools",), ("KTO", LM, "GRPO")),
        Form("tags", ("tokens", "tags"), (), ("TOKEN_CLS",)),
        Form("span", ("question", "context", "answers"), (), ("QUESTION_ANS", LM, "SEQ_2_SEQ_LM", "GRPO")),
        Form("pairs", ("anchor",), ("positive", "negatives", "score"), ("FEATURE_EXTRACTION",)),
        Form("seq2seq", ("source", "target"), (), ("SEQ_2_SEQ_LM", LM, "GRPO")),
        Form("labelled", ("text", "label"), ("text_pair",), ("SEQ_CLS", LM, "SEQ_2_SEQ_LM", "GRPO")),
        Form("text", ("text",), (), (LM,)),
    )
}  # fmt: skip
"""By name, in the order in which they are told: a text with a label is no plain text.

`messages`, `prompt`, `chosen`, `rejected` and `completion` are messages as `studio.datasets.store` describes them;
where a file has no roles `chosen` and `rejected` are whole texts, and `prompt` is empty. `label` of an unpaired row is
whether its completion is good; of a labelled row a word, a number, or a list of words where several hold. `answers` are
`{"text": [...], "answer_start": [...]}` in characters of the context, both empty where it holds no answer.
`positive` is a text, or several.
"""


def form_of(row: Row) -> str:
    """The name of a stored row's form. Raises `ValueError` for what is none."""
    if "messages" in row:
        return "chat"
    for form in FORMS.values():
        if all(key in row for key in form.keys):
            return form.name
    raise ValueError(f"{', '.join(row) or 'nothing'}: no form of a row")


def tasks_of(form: str) -> tuple[str, ...]:
    """The tasks that rows of this form can train, the one they are made for first."""
    return FORMS[form].tasks


def for_task(row: Row, task: str) -> Row | None:
    """A row as `task` trains it, with its `row` and `file`; None where it does not.

    For CAUSAL_LM that is a conversation or a text: the chosen answer and never the rejected one, a good answer and
    never a bad one, a text with its label as the answer.
    """
    if task == LM and ("messages" in row or "text" in row and "label" not in row):
        return row
    content = {key: value for key, value in row.items() if key not in PLACE}
    form = form_of(row)
    if task not in tasks_of(form):
        return None
    made = _AS[task](form, content)
    return None if made is None else {**made, **{key: row[key] for key in PLACE if key in row}}


def why_not(row: Row, task: str) -> tuple[str, dict[str, Any]]:
    """Why `for_task` gives nothing: a reason of `dataset.reason_*` with its values."""
    form = form_of(row)
    if task not in tasks_of(form):
        return "not_of_task", {"form": form, "task": task}
    if form == "unpaired" and not row["label"]:
        return "marked_bad", {}
    if form == "span" and not row["answers"]["text"]:
        return "no_span", {}
    return "not_so_for_task", {"form": form, "task": task}


def said(row: Row) -> Iterator[tuple[str, str]]:
    """Who says what, of each turn and text of a row; `text` says what has no speaker."""
    for key, value in row.items():
        if key in ("tools", "label", "tags", "score", *PLACE):
            continue
        if isinstance(value, dict):
            value = value.get("text", [])
        parts = value if isinstance(value, list) else [value]
        yield from ((str(one.get("role", "")), one.get("content") or "") for one in parts if isinstance(one, dict))
        if texts := [one for one in parts if isinstance(one, str)]:
            yield "text", " ".join(texts)


def beside(row: Row, is_trained: bool) -> Iterator[dict[str, Any]]:
    """What a row says that its tokens do not show as what it is, `{"part", "role", "text", "trained"}` each: a rejected
    answer, a mark of good or bad, a label (which is trained as the answer). Of a row that is not trained all of it."""
    form = form_of(row)
    told = {"preference": ("rejected",), "unpaired": ("label",), "labelled": ("label",), "span": ("answers",)}
    for key in told.get(form, ()) if is_trained else tuple(row):
        if key in row and key not in PLACE:
            is_answer = is_trained and form in ("labelled", "span")
            yield from ({"part": key, **one, "trained": is_answer} for one in _parts_of(row[key]))


def _parts_of(value: Any) -> Iterator[dict[str, str]]:
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        for message in value:
            calls = json.dumps(message["tool_calls"], ensure_ascii=False) if message.get("tool_calls") else ""
            texts = (message.get("reasoning_content"), message.get("content"), calls)
            yield {"role": str(message["role"]), "text": "\n".join(text for text in texts if text)[:SAID_CHARACTERS]}
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    yield {"role": "", "text": text[:SAID_CHARACTERS]}


def text_of(row: Row) -> str:
    """All that a row says, for a reader: `user: ...`, `chosen: ...`, one part after another."""
    if "messages" in row:
        return _turns(row["messages"])
    content = {key: value for key, value in row.items() if key not in (*PLACE, "tools")}
    if set(content) == {"text"}:
        return str(content["text"])
    return "\n\n".join(_part(key, value) for key, value in content.items())


def _part(key: str, value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _turns(value) if key == "prompt" else f"{key}:\n{_turns(value)}"
    if isinstance(value, dict):
        value = value.get("text", value)
    return f"{key}: {', '.join(map(str, value))}" if isinstance(value, list) else f"{key}: {value}"


def _turns(messages: list[Row]) -> str:
    return "\n\n".join(f"{message['role']}: {message.get('content') or ''}" for message in messages)


def _causal(form: str, content: Row) -> Row | None:
    if form == "preference":
        return _joined(content, content["chosen"])
    if form == "unpaired":
        return _joined(content, content["completion"]) if content["label"] else None
    pair = _source_and_target(form, content)
    return pair and {"messages": [_message("user", pair["source"]), _message("assistant", pair["target"])]}


def _joined(content: Row, answer: Any) -> Row:
    if isinstance(answer, str):
        return {"text": answer}
    return {"messages": [*content["prompt"], *answer], **_tools(content)}


def _source_and_target(form: str, content: Row) -> Row | None:
    """A question with its answer, as two texts."""
    if form == "seq2seq":
        return content
    if form == "labelled":
        label = content["label"]
        said = ", ".join(map(str, label)) if isinstance(label, list) else str(label)
        asked = "\n\n".join(content[key] for key in ("text", "text_pair") if key in content)
        return {"source": asked, "target": said} if said else None
    if form == "span":
        found = content["answers"]["text"]
        return {"source": f"{content['question']}\n\n{content['context']}", "target": found[0]} if found else None
    messages = content["messages"]
    plain = [one["role"] for one in messages] == ["user", "assistant"] and not _tools(content)
    plain = plain and messages[1].keys() == {"role", "content"}
    return {"source": messages[0]["content"], "target": messages[1]["content"]} if plain else None


def _classified(form: str, content: Row) -> Row:
    return content


def _preferred(form: str, content: Row) -> Row:
    """As TRL takes pairs; where the prompt stands in both answers it finds it itself."""
    if not content["prompt"]:
        answers = {key: content[key] for key in ("chosen", "rejected")}
        return {key: said if isinstance(said, str) else _bare(said) for key, said in answers.items()} | _tools(content)
    return {key: _bare(content[key]) for key in ("prompt", "chosen", "rejected")} | _tools(content)


def _judged(form: str, content: Row) -> Row:
    return {**content, "prompt": _bare(content["prompt"]), "completion": _bare(content["completion"])}


def _asked(form: str, content: Row) -> Row | None:
    """The prompt alone."""
    if form in ("preference", "unpaired"):
        prompt = content["prompt"]
    elif form == "chat":
        prompt = content["messages"][:-1]
    else:
        pair = _source_and_target(form, content)
        prompt = [_message("user", pair["source"])] if pair else []
    return {"prompt": _bare(prompt), **_tools(content)} if prompt else None


def _message(role: str, text: str) -> Row:
    return {"role": role, "content": text}


def _bare(messages: list[Row]) -> list[Row]:
    """Without our mark of what is trained: there the trainer says it."""
    return [{key: value for key, value in message.items() if key != "trained"} for message in messages]


def _tools(content: Row) -> Row:
    return {"tools": content["tools"]} if content.get("tools") else {}


_AS: dict[str, Callable[[str, Row], Row | None]] = {
    LM: _causal,
    "SEQ_2_SEQ_LM": _source_and_target,
    **dict.fromkeys(("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"), _classified),
    **dict.fromkeys(("DPO", "ORPO", "REWARD"), _preferred),
    "KTO": _judged,
    "GRPO": _asked,
}

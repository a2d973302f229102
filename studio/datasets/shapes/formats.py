"""What rows people write, and what they become: Alpaca, ShareGPT, OpenAI, plain text, and answers marked good or
bad."""

from __future__ import annotations

from functools import cache
from typing import Any

from studio.datasets.shapes.columns import COLUMNS, as_verdict, columns_of, unused_columns
from studio.datasets.shapes.messages import ROLES, Message, conversation, is_conversation
from studio.datasets.shapes.tools import tools_of
from studio.datasets.source import RowError
from studio.datasets.values import Cleaner, Doubled, Number, is_blank, json_text, listed, type_word

ASKED = ("instruction", "input", "source")
"""Parts that may be the question, the first that is there."""


def recognise(row: dict[str, Any]) -> str | None:
    """The shape of a row by its columns, or None. What says that an answer is good or bad is looked for first."""
    columns = columns_of(row)
    turns = _turns_part(row, columns)
    asked = any(part in columns for part in ASKED)
    answered = "output" in columns and asked
    whole = turns or answered
    marked = {
        part
        for part in ("chosen", "rejected")
        if part in columns and not isinstance(row[columns[part]], (bool, int, float, Number))
    }
    if "rejected" in marked and (whole or "chosen" in marked) or "chosen" in marked and turns:
        return "preference"
    if whole and (
        "verdict" in columns and as_verdict(row[columns["verdict"]]) is not None or _is_judged(row, columns, turns)
    ):
        return "unpaired"
    if turns:
        return "openai" if turns == "messages" else "sharegpt"
    if answered:
        return "alpaca"
    if "text" in columns and _is_one_message(row, columns):
        return "message"
    return "text" if "text" in columns else None


def columns_read(shape: str, row: dict[str, Any]) -> dict[str, str]:
    """The columns that this shape reads of a row, by part."""
    one = _Row(row, {})
    parts = {"role", "text"} if shape == "threads" else one._parts(shape)
    return {part: name for part, name in one.columns.items() if part in parts and part != "media"}


def _turns_part(row: dict[str, Any], columns: dict[str, str]) -> str | None:
    """The part that holds the turns. A dialogue that is a text with a summary beside it is no list of turns."""
    if "messages" in columns:
        return "messages"
    if "conversations" in columns and ("output" not in columns or is_conversation(row[columns["conversations"]])):
        return "conversations"
    return None


def _is_judged(row: dict[str, Any], columns: dict[str, str], turns: str | None) -> bool:
    """Whether `label` marks an answer as good or bad; beside a text it is a class."""
    return (
        "label" in columns
        and as_verdict(row[columns["label"]]) is not None
        and bool(turns or "instruction" in columns or "input" in columns)
    )


def _is_one_message(row: dict[str, Any], columns: dict[str, str]) -> bool:
    role = row[columns["role"]] if "role" in columns else None
    return isinstance(role, str) and role.strip().lower() in ROLES


def normalise(
    shape: str, row: object, usual: dict[str, str] | None = None, unused: set[str] | None = None
) -> tuple[dict[str, Any], bool]:
    """A row as `{"messages": ..., "tools"?: ...}` or `{"text": ...}`, and whether its text was cleaned.

    `usual` names the file's columns by part, for the message that one is missing. Columns and keys that hold something
    and are not used are added to `unused`. Raises `RowError`.
    """
    if not isinstance(row, dict):
        raise RowError("not_object", found=type_word(row))
    if isinstance(row, Doubled):
        raise RowError("doubled", column=row.name)
    one = _Row(row, usual or {})
    try:
        content = one.content(shape)
    finally:
        if unused is not None:
            unused.update(one.cleaner.unused, unused_columns(row, one.used))
    return content, one.cleaner.changed


class _Row:
    """A row on its way: which column plays which part, and which were used."""

    def __init__(self, row: dict[str, Any], usual: dict[str, str]) -> None:
        self.row, self.usual = row, usual
        self.columns = columns_of(row)
        self.turns = _turns_part(row, self.columns)
        self.asked = next((part for part in ASKED if part in self.columns), "instruction")
        self.cleaner = Cleaner()
        self.used: set[str] = set()

    def content(self, shape: str) -> dict[str, Any]:
        self.used = {self.columns[part] for part in self._parts(shape) if part in self.columns}
        if shape == "text":
            return {"text": self.cleaner.text(self._cell("text"), self._name("text"), lines=False)}
        if not is_blank(self.row.get(self.columns.get("media"))):
            raise RowError("images", column=self._name("media"))
        if shape == "unpaired":
            self._check_verdict()
        made = (
            self._preference()
            if shape == "preference" and "chosen" in self.columns
            else {"messages": self._messages(shape)}
        )
        offered = self.row.get(self.columns.get("tools")) or self._openai_input().get("tools")
        if not is_blank(offered) and (tools := tools_of(offered, self._name("tools"))):
            made["tools"] = tools
        return made

    def _parts(self, shape: str) -> frozenset[str]:
        """The parts that this shape reads of this row."""
        is_chosen = shape == "preference" and "chosen" in self.columns
        verdict = self._verdict_part() if shape == "unpaired" else None
        return _parts_read(shape == "text", self._turns(shape), self.asked, is_chosen, verdict)

    def _turns(self, shape: str) -> str | None:
        """The part that holds the turns, or None where a column asks and another answers."""
        return {"openai": "messages", "sharegpt": "conversations", "alpaca": None}.get(shape, self.turns)

    def _verdict_part(self) -> str:
        return "verdict" if "verdict" in self.columns else "label"

    def _name(self, part: str) -> str:
        """The user's own word for a part."""
        return self.columns.get(part) or self.usual.get(part) or " / ".join(COLUMNS[part][:3])

    def _cell(self, part: str) -> Any:
        if part not in self.columns:
            raise RowError("missing", column=self._name(part))
        return self.row[self.columns[part]]

    def _text(self, part: str) -> str:
        return self.cleaner.text(self._cell(part), self._name(part))

    def _messages(self, shape: str) -> list[Message]:
        """A conversation, or a question with its answer. Ends with an answer."""
        if turns := self._turns(shape):
            return self._ended(self._with_system(conversation(self._cell(turns), self._name(turns), self.cleaner)))
        asked = self._question()
        answer = self._cell("output")
        if not isinstance(answer, str) and is_conversation(answer):  # JSON that is text is an answer
            return self._ended(asked + conversation(answer, self._name("output"), self.cleaner))
        made: Message = {"role": "assistant", "content": self._text("output")}
        if "reasoning" in self.columns and not is_blank(thought := self.row[self.columns["reasoning"]]):
            made["reasoning_content"] = self.cleaner.text(thought, self._name("reasoning"))
        return [*asked, made]

    def _question(self) -> list[Message]:
        """What is asked: `input` is joined to the instruction by an empty line; `history` holds earlier pairs.

        A list of messages as prompt (TRL) is read and not trained.
        """
        part = self.asked
        asked = self._cell(part)
        if part != "source" and is_conversation(asked):
            turns = conversation(asked, self._name(part), self.cleaner)
            return self._with_system(
                [{**turn, "trained": False} if turn["role"] == "assistant" else turn for turn in turns]
            )
        question = self._text(part)
        if part == "instruction" and not is_blank(more := self.row.get(self.columns.get("input"))):
            question += "\n\n" + self.cleaner.text(more, self._name("input"))
        return self._with_system([*self._history(), {"role": "user", "content": question}])

    def _history(self) -> list[Message]:
        messages: list[Message] = []
        if is_blank(self.row.get(self.columns.get("history"))):
            return messages
        found = listed(self._cell("history"), self._name("history"))
        for pair in [] if is_blank(found) else found if isinstance(found, (list, tuple)) else [found]:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise RowError("type", column=self._name("history"), found=type_word(pair))
            for role, said in zip(("user", "assistant"), pair, strict=True):
                messages.append({"role": role, "content": self.cleaner.text(said, self._name("history"))})
        return messages

    def _with_system(self, messages: list[Message]) -> list[Message]:
        said = self.row.get(self.columns.get("system"))
        if is_blank(said):
            return messages
        if any(message["role"] == "system" for message in messages):
            self.used.discard(self.columns["system"])  # the conversation has its own
            return messages
        return [{"role": "system", "content": self.cleaner.text(said, self._name("system"))}, *messages]

    def _ended(self, messages: list[Message]) -> list[Message]:
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()
            self.cleaner.changed = True
        if not messages:
            raise RowError("no_answer")
        return messages

    def _check_verdict(self) -> None:
        part = self._verdict_part()
        said = as_verdict(value := self._cell(part))
        if said is None:
            reason = {"column": self._name(part)}
            raise (
                RowError("empty", **reason) if is_blank(value) else RowError("verdict", **reason, found=str(value)[:40])
            )
        if not said:
            raise RowError("rejected", column=self._name(part), value=json_text(value)[:40])

    def _preference(self) -> dict[str, Any]:
        """The conversation with the chosen answer; the rejected one is not trained."""
        chosen, name = self._cell("chosen"), self._name("chosen")
        if not is_conversation(chosen):
            answer: Message = {"role": "assistant", "content": self.cleaner.text(chosen, name)}
            if not self.turns and self.asked not in self.columns:
                return {"text": self.cleaner.text(chosen, name, lines=False)}  # the prompt stands in it
            return {"messages": [*self._prior(), answer]}
        messages = conversation(chosen, name, self.cleaner)
        if messages and messages[0]["role"] == "assistant":
            return {"messages": self._ended(self._prior() + messages)}
        return {"messages": self._ended(self._with_system(messages))}  # the prompt stands in it

    def _prior(self) -> list[Message]:
        """What came before the chosen answer."""
        if self.turns:
            return self._with_system(conversation(self._cell(self.turns), self._name(self.turns), self.cleaner))
        if inside := self._openai_input():
            name = self._name(self.asked)
            self.cleaner.unused |= {
                f"{name}.{key}"
                for key, value in inside.items()
                if key not in ("messages", "tools") and not is_blank(value)
            }
            return self._with_system(conversation(inside["messages"], f"{name}.messages", self.cleaner))
        return self._question()

    def _openai_input(self) -> dict[str, Any]:
        """OpenAI's preference rows: `input` is an object with the messages and the tools."""
        asked = self.row.get(self.columns.get(self.asked))
        return asked if isinstance(asked, dict) and is_conversation(asked.get("messages")) else {}


@cache
def _parts_read(is_text: bool, turns: str | None, asked: str, is_chosen: bool, verdict: str | None) -> frozenset[str]:
    """The parts that are read of rows of one kind; asked for once a row."""
    if is_text:
        return frozenset({"text"})
    parts = {"system", "tools", "media"} | ({verdict} if verdict else set())
    if turns:
        parts.add(turns)
    else:
        parts |= {asked, "history", "output", "reasoning"} | ({"input"} if asked == "instruction" else set())
    return frozenset(parts - {"output", "reasoning"} | {"chosen"} if is_chosen else parts)


def label_is_class(values: list[Any]) -> bool:
    """Whether a `label` that looked like a verdict in one row is a class: another row has something else."""
    return any(not is_blank(value) and as_verdict(value) is None for value in values)

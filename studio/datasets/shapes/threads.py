"""Files with one message a row: joined to conversations by the id of the parent (trees) or of the conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from studio.datasets.shapes.columns import as_verdict, unused_columns
from studio.datasets.shapes.conversations import OPENAI
from studio.datasets.shapes.messages import CALL_KEYS, MASK_KEYS, REASONING_KEYS, TRAIN_KEYS
from studio.datasets.shapes.record import NO_MAPPING, Mapping, Reading, Shape
from studio.datasets.source import RowError
from studio.datasets.values import is_blank, type_word

JOINED_BY = ("parent", "thread")
_CARRIED = (*TRAIN_KEYS, *MASK_KEYS, *REASONING_KEYS, *CALL_KEYS)


class Threads:
    """Fed with every row, then asked for the conversations: a branch of a tree is one, and trains what no other has."""

    def __init__(self, columns: dict[str, str], mapping: Mapping = NO_MAPPING) -> None:
        self.columns, self._mapping = columns, mapping
        self.by_parent = "parent" in columns and "id" in columns
        self.unused: dict[int, set[str]] = {}
        self.characters = 0
        self._turns: dict[int, dict[str, Any]] = {}
        self._above: dict[int, str | None] = {}
        self._rows: dict[str, int] = {}
        self._wrong: dict[int, RowError] = {}

    def add(self, number: int, row: object) -> None:
        """One message, by its row's number."""
        try:
            self._add(number, row)
        except RowError as error:
            self._wrong[number] = error

    def _add(self, number: int, row: object) -> None:
        if isinstance(row, RowError):
            raise row
        if not isinstance(row, dict):
            raise RowError("not_object", found=type_word(row))
        columns = {**self.columns, **self._mapping.columns_of(row)}
        parts = {"role", "text", "id", "deleted", "parent" if self.by_parent else "thread"}
        used = {columns[part] for part in parts if part in columns} | set(_CARRIED)
        self.unused[number] = set(unused_columns(row, used))
        cell = lambda part: row.get(columns.get(part))  # noqa: E731
        self._turns[number] = {
            "role": cell("role"),
            "content": cell("text"),
            **{key: row[key] for key in _CARRIED if key in row},
        }
        self.characters += len(str(cell("text")))
        above = cell("parent" if self.by_parent else "thread")
        self._above[number] = None if is_blank(above) else str(above)
        if self.by_parent and not is_blank(cell("id")):
            self._rows[str(cell("id"))] = number
        if as_verdict(cell("deleted")):
            raise RowError("deleted", column=columns["deleted"])
        if not self.by_parent and self._above[number] is None:
            raise RowError("empty", column=columns["thread"])

    def conversations(self) -> Iterator[tuple[int, Any]]:
        """`(row, {"messages": [...]})` by the row of the last message, and `(row, RowError)` for messages in none."""
        joined: set[int] = set()
        for path in self._branches() if self.by_parent else self._groups():
            while path and not self._is_answer(path[-1]):
                path.pop()
            if not path or path[-1] in joined:
                continue
            yield path[-1], {"messages": [self._turn(number, number in joined) for number in path]}
            joined.update(path)
        for number in sorted({*self._turns, *self._wrong} - joined):
            if self.by_parent and number not in self._wrong:
                self._path(number)  # notes what is wrong above it
            yield number, self._wrong.get(number) or RowError("unanswered")

    def _turn(self, number: int, again: bool) -> dict[str, Any]:
        return {**self._turns[number], "trained": False} if again and self._is_answer(number) else self._turns[number]

    def _is_answer(self, number: int) -> bool:
        return self._mapping.keys.speaker(self._turns[number]["role"]) == "assistant"

    def _branches(self) -> Iterator[list[int]]:
        """From the root to each message that nobody answered."""
        parents = {
            self._rows.get(above)
            for number, above in self._above.items()
            if above is not None and number not in self._wrong
        }
        for number in self._turns:
            if number not in parents and number not in self._wrong and (path := self._path(number)):
                yield path

    def _path(self, number: int) -> list[int] | None:
        """The row numbers from the root to a message; None, and noted, where one between is missing, deleted or a
        ring."""
        path, seen = [number], {number}
        while (above := self._above[path[-1]]) is not None:
            parent = self._rows.get(above)
            if parent is None or parent in self._wrong or parent in seen:
                self._wrong[number] = RowError("no_parent", column=self.columns["parent"], value=above[:40])
                return None
            path.append(parent)
            seen.add(parent)
        return path[::-1]

    def _groups(self) -> Iterator[list[int]]:
        """The messages of each conversation, in the order of the file."""
        groups: dict[str, list[int]] = {}
        for number in self._turns:
            if number not in self._wrong:
                groups.setdefault(str(self._above[number]), []).append(number)
        yield from groups.values()


def _recognise(one: Reading) -> bool:
    return "text" in one.columns and "role" in one.columns and one.keys.speaker(one.value("role")) is not None


SHAPE = Shape(
    name="threads",
    form="chat",
    needs=(("role",), ("text",), JOINED_BY),
    takes=("id", "deleted"),
    recognise=_recognise,
    read=OPENAI.read,  # of what was joined
)

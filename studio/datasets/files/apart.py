"""A process that reads documents and workbooks: `python -m studio.datasets.files.apart`.

Their libraries were written for files that are whole. A damaged one may keep them busy for hours, fill the memory, or
end the process (calamine does where a lone cell stands in the last row and column). Here that costs the file, which is
named, and a cancelled reading ends at once. The process is started for the first such file and reads the
others too.

A line of JSON asks: `{"call": "rows" or "parts", "source": {...}}`. Lines answer: `{"row": [number, value]}`,
`{"error": [number, reason, params]}`, `{"share": x}`, and one of `{"end": value}` and `{"problem": {...}}` last.
"""

from __future__ import annotations

import dataclasses
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.files import reading
from studio.datasets.source import RowError, Source

SILENT_SECONDS = 90.0
"""The longest that one page or one sheet may take."""
MEMORY_BYTES = 800 * 1024**2
LOOK_SECONDS = 0.1
TOLD_SECONDS = 0.2
_FIELDS = ("name", "size_bytes", "part")


class Apart:
    """The process, as a context manager; it lives from the first question to the end of the context."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue(maxsize=1024)

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, source: Source) -> Iterator[tuple[int, Any]]:
        """The rows of a file, as its reader yields them; a document's by way of the process."""
        if source.format not in reading.APART:
            yield from reading.read(source)
            return
        source.encoding = source.format
        with source.on_disk() as path:
            yield from self._ask("rows", source, path)

    def parts(self, source: Source) -> list[str]:
        """The sheets of a workbook."""
        with source.on_disk() as path:
            events = self._ask("parts", source, path)
            while True:
                try:
                    next(events)
                except StopIteration as stop:
                    return list(stop.value or [])

    def _ask(self, call: str, source: Source, path: Path) -> Generator[tuple[int, Any], None, Any]:
        asked = {"path": str(path), **{name: getattr(source, name) for name in _FIELDS}}
        done = False
        try:
            self._send(source, json.dumps({"call": call, "source": asked}))
            while True:
                answer = json.loads(self._next(source))
                if "row" in answer:
                    yield answer["row"][0], answer["row"][1]
                elif "error" in answer:
                    number, reason, params = answer["error"]
                    yield number, RowError(reason, **params)
                elif "share" in answer:
                    source.read_share = answer["share"]
                elif "problem" in answer:
                    done = True
                    raise Problem(answer["problem"]["code"], **answer["problem"]["params"])
                else:
                    done = True
                    return answer["end"]
        finally:
            if not done:  # cancelled, stuck, or nobody reads on: what it would still say is of no use
                self._end()

    def _send(self, source: Source, line: str) -> None:
        if self._process is None:
            self._lines = queue.Queue(maxsize=1024)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "studio.datasets.files.apart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                errors="replace",
                cwd=Path(__file__).parents[3],
            )
            threading.Thread(target=_forward, args=(self._process, self._lines), daemon=True).start()
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Problem("dataset.ended_apart", file=source.shown) from error

    def _next(self, source: Source) -> str:
        """The next line; whatever keeps the process from saying one becomes a `Problem`."""
        since = time.monotonic()
        while True:
            try:
                line = self._lines.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                source.stop()
                if time.monotonic() - since > SILENT_SECONDS:
                    raise Problem("dataset.too_long_apart", file=source.shown, seconds=int(SILENT_SECONDS)) from None
                self._check_memory(source)
                continue
            if not line:
                raise Problem("dataset.ended_apart", file=source.shown)
            return line

    def _check_memory(self, source: Source) -> None:
        import psutil

        try:
            taken = psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return  # it has ended, which its last line tells
        if taken > MEMORY_BYTES:
            limit = f"{MEMORY_BYTES // 1024**2} MiB"
            raise Problem("dataset.too_much_apart", file=source.shown, limit=limit)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                try:
                    pipe.close()
                except OSError:
                    pass  # what was not yet written has no reader
            self._process.wait()
            self._process = None


def _forward(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """What the process says, and "" when it has ended. A full queue is waited for until the process is let go."""
    try:
        for line in process.stdout:
            while True:
                try:
                    lines.put(line, timeout=1)
                    break
                except queue.Full:
                    if process.poll() is not None and process.stdout.closed:
                        return
        lines.put("")
    except ValueError:
        return  # the pipe was closed under it


def main() -> None:
    """Answer until stdin closes."""
    for line in sys.stdin:
        asked = json.loads(line)
        source = Source(**{**asked["source"], "path": Path(asked["source"]["path"])})
        told = _Told(source)
        source.stop = told.tell
        try:
            if asked["call"] == "parts":
                _say({"end": reading.parts(source)})
                continue
            for number, value in reading.read(source):
                told.tell()
                is_error = isinstance(value, RowError)
                _say({"error": [number, value.reason, value.params]} if is_error else {"row": [number, value]})
            _say({"end": None})
        except Problem as problem:
            _say({"problem": problem.to_dict()})
        except MemoryError:
            raise
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"[:160]
            params = {"file": source.shown, "kind": source.format.upper(), "detail": detail}
            _say({"problem": Problem("dataset.broken_document", **params).to_dict()})


@dataclasses.dataclass
class _Told:
    """Says how far a reading is, now and then."""

    source: Source
    at: float = 0.0

    def tell(self) -> None:
        if time.monotonic() - self.at > TOLD_SECONDS:
            self.at = time.monotonic()
            _say({"share": self.source.read_share})
            sys.stdout.flush()


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=True, default=str) + "\n")
    if "end" in answer or "problem" in answer:
        sys.stdout.flush()


if __name__ == "__main__":
    main()

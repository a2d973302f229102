"""What is sent here is bounded before anything reads it: its size, its time, its form.

Gradio reads whole bodies into memory whatever their size, waits for them for ever, and half of a surrogate pair in a
text ends the event stream of whoever sent it, since the answer that repeats it is no UTF-8.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import anyio
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from studio.datasets.source import upload_limit_bytes
from studio.gate.routes import answer

UPLOAD = "/gradio_api/upload"
MAX_BODY_BYTES = 8 * 2**20
"""What a browser keeps for a page (5 MiB: a conversation) fits, and so does a list of a million rows' lengths."""
MAX_UPLOAD_BYTES: int | None = None
"""What an upload may have; None is what the disk has room for, with what the form adds."""
FORM_BYTES = 2**20
PATIENCE_S = 30.0
SLOWEST_BYTES_PER_S = 16 * 1024
"""A body has `PATIENCE_S` and the time it takes at this speed."""
MAX_ID_CHARS = 100
BY_NUMBER = ("/run/predict", "/queue/join")
"""Where the page calls a function by its number."""
_HALVES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a backslash, or a whole pair: as they are
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(\xed[\xa0-\xbf][\x80-\xbf])"  # half a pair, escaped or as bytes
)


class BoundedBodies:
    """JSON is read whole here, within bounds, and handed on as valid UTF-8; an upload is counted while it streams."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        is_upload = scope["path"].rstrip("/") == UPLOAD
        watched = _Watched(receive, Headers(scope=scope), _upload_bytes() if is_upload else MAX_BODY_BYTES)
        try:
            watched.check_stated()
            if is_upload:
                return await self.app(scope, *_streamed(watched, scope, receive, send))
            body = checked(await watched.whole(), scope)
        except Refused as refused:
            return await answer(refused.problem, refused.status, scope)(scope, receive, send)
        except Gone:
            return None
        await self.app(scope, replayed(body, receive), send)


def _upload_bytes() -> int:
    if MAX_UPLOAD_BYTES is not None:
        return MAX_UPLOAD_BYTES
    return upload_limit_bytes(Path(get_upload_folder())) + FORM_BYTES


class Refused(MultiPartException):
    """A body that is not taken. Gradio's reader of forms removes its temporary files for this kind of exception
    only."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(str(problem))
        self.status, self.problem = status, problem


class Gone(MultiPartException):
    """Who sent it hung up in the middle."""


class _Watched:
    """A `receive` that ends a body which is too large or too slow."""

    def __init__(self, receive: Receive, headers: Headers, limit: int) -> None:
        self._receive, self._headers, self._limit = receive, headers, limit
        self._came, self._since, self._is_complete = 0, time.monotonic(), False
        self.refused: Refused | None = None

    def check_stated(self) -> None:
        """What the headers say already. Raises `Refused`."""
        stated = self._headers.get("content-length", "0")
        self._check_size(int(stated) if stated.isdecimal() and len(stated) < 20 else 0)
        kind = self._headers.get("content-type", "").lower()
        if "charset" in kind and not re.search(r"charset\s*=\s*\"?utf-?8\"?\s*(;|$)", kind):
            raise self._refuse(415, Problem("request.charset", value=kind[:80]))

    async def whole(self) -> bytes:
        """The body. Raises `Refused`, `Gone`."""
        parts = []
        while not self._is_complete:
            parts.append((await self()).get("body", b""))
        return b"".join(parts)

    async def __call__(self) -> Message:
        if self._is_complete:
            return await self._receive()
        left = self._since + PATIENCE_S + self._came / SLOWEST_BYTES_PER_S - time.monotonic()
        with anyio.move_on_after(max(0.0, left)) as patience:
            message = await self._receive()
        if patience.cancelled_caught:
            seconds = round(time.monotonic() - self._since)
            raise self._refuse(408, Problem("request.too_slow", value=human_bytes(self._came), seconds=seconds))
        if message["type"] == "http.disconnect":
            raise Gone("the sender hung up")
        self._came += len(message.get("body", b""))
        self._check_size(self._came)
        self._is_complete = not message.get("more_body")
        return message

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise self._refuse(
                413, Problem("request.too_large", value=human_bytes(size), allowed=human_bytes(self._limit))
            )

    def _refuse(self, status: int, problem: Problem) -> Refused:
        self.refused = Refused(status, problem)
        return self.refused


def _streamed(watched: _Watched, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """`receive` and `send` for the application: what it says of a body that was cut is replaced by why it was cut."""
    is_said = False

    async def instead(message: Message) -> None:
        nonlocal is_said
        if not watched.refused:
            await send(message)
        elif not is_said:
            is_said = True
            await answer(watched.refused.problem, watched.refused.status, scope)(scope, receive, send)

    return watched, instead


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` whole, then what `receive` gives."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def once_more() -> Message:
        return messages.pop() if messages else await receive()

    return once_more


def checked(body: bytes, scope: Scope) -> bytes:
    """The body with U+FFFD for each half of a surrogate pair, as browsers write such text. Raises `Refused` for what is
    no JSON object in UTF-8, and for what names no function or session that could be."""
    body = _HALVES.sub(lambda found: rb"\ufffd" if found[1] else b"\xef\xbf\xbd" if found[2] else found[0], body)
    try:
        asked = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = str(error)[:80] if isinstance(error, ValueError) else "too deeply nested"
        raise Refused(400, Problem("request.not_json", reason=reason)) from None
    is_mcp = scope["path"].startswith("/gradio_api/mcp")  # takes lists too, and answers with errors of its own protocol
    if not isinstance(asked, dict) and not is_mcp:
        raise Refused(400, Problem("request.not_json", reason=f"a {type(asked).__name__}"))
    if not is_mcp:
        _check_names(asked, scope)
    return body


def _check_names(asked: dict[str, Any], scope: Scope) -> None:
    """Gradio keeps a session for each name it is given, and looks a function up unseen."""
    for name in ("session_hash", "event_id"):
        value = asked.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= MAX_ID_CHARS):
            raise Refused(400, Problem("request.bad_id", field=name, value=ascii(value)[:80], allowed=MAX_ID_CHARS))
    number, blocks = asked.get("fn_index"), getattr(scope.get("app"), "blocks", None)
    if number is None and not scope["path"].rstrip("/").endswith(BY_NUMBER):
        return
    if not isinstance(number, int) or isinstance(number, bool) or blocks and number not in blocks.fns:
        raise Refused(404, Problem("request.no_function", value=ascii(number)[:80]))

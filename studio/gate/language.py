"""The page on its way out: its language (`?lang=zh-CN`, remembered in a cookie), its own scripts, and the word that
lets them run."""

from __future__ import annotations

import json

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio import i18n, shipped
from studio.gate.security import NONCE

# Gradio reads navigator.language once, at start; this runs before its first module.
_SCRIPT = shipped.script("functions/language")


class PageLanguage:
    """Middleware: puts the page's language and `head` right after `<head>` and remembers a choice for a year.

    `head` is not Gradio's argument of that name: its page adds that one late, by a script, to which no nonce can be
    given.
    """

    def __init__(self, app: ASGIApp, head: str = "") -> None:
        self.app, self.head = app, head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            return await self.app(scope, receive, send)
        request = Request(scope)
        chosen = i18n.nearest(request.query_params.get("lang"))
        lang = i18n.language(request)
        page = _Page(
            send,
            lang,
            f"<script>({_SCRIPT})({json.dumps(lang)});</script>{self.head}",
            scope.get(NONCE, ""),
            remember=chosen is not None,
        )
        await self.app(scope, receive, page.send)


class _Page:
    """Holds a page back until it is whole, then sends it with the scripts in it, each with the nonce.

    Gradio writes `<` as `\\u003c` in what it puts into scripts, and escapes the rest, so that every tag is one of its
    own or ours.
    """

    def __init__(self, send: Send, lang: str, scripts: str, nonce: str, remember: bool) -> None:
        self._send, self._lang, self._scripts, self._nonce, self._remember = send, lang, scripts, nonce, remember
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish()

    async def _finish(self) -> None:
        body = self._body.replace(b"<head>", b"<head>" + self._scripts.encode(), 1)
        body = body.replace(b"<script", f'<script nonce="{self._nonce}"'.encode())
        headers = MutableHeaders(raw=self._start["headers"])
        headers["content-length"] = str(len(body))
        if self._remember:
            headers.append(
                "set-cookie", f"{i18n.COOKIE}={self._lang}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly"
            )
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

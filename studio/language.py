"""`?lang=zh-CN`, remembered in a cookie, and told to Gradio's page before it looks at the browser's own language."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio import i18n

# Gradio reads navigator.language once, at start; this runs before its first module.
_SCRIPT = """<head><script>(() => {{
  for (const [name, value] of [["language", "{lang}"], ["languages", ["{lang}"]]])
    Object.defineProperty(navigator, name, {{ get: () => value, configurable: true }});
  document.documentElement.lang = "{lang}";
}})();</script>"""


class PageLanguage:
    """Middleware: puts the page's language right after `<head>` and remembers a choice for a year."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            return await self.app(scope, receive, send)
        request = Request(scope)
        chosen = i18n.nearest(request.query_params.get("lang"))
        page = _Page(send, i18n.language(request), remember=chosen is not None)
        await self.app(scope, receive, page.send)


class _Page:
    """Holds a page back until it is whole, then sends it with the script in it."""

    def __init__(self, send: Send, lang: str, remember: bool) -> None:
        self._send, self._lang, self._remember = send, lang, remember
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
        body = self._body.replace(b"<head>", _SCRIPT.format(lang=self._lang).encode(), 1)
        headers = MutableHeaders(raw=self._start["headers"])
        headers["content-length"] = str(len(body))
        if self._remember:
            headers.append("set-cookie", f"{i18n.COOKIE}={self._lang}; Path=/; Max-Age=31536000; SameSite=Lax")
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

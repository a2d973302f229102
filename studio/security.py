"""What stands between a foreign web page and this server: which hosts and origins are answered, and no framing.

Gradio's `strict_cors` protects some routes only; uploads and component calls from other origins get in without this.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    return host.strip("[]").lower() in LOOPBACK


def from_this_machine(request: Any) -> bool:
    """Whether the one who asks sits at this very machine: only then its folders are read. `request` is a `gr.Request`.

    A proxy in front would make every visitor look local; it says so in its headers.
    """
    client = getattr(request, "client", None)
    forwarded = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip")) if request else True
    return bool(client) and not forwarded and is_loopback(client.host) and is_loopback(_hostname(request.headers.get("host", "")))


class SameOrigin:
    """Refuses requests for another host's name (DNS rebinding) and requests sent by another site's page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if refusal := refused(headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site")):
            return await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
        await self.app(scope, receive, _with_headers(send))


def refused(host: str, origin: str | None, fetch_site: str | None) -> str | None:
    """Why a request is not answered, or None."""
    if not is_loopback(_hostname(host)):
        return f"Host {host[:80]!r} is not this server. Open http://127.0.0.1 or http://localhost.\n"
    if origin and origin != "null" and urlsplit(origin).netloc != host:
        return f"Requests from {origin[:80]!r} are not answered; use the studio's own page.\n"
    if origin == "null" or fetch_site == "cross-site" and origin:
        return "Requests from another site's page are not answered; use the studio's own page.\n"
    return None


def _hostname(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", []),
                (b"x-frame-options", b"SAMEORIGIN"),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
        await send(message)

    return wrapped

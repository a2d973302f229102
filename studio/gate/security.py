"""What stands between a foreign web page and this server: which hosts and origins are answered, and what a page may do.

Gradio's `strict_cors` protects some routes only; uploads and component calls from other origins get in without this.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OURS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{0,5})?", re.IGNORECASE | re.ASCII)
"""The whole of a Host header that is answered. Read by hand: `urlsplit` raises for a broken bracket and takes
`user@host`."""
NONCE = "lora_studio.nonce"
"""Where the scope of a request for the page keeps the word that its own scripts carry."""
# Gradio (6.31) makes functions of text for every `js=` and `js_on_load`, hence unsafe-eval; it writes style sheets and
# style attributes as it goes. Scripts between the page's tags run only with this answer's own word, attributes such as
# onerror= never.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; script-src-attr 'none'; style-src 'self' "
    "'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src 'self'; manifest-src "
    "'self'; "
    "object-src 'none'; frame-src 'none'; worker-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors "
    "'self'"
)
REST_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
"""For every answer that is no page: opened by itself, a file that somebody uploaded runs and asks for nothing."""
HEADERS = [
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


def is_loopback(host: str) -> bool:
    return host.removeprefix("[").removesuffix("]").lower() in LOOPBACK


def from_this_machine(request: Any) -> bool:
    """Whether the one who asks sits at this very machine: only then its folders are read. `request` is a `gr.Request`.

    A proxy in front would make every visitor look local; it says so in its headers.
    """
    client = getattr(request, "client", None)
    forwarded = (
        any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip")) if request else True
    )
    return (
        bool(client)
        and not forwarded
        and is_loopback(client.host)
        and bool(_OURS.fullmatch(request.headers.get("host", "")))
    )


class SameOrigin:
    """Refuses requests for another host's name (DNS rebinding) and requests sent by another site's page; says to the
    browser what an answer may do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no part of the page uses web sockets
            return await (
                self.app(scope, receive, send) if scope["type"] == "lifespan" else send({"type": "websocket.close"})
            )
        nonce = scope[NONCE] = secrets.token_urlsafe(16)
        send = _with_headers(send, PAGE_POLICY.format(nonce=nonce) if scope["path"] == "/" else REST_POLICY)
        headers = Headers(scope=scope)
        host, origin, fetch_site = (_only(headers, name) for name in ("host", "origin", "sec-fetch-site"))
        if refusal := refused(host, origin, fetch_site, is_page=scope["path"] == "/"):
            return await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
        await self.app(scope, receive, send)


def _only(headers: Headers, name: str) -> str | None:
    """A header's value; of a header given twice all values, which is no value that is answered."""
    return ", ".join(headers.getlist(name)) if name in headers else None


def refused(host: str | None, origin: str | None, fetch_site: str | None, is_page: bool = True) -> str | None:
    """Why a request is not answered, or None. Never raises, whatever the headers hold. Another site may link to the
    page, to nothing else."""
    if not _OURS.fullmatch(host or ""):
        return f"Host {_shown(host or '')} is not this server. Open http://127.0.0.1 or http://localhost.\n"
    if origin and origin != "null" and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return f"Requests from {_shown(origin)} are not answered; use the studio's own page.\n"
    if origin == "null" or (origin or not is_page) and fetch_site not in (None, "same-origin", "none"):
        return "Requests from another site's page are not answered; use the studio's own page.\n"
    return None


def _shown(text: str) -> str:
    return ascii(text[:80])


def _with_headers(send: Send, policy: str) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS, (b"content-security-policy", policy.encode())]
        await send(message)

    return wrapped

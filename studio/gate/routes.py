"""Which of Gradio's addresses are answered: those that the page, `gradio_client`, plain requests and MCP clients use.

Gradio (6.31) mounts some forty more for what this page has not: a proxy, a fetcher of foreign addresses
(`/file=https://...`), ffmpeg on uploaded videos, links that write every value to the disk, code written by a model,
logins, monitoring. Each would be a door that nobody watches. What a new part of the page needs is added here.
"""

from __future__ import annotations

import json
import re

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from estimator.core.problems import Problem
from studio.i18n import explain, language

PROGRAMS = ("estimate", "recommend")
"""The public endpoints, by name (`studio.web.api`)."""
_NAMES = "|".join(PROGRAMS)
_ID = r"[\w-]{1,64}"
_READ = (
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static)/.+|"
    r"/gradio_api/(info|openapi\.json|startup-events|app_id|theme\.css|queue/data|upload_progress)|"
    rf"/gradio_api/(heartbeat/{_ID}|call/(v2/)?({_NAMES})/{_ID}|file=(?!\w+://).+)"
)
_SENT = rf"/gradio_api/(queue/join|run/predict|(run|api|call|call/v2)/({_NAMES})|cancel|reset|upload)"
ANSWERED = {"GET": re.compile(_READ), "HEAD": re.compile(_READ), "POST": re.compile(_SENT)}
MCP = re.compile(r"/gradio_api/mcp(/.*)?")


class KnownRoutes:
    """Answers 404 to every other address."""

    def __init__(self, app: ASGIApp, mcp: bool = False) -> None:
        self.app, self.mcp = app, mcp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_known(scope["method"], scope["path"]):
            problem = Problem(
                "request.no_route", value=f"{scope['method']} {scope['path'][:80]}", allowed=", ".join(PROGRAMS)
            )
            return await answer(problem, 404, scope)(scope, receive, send)
        await self.app(scope, receive, send)

    def _is_known(self, method: str, path: str) -> bool:
        path = path.rstrip("/") or "/"
        known = ANSWERED.get(method)
        return bool(known and known.fullmatch(path)) or self.mcp and bool(MCP.fullmatch(path))


def answer(problem: Problem, status: int, scope: Scope) -> JSONResponse:
    """A `Problem` in the shape of Gradio's own errors: the sentence, and code and values as JSON in the title."""
    title = json.dumps(problem.to_dict(), default=str)
    return JSONResponse({"error": explain(language(Request(scope)), problem), "title": title}, status)

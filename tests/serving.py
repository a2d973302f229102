"""A studio of a test's own: a real process on a free port with a data folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Studio:
    """`python -m studio`, started and ended by the test."""

    def __init__(
        self, home: Path, port: int | None = None, options: tuple[str, ...] = (), checkout: Path | None = None
    ) -> None:
        self.home, self.port = home, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.started = time.monotonic()
        self._log = (home.parent / f"{home.name}-page.log").open("ab")
        command = [sys.executable, "-m", "studio", "--port", str(self.port), "--data-dir", str(home), *options]
        # A background shell hands an ignored Ctrl+C down; the page must hear it to end.
        heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, env=environment(checkout), cwd=checkout, preexec_fn=heard
        )

    def wait(self) -> Studio:
        """Until the page answers."""
        while time.monotonic() - self.started < PATIENCE_S:
            if self.process.poll() is not None:
                raise AssertionError(f"the page ended with {self.process.returncode}:\n{self.log()}")
            try:
                urllib.request.urlopen(self.url, timeout=5).read()
                return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        raise AssertionError(f"no page after {PATIENCE_S} s:\n{self.log()}")

    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """`kill -9`: no handler runs."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.close()


CHECKOUT = Path(__file__).parent.parent


def environment(checkout: Path | None = None) -> dict[str, str]:
    """The package of this checkout, or of another one, from any working directory; no hub."""
    path = os.pathsep.join(filter(None, [str(checkout or CHECKOUT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}

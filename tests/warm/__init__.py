"""Warm starts: processes of the tests that are born with their imports done.

A worker imports torch, Transformers and PEFT for ten CPU seconds, a page Gradio for three, and the tests start over a
hundred of them. So one process a kind (`python -m tests.warm`) imports all that once, and forks for each start. What
is born has the arguments, environment, folder, descriptors and signals that the start gave it, runs `__main__` of the
same module and is a process of its own: only the imports are older than it is. The product knows nothing of it:
`site/sitecustomize.py`, which Python reads when it starts, hands a start over where `WARM_STARTS` names the folder of
the sockets.

A start is an ordinary one under the fixture `cold` (for what proves the start itself, or looks at the memory or the
children of the process that it started: that one only stands in for the born one), of any other module, of another
checkout, and where there is no fork.
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

KINDS = ("torch", "page")
SITE = Path(__file__).parent / "site"
SPENT = "spent"
"""The file beside the sockets that has a line for each process that was born and has ended: CPU seconds, and the test.
"""


class Warm:
    """The warm processes of a session of tests; they import nothing before the first start asks them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        checkout = str(SITE.parents[2])
        rest = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([checkout, str(SITE), *filter(None, rest)]))
        for kind in KINDS:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.path.join(self._folder.name, kind))
                listener.listen(64)
                command = [sys.executable, "-m", "tests.warm", kind, str(listener.fileno())]
                pipe = {"stdin": subprocess.PIPE, "pass_fds": [listener.fileno()]}
                self._processes.append(subprocess.Popen(command, **pipe, start_new_session=True))
        os.environ["WARM_STARTS"] = self._folder.name

    def spent_s(self) -> dict[str, float]:
        """CPU seconds of born processes by the file of the test that started them; the imports that they share are
        nobody's."""
        file, spent = Path(self._folder.name) / SPENT, collections.Counter()
        for line in file.read_text().splitlines() if file.exists() else ():
            seconds, _, test = line.partition(" ")
            spent[test.partition("::")[0]] += float(seconds)
        return spent

    def stop(self) -> None:
        os.environ.pop("WARM_STARTS", None)
        for process in self._processes:
            process.stdin.close()  # which ends it
        for process in self._processes:
            process.wait()
        self._folder.cleanup()


@contextlib.contextmanager
def cold_starts() -> Iterator[None]:
    """Starts meanwhile are ordinary ones."""
    warm = os.environ.pop("WARM_STARTS", None)
    try:
        yield
    finally:
        if warm is not None:
            os.environ["WARM_STARTS"] = warm

"""Read by every Python that a test starts (`tests/warm/__init__.py` says why). A worker or a page that a warm process
can give birth to is not imported here: this process hands over all that it was given, and stands in for the one that
is born: signals go there, its exit status is this one's, and where this one is killed that one is too."""

import os
import sys

KINDS = {
    "studio.workers.chat": "torch",
    "studio.workers.data": "torch",
    "studio.workers.trace": "torch",
    "studio.workers.train": "torch",
    "studio.workers.convert": "torch",
    "estimator.measure.sweep": "torch",
    "tests.estimator.parallel_worker": "torch",
    "tests.warm.command": "torch",
    "studio": "page",
}
"""The modules that are started warm, and by which process."""


def _hand_over(kind: str, folder: str) -> None:
    import json
    import signal
    import socket

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.path.join(folder, kind))
    except OSError:
        return  # no warm process: an ordinary start
    handed = [number for number in range(256) if number != connection.fileno() and _is_open(number)]
    caught = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    deaf = [number for number in caught if signal.getsignal(number) is signal.SIG_IGN]
    asked = {"argv": sys.orig_argv, "cwd": os.getcwd(), "environment": dict(os.environ), "handed": handed}
    asked |= {"caught": sorted(caught), "deaf": deaf}
    signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    socket.send_fds(connection, [b"."], handed)
    connection.sendall(json.dumps(asked).encode() + b"\n")
    answers = connection.makefile()
    pid = int(answers.readline())
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in handed:  # an end of a pipe, or a lock, is the other's alone
        os.dup2(nothing, number) if number < 3 else os.close(number)
    for number in caught:
        if number not in deaf:
            signal.signal(number, lambda number, frame: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)
    status = int(answers.readline() or -signal.SIGKILL)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _begin() -> None:
    folder, words = os.environ.get("WARM_STARTS"), sys.orig_argv
    if not folder or words[1:2] != ["-m"] or words[2:3] == [] or "--mcp" in words:
        return
    checkout = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    first = os.environ.get("PYTHONPATH", "").split(os.pathsep)[0]
    if words[2] in KINDS and os.path.realpath(first) == os.path.realpath(checkout):
        _hand_over(KINDS[words[2]], folder)


_begin()

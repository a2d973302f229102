"""`python -m tests.warm KIND DESCRIPTOR`: imports once, then forks for whoever asks at the listening socket. Ends with
its standard input."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from tests.warm import SPENT


def import_torch() -> None:
    """What the workers load sooner or later."""
    import accelerate  # noqa: F401
    import bitsandbytes  # noqa: F401
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import trl.trainer.sft_trainer  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer  # noqa: F401

    for room in ("rendering", "inference", "training", "workers"):
        package = importlib.import_module(f"studio.{room}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for name in ("estimator.cli.cli", "estimator.program.program", "estimator.trace.fit", "estimator.trace.prepared"):
        importlib.import_module(name)


def import_page() -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from studio.gate.startup import import_gradio

    import_gradio()
    gc.enable()
    importlib.import_module("studio.__main__")
    importlib.import_module("studio.web.app")


IMPORTS: dict[str, Callable[[], None]] = {"torch": import_torch, "page": import_page}


def serve(kind: str, descriptor: str) -> dict[str, Any]:
    """Returns in a born process only, with what it was asked to be."""
    listener = socket.socket(fileno=int(descriptor))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the minders
    imported = False
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if listener not in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if not imported:
            IMPORTS[kind]()
            gc.collect()
            gc.freeze()  # a collection in a born process would copy every page of it
            imported = True
        if os.fork() == 0:
            listener.close()
            return born(connection)
        connection.close()


def born(connection: socket.socket) -> dict[str, Any]:
    """Fork once more: the parent minds the child, and the child returns what it is asked to be."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 253)
    asked = json.loads(connection.makefile().readline())
    child = os.fork()
    if child:
        mind(child, connection, descriptors, asked["environment"])
    os.setsid()
    take(descriptors, asked["handed"])
    return asked


def mind(child: int, connection: socket.socket, descriptors: list[int], environment: dict[str, str]) -> None:
    """Tell who asked how the child ends; where who asked is gone, end it. What it used is noted for the test that ran
    as it began."""
    os.close(0)
    for number in descriptors:
        os.close(number)
    connection.sendall(f"{child}\n".encode())
    ended = os.pidfd_open(child)
    if connection in select.select([connection, ended], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    # One that outlives the session has nobody left to tell.
    if (test := environment.get("PYTEST_CURRENT_TEST")) and os.path.isdir(environment["WARM_STARTS"]):
        with open(os.path.join(environment["WARM_STARTS"], SPENT), "a") as file:
            file.write(f"{usage.ru_utime + usage.ru_stime:.2f} {test}\n")
    try:
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    except OSError:
        pass
    os._exit(0)


def take(descriptors: list[int], wanted: list[int]) -> None:
    """The handed descriptors at the numbers they had, and no other."""
    beyond = 1 + max([2, *descriptors, *wanted])
    held = [os.dup2(number, beyond + n) for n, number in enumerate(descriptors)]
    os.closerange(0, beyond)
    for number, target in zip(held, wanted, strict=True):
        os.dup2(number, target, inheritable=target < 3)
    os.closerange(beyond, beyond + len(held))


def become(asked: dict[str, Any]) -> None:
    """What `python -m module` finds when it begins."""
    for number in asked["caught"]:  # a warm process may have been started by a shell that ignores some
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in asked["deaf"] else usual)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.orig_argv[:] = asked["argv"]
    sys.argv[:] = ["-m", *asked["argv"][3:]]
    sys.path[0] = asked["cwd"]
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        stream.reconfigure(write_through=unbuffered, line_buffering=number == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)
    tempfile.tempdir = None
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    for name in ("huggingface_hub.constants", "datasets.config"):  # they read the environment as they are imported
        if name in sys.modules:
            importlib.reload(sys.modules[name])
    for name in ("gradio.route_utils", "gradio.routes"):
        if name in sys.modules and "GRADIO_TEMP_DIR" in os.environ:
            sys.modules[name].DEFAULT_TEMP_DIR = os.environ["GRADIO_TEMP_DIR"]


if __name__ == "__main__":
    asked = serve(*sys.argv[1:])
    become(asked)
    module = asked["argv"][2]
    sys.modules.pop(module if module != "studio" else "studio.__main__", None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)

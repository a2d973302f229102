"""Loads Gradio without the work that only its own developers need: 1.8 s instead of 3.2 s on a slow core."""

from __future__ import annotations

import gc
import importlib.metadata
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_gradio() -> None:
    """Import Gradio; what it creates lives as long as the process, so the collector need not look at it again."""
    gc.disable()
    try:
        with no_stub_files():
            import gradio  # noqa: F401
    finally:
        gc.enable()
    gc.freeze()


def has_mcp() -> bool:
    """Whether the `mcp` package is here, of the line that Gradio speaks to (gradio 6.31: `mcp>=1.21,<2`)."""
    try:
        return importlib.metadata.version("mcp").split(".")[0] == "1"
    except importlib.metadata.PackageNotFoundError:
        return False


@contextmanager
def no_stub_files() -> Iterator[None]:
    """Gradio parses the source of each component class at import and writes a `.pyi` beside it.

    It leaves out classes whose file cannot be found (`gradio.component_meta.create_or_modify_pyi`), so none is found
    meanwhile. Also keeps an installation that two processes share, or that is read-only, as it is.
    """
    real = inspect.getfile

    def getfile(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith(("gradio.", "studio.")):
            raise OSError("no stub is wanted")
        return real(thing)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = real

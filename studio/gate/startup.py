"""Loads Gradio without the work that only its own developers need, nor the packages that this page never uses: two
thirds of the time and of the memory."""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

COLLECT_AFTER = (20_000, 20, 20)
"""New objects, collections of the young, of the middle (Python's own: 700, 10, 10)."""


def import_gradio(mcp: bool = False) -> None:
    """Import Gradio, ready to be an MCP server with `mcp`; the collector rests until `settled`."""
    gc.disable()
    with ExitStack() as spared:
        spared.enter_context(no_stub_files())
        spared.enter_context(templates_once())
        spared.enter_context(late("pandas"))
        if not mcp:
            spared.enter_context(absent("mcp"))
        import gradio  # noqa: F401


def settled() -> None:
    """The server is up: what there is lives as long as the process, so the collector need not look at it again; and it
    looks at all the rest seldom, as that stops every thread for 0.1 to 0.5 s: twice in twenty rankings of all cards."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


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

    def getfile(thing: object) -> str:
        if isinstance(thing, type) and thing.__module__.startswith(("gradio.", "studio.")):
            raise OSError("no stub is wanted")
        return real(thing)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = real


@contextmanager
def templates_once() -> Iterator[None]:
    """Gradio compiles the docstring of each event of each component as a template
    (`gradio.events.EventListener.set_doc`): 216 times, of a few dozen texts."""
    import jinja2

    real = jinja2.Template
    jinja2.Template = functools.cache(real)
    try:
        yield
    finally:
        jinja2.Template = real


@contextmanager
def no_app_yet() -> Iterator[None]:
    """Gradio makes its web application, a fifth of a second of FastAPI's reading of routes, as blocks begin, as they
    end, at `queue` and at `launch`; only the last one serves."""
    from gradio.routes import App

    real = vars(App)["create_app"]
    App.create_app = staticmethod(lambda *args, **options: None)
    try:
        yield
    finally:
        App.create_app = real


@contextmanager
def late(name: str) -> Iterator[None]:
    """Whoever imports `name` meanwhile gets a stand-in, which loads the module once something of it is asked for.

    Gradio imports pandas, and that pyarrow, to know its frames where somebody returns one: 70 MB. (The standard
    library's `LazyLoader` loads at the second `import` of a name, which asks for `__spec__`: up to Python 3.11 at
    least.)
    """
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)

    def load(attribute: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.__getattr__ = load
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


@contextmanager
def absent(name: str) -> Iterator[None]:
    """As where `name` is not installed: Gradio does without its optional packages."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None
    try:
        yield
    finally:
        del sys.modules[name]

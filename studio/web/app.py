"""Assembles the page and serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from studio import i18n, services
from studio.gate.bodies import BoundedBodies
from studio.gate.language import PageLanguage
from studio.gate.page import Page
from studio.gate.routes import KnownRoutes
from studio.gate.security import SameOrigin
from studio.gate.startup import no_app_yet, settled
from studio.services import Shared
from studio.space import Space
from studio.tabs import chat, estimate, parameters, runs, train
from studio.tabs.dataset import tab as dataset
from studio.web import api, theme
from studio.web.frame import HEAD, build_header, on_load, remember_tab

TABS = {"estimate": estimate, "dataset": dataset, "train": train, "chat": chat, "runs": runs}

THREADS = 128
"""Threads and queued calls at work at a time. Calls that wait for a worker or a disk have limits of their own
(`studio.tabs.LONG`), far below this in sum, so that whatever all of them wait for, the rest of the page answers."""


def build(space: Space) -> tuple[gr.Blocks, Shared]:
    """The page over `space`, and what its tabs share."""
    shared = services.build(space)
    with Page(title="LoRA Studio", analytics_enabled=False) as page:
        build_header()
        shared.recipe, shared.gpu, shared.dataset, shared.run = (gr.State(None) for _ in range(4))
        shared.fitting, shared.advised = gr.State(None), gr.State(None)
        with gr.Tabs(elem_id="ls-tabs") as shared.tabs:
            for name in TABS:
                shared.tab[name] = gr.Tab(i18n.marker(f"common.tab_{name}"), id=name, elem_id=f"ls-tab-{name}")
        for name, tab in TABS.items():
            with shared.tab[name]:
                tab.build(shared)
        api.register(shared)
        on_load(page, shared)
        remember_tab(shared)
    page.mark_no_progress()
    return page, shared


def guard(mcp: bool) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What a request meets first. Gradio puts middleware of its own around any that it is given, and that reads the
    Host header with `urlsplit`, which raises; so these go around the whole, once it is built."""

    @asynccontextmanager
    async def guarded(app: Any) -> AsyncIterator[None]:
        app.middleware_stack = SameOrigin(KnownRoutes(BoundedBodies(app.middleware_stack), mcp))
        settled()
        yield

    return guarded


def launch(space: Space, host: str, port: int, mcp: bool = False) -> None:
    """Serve until interrupted; with `mcp` also the public endpoints (`studio.web.api`) as an MCP server's tools."""
    with no_app_yet():
        page, shared = build(space)
    print(
        f"LoRA Studio is at http://{host}:{port}, its data in {space.root}. Ctrl+C ends it; runs at work go on.",
        flush=True,
    )
    try:
        serve(page, host, port, mcp)
    finally:
        shared.stop()


def serve(page: gr.Blocks, host: str, port: int, mcp: bool = False, **options: Any) -> None:
    """Put the page on the port; `options` go to Gradio's `launch`."""
    with no_app_yet():
        page.queue(max_size=256, default_concurrency_limit=None)
    middleware = [Middleware(PageLanguage, head=HEAD), Middleware(api.PlainRequests)]
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=mcp,
        show_error=False,
        allowed_paths=[],
        state_session_capacity=500,
        max_threads=THREADS,
        footer_links=[],
        _frontend=False,  # or Gradio asks itself for the page, and ends where that takes 3 s on a busy machine
        theme=theme.theme(),
        css_paths=theme.style_sheets(),
        i18n=i18n.for_gradio(lambda lang: parameters.sentences(lang) | dataset.sentences(lang)),
        app_kwargs={"middleware": middleware, "lifespan": guard(mcp)},
        **options,
    )

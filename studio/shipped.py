"""The files that ship with the program: the embedded model, samples, theme and scripts."""

from __future__ import annotations

import functools
from pathlib import Path

PACKAGE = Path(__file__).parent


def assets() -> Path:
    """Inside the wheel, or at the top of the repository."""
    inside = PACKAGE / "_assets"
    return inside if inside.is_dir() else PACKAGE.parent / "assets"


def embedded_base() -> Path:
    return assets() / "base"


def samples() -> Path:
    return assets() / "samples"


def theme() -> Path:
    return assets() / "theme"


@functools.cache
def script(name: str) -> str:
    """One of the scripts that stand in no file of their own in the page, without the blanks around it.

    `elements/` are what Gradio runs once with an element of the page as `element`, its `trigger(event, data)` and
    `watch(property, call)`; `functions/` are functions that an event calls with the values of its inputs.
    """
    return (assets() / "scripts" / f"{name}.js").read_text("utf-8").strip() + "\n"


def scripts() -> list[Path]:
    """The page's own scripts; `frame.js` runs first."""
    first = assets() / "scripts" / "frame.js"
    return [first, *sorted(set((assets() / "scripts").glob("*.js")) - {first})]

"""The files that ship with the program: the embedded model, samples, theme and scripts."""

from __future__ import annotations

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


def scripts() -> list[Path]:
    """The page's own scripts; `frame.js` runs first."""
    first = assets() / "scripts" / "frame.js"
    return [first, *sorted(set((assets() / "scripts").glob("*.js")) - {first})]

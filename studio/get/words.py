"""What is said of a wheel before it is fetched, by the command and on the page."""

from __future__ import annotations

from studio.get.known import Wheel
from studio.i18n import t


def size(number_bytes: float) -> str:
    """In the megabytes that pip counts."""
    return f"{number_bytes / 1e6:,.0f} MB"


def about(lang: str, wheel: Wheel, fetched: bool = True) -> list[str]:
    """What it is, its licence, where it comes from, its size and what it will take of the disk; a line each."""
    words = {name: getattr(wheel, name) for name in ("title", "licence", "origin", "form", "requirement")}
    sizes = {"size": size(wheel.bytes), "result": size(wheel.result_bytes), "needed": size(wheel.needed_bytes)}
    keys = ("about_what", "about_source", "about_how" if fetched else "about_file", "about_disk")
    return [t(lang, f"get.{key}", **words, **sizes) for key in keys]


def offline(lang: str, wheel: Wheel) -> str:
    """How a machine without a connection gets it."""
    return t(lang, "get.offline", requirement=wheel.requirement, name=wheel.name, file=wheel.file)

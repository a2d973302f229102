"""The order of the studio's rooms: imports go to earlier ones, never round; torch is in those of the workers."""

from __future__ import annotations

import ast

import pytest

from tests.estimator.test_packages import ROOT, TORCH, circles, imports

ORDER = (
    "i18n", "shipped", "disk", "space", "fetching", "protocol",
    "datasets.text", "datasets.kinds", "datasets.source", "datasets.forms",
    "datasets.values", "datasets.shapes", "datasets.files", "datasets",
    "get", "models", "jobs", "rendering", "inference", "outlook", "training", "export", "workers",
    "datasets.clean_command", "datasets.command",
    "gate", "widgets", "services", "tabs", "web", "__main__",
)  # fmt: skip
"""A room, a room within one, or a module; the longest of these that a module's name begins with is its place."""
WORKER_ROOMS = ("inference", "training", "workers")


def sources() -> dict[str, str]:
    """Every module of the studio, by its dotted name."""
    files = [
        path for path in (ROOT / "studio").rglob("*.py") if path.parent.name != "studio" or path.stem != "__init__"
    ]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return {name: path.read_text("utf-8") for name, path in zip(names, files, strict=True)}


def place(module: str) -> int:
    """Which floor a module stands on; `ValueError` for one that has no room."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in ORDER:
            return ORDER.index(name)
    raise ValueError(f"{module} has no place in ORDER")


def upward(found: dict[str, str]) -> list[str]:
    """Arrows to a later room."""
    arrows = []
    for module, text in found.items():
        for target, name, _ in imports(ast.parse(text)):
            whole = f"{target}.{name}" if f"{target}.{name}" in found else target
            whole = f"{target}.{name}" if target == "studio" else whole
            if whole.startswith("studio.") and place(whole) > place(module):
                arrows.append(f"{module} -> {whole}")
    return arrows


def torch_at_the_top(found: dict[str, str]) -> list[str]:
    """Modules outside the workers' rooms that import torch, or what imports it, as they are imported."""
    return [
        module
        for module, text in found.items()
        if module.split(".")[1] not in WORKER_ROOMS
        and any(name.split(".")[0] in TORCH for name, _, inside in imports(ast.parse(text)) if not inside)
    ]


def test_every_module_has_a_place_and_no_place_is_empty():
    assert {place(module) for module in sources()} == set(range(len(ORDER)))


def test_imports_go_to_earlier_rooms():
    assert upward(sources()) == []


def test_no_module_imports_itself_by_way_of_others():
    assert circles(sources()) == set()


def test_torch_is_imported_in_the_workers_rooms():
    assert torch_at_the_top(sources()) == []


@pytest.mark.parametrize(
    "line",
    ["from {0} import x", "def f():\n    from {0} import x", "import {0}", "from {1} import {2}"],
)
def test_an_arrow_that_points_up_is_found(line):
    known = {"studio.jobs.folder": "", "studio.tabs.chat": "", "studio.disk.storage": ""}

    def written(target: str) -> dict[str, str]:
        return known | {"studio.jobs.folder": line.format(target, *target.rsplit(".", 1))}

    assert upward(written("studio.tabs.chat")) == ["studio.jobs.folder -> studio.tabs.chat"]
    assert upward(written("studio.disk.storage")) == []


def test_a_room_within_a_room_has_a_place_of_its_own():
    known = {"studio.datasets.files.reading": "", "studio.datasets.ingest": ""}
    arrow = "from studio.datasets.files.reading import read"
    assert upward(known | {"studio.datasets.ingest": arrow}) == []
    assert upward(known | {"studio.datasets.shapes.formats": arrow}) != []
    assert upward(known | {"studio.datasets.files.reading": "from studio.datasets.ingest import x"}) != []


def test_a_circle_is_found():
    round_about = {"studio.jobs.a": "from studio.jobs import b", "studio.jobs.b": "from studio.jobs.a import x"}
    assert circles(round_about) == set(round_about)


def test_a_module_without_a_place_is_found():
    with pytest.raises(ValueError, match="studio.loose"):
        place("studio.loose")


def test_torch_at_the_top_is_found():
    assert torch_at_the_top({"studio.jobs.a": "import torch.nn", "studio.inference.a": "import torch"}) == [
        "studio.jobs.a"
    ]

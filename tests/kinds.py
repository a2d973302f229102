"""The marks `fast`, `torch`, `process`, `browser` and `slow`, put by rule and held true.

A file is of the kinds that its own source, its helpers in `tests` and `assets` and the fixtures of its tests show:
nobody marks by hand. What is none of them is `fast`, and a fast test that starts a process or asks for torch all the
same fails. A file whose work imports torch or starts a process out of its own sight says so in `HIDDEN`.
"""

from __future__ import annotations

import ast
import builtins
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import spent

MARKS = {
    "fast": "no process, no browser, no tracing: `make test-fast`",
    "torch": "imports torch, or asks for what does",
    "process": "starts a process",
    "browser": "drives Chromium",
    "slow": f"its file takes more than {spent.SLOW_S} CPU seconds",
}
ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "accelerate", "safetensors.torch")
IMPORTS = {
    "torch": (
        *LIBRARIES,
        "estimator.trace",
        "studio.workers",
        "studio.inference",
        "studio.training",
        "studio.rendering",
    ),
    "process": (
        "subprocess",
        "multiprocessing",
        "studio.jobs.supervisor",
        "studio.protocol",
        "tests.serving",
        "tests.warm",
    ),
    "browser": ("playwright", "axe_playwright_python", "tests.chromium"),
}
"""What shows a kind, wherever in a file it is imported."""
LIGHT = ("studio.inference.conversation", "studio.inference.sampling")
"""In the workers' rooms, but the page's too: no torch."""
FIXTURES = {"studio": "process", "processor": "torch"}
HIDDEN: dict[str, str] = {
    "tests/estimator/test_cli.py": "torch",
    "tests/estimator/test_expressions.py": "process",  # an expression is tried in one
    "tests/estimator/test_gpus_command.py": "torch",
    "tests/estimator/test_nearest.py": "torch",
    "tests/estimator/test_priced.py::test_the_command_prices_a_chosen_count_and_says_how": "torch",
    "tests/estimator/test_serving.py::test_a_model_that_generates_nothing_is_refused": "torch",
    "tests/estimator/test_strangers.py": "torch",
    "tests/estimator/test_take_away.py::test_python_prints_the_estimate": "torch",
    "tests/studio/test_get.py": "process",  # pip
    "tests/studio/test_advisor.py::test_the_command_says_what_the_page_says": "torch",
}
"""Files, or tests of one, whose kind does not show: what they ask imports torch, or starts a process, by way of the
product."""
_HEAVY = {"torch", "transformers", "peft", "trl", "bitsandbytes"}


@functools.cache
def kinds_of(file: Path) -> frozenset[str]:
    """The kinds that a file of tests, or a helper of them, shows; helpers are followed."""
    name = file.as_posix().removeprefix(f"{ROOT.as_posix()}/")
    found = {HIDDEN[name]} if name in HIDDEN else set()
    found |= {"slow"} if spent.budget_s(name) > spent.SLOW_S else set()
    for name in imported(file):
        helper = ROOT / (name.replace(".", "/") + ".py")
        found |= {kind for kind, shown in IMPORTS.items() if _is_under(name, shown) and not _is_under(name, LIGHT)}
        if name.startswith(("tests.", "assets.")) and helper.exists() and helper != file:
            found |= kinds_of(helper)
    return frozenset(found)


def imported(file: Path) -> set[str]:
    """The modules that a file imports, at its top or in a function; `from a import b` is both `a` and `a.b`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "importorskip":
            names |= {word.value for word in node.args[:1] if isinstance(word, ast.Constant)}
    return names


def _is_under(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that are not fast are not even read where only fast ones are wanted: most import torch."""
    if config.option.markexpr == "fast" and collection_path.name.startswith("test_"):
        return bool(kinds_of(collection_path)) or None
    return None


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        shown = set(kinds_of(item.path)) | {FIXTURES[name] for name in item.fixturenames if name in FIXTURES}
        if (test := item.nodeid.partition("[")[0]) in HIDDEN:
            shown.add(HIDDEN[test])
        for kind in shown or ("fast",):
            item.add_marker(kind)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if item.get_closest_marker("fast") is None:
        return (yield)
    with Watch() as seen:
        result = yield
    if seen:
        pytest.fail(f"marked fast, but {', '.join(sorted(seen))}; tests/kinds.py says what to do", pytrace=False)
    return result


class Watch:
    """What a fast test must not do, noticed while it is open."""

    def __enter__(self) -> set[str]:
        self.seen: set[str] = set()
        self._import = builtins.__import__
        builtins.__import__ = self._imports
        _watching.append(self.seen)
        return self.seen

    def __exit__(self, *_: object) -> None:
        builtins.__import__ = self._import
        _watching.remove(self.seen)

    def _imports(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if not level and name.partition(".")[0] in _HEAVY:
            self.seen.add(f"imports {name.partition('.')[0]}")
        return self._import(name, globals, locals, fromlist, level)


_watching: list[set[str]] = []


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if _watching and event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        _watching[-1].add("starts a process")


sys.addaudithook(_audit)

"""What the page's process must never import, and a proof that this test can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studio.test_rooms import WORKER_ROOMS

ROOT = Path(__file__).parents[2]
FORBIDDEN = ("torch", "transformers", "peft", "bitsandbytes", "trl", "accelerate", "datasets")
# What only worker processes import; two modules of it are the page's too.
WORKERS = tuple(f"studio.{room}." for room in WORKER_ROOMS)
PAGE_SIDE = ("studio.inference.conversation", "studio.inference.sampling")
# What only a trace worker, a command that traces, or a measurement imports; two modules of it are torch-free at their
# top.
TORCH_FREE = ("estimator.trace.chunks", "estimator.trace.exact")
ESTIMATOR_TORCH = "estimator.trace."


def modules() -> list[str]:
    files = [path for top in ("estimator", "studio") for path in (ROOT / top).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    page = [name for name in names if not name.startswith(WORKERS) or name in PAGE_SIDE]
    return sorted(
        name
        for name in page
        if (not name.startswith(ESTIMATOR_TORCH) or name in TORCH_FREE) and not name.endswith("__main__")
    )


def leaked(statements: str) -> str:
    """Forbidden modules in a fresh interpreter after `statements`, parted by blanks."""
    code = f"import sys\n{statements}\nprint(*[name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def test_no_module_of_the_page_imports_torch():
    assert "studio.web.app" in modules() and "estimator.estimates.estimate" in modules()
    assert leaked("\n".join(f"import {name}" for name in modules())) == ""


def test_the_built_page_has_not_imported_torch():
    assert (
        leaked("from studio.space import Space\nfrom studio.web.app import build\nbuild(Space.default().prepare())")
        == ""
    )


@pytest.mark.parametrize("name", ["torch", "datasets"])
def test_this_test_can_fail(name):
    assert leaked(f"import {name}") != ""


def test_the_estimator_knows_nothing_of_the_studio():
    for path in (ROOT / "estimator").rglob("*.py"):
        names = [name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in imported(node)]
        assert not [name for name in names if name.split(".")[0] in ("studio", "gradio")], path


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []

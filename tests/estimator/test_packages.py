"""The order of the estimator's packages: an import goes to an earlier one, never round, and torch is in one of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = (
    "core", "recipe", "model", "hardware", "adapters", "law", "memory", "program", "parallel", "trace", "hub", "shelf",
    "estimates", "cost", "advice", "measure", "cli", "make",
)  # fmt: skip
TORCH = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets")


def sources() -> dict[str, str]:
    """Every module of a package of the estimator, by its dotted name."""
    files = [path for path in (ROOT / "estimator").rglob("*.py") if path.parent.name != "estimator"]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text("utf-8") for path in files}


def imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, str, bool]]:
    """(module, name, whether inside a function) of every import that runs; those for type checkers alone do not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", inside) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, inside) for alias in node.names)
        yield from imports(node, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def upward(found: dict[str, str]) -> list[str]:
    """Arrows to a later package."""
    place = {name: position for position, name in enumerate(ORDER)}
    made = []
    for module, text in found.items():
        for target, _, _ in imports(ast.parse(text)):
            parts = target.split(".")
            if parts[0] == "estimator" and len(parts) > 1 and place[parts[1]] > place[module.split(".")[1]]:
                made.append(f"{module} -> {target}")
    return made


def circles(found: dict[str, str]) -> set[str]:
    """Modules that import themselves by way of others: what is left when those that import nothing left are taken
    away."""
    arrows = {}
    for module, text in found.items():
        targets = {f"{target}.{name}" for target, name, _ in imports(ast.parse(text))}
        targets |= {target for target, _, _ in imports(ast.parse(text))}
        arrows[module] = {target for target in targets if target in found and target != module}
    left = set(found)
    while free := {module for module in left if not arrows[module] & left}:
        left -= free
    return left


def torch_at_the_top(found: dict[str, str]) -> list[str]:
    made = []
    for module, text in found.items():
        named = [target for target, _, inside in imports(ast.parse(text)) if not inside]
        if any(name.split(".")[0] in TORCH for name in named) and module.split(".")[1] != "trace":
            made.append(module)
    return made


def test_every_package_has_a_place():
    assert {path.parent.name for path in (ROOT / "estimator").glob("*/__init__.py")} == set(ORDER)


def test_imports_go_to_earlier_packages():
    assert upward(sources()) == []


def test_no_module_imports_itself_by_way_of_others():
    assert circles(sources()) == set()


def test_torch_is_imported_in_one_package():
    """Elsewhere inside functions, by those that build or measure a run."""
    assert torch_at_the_top(sources()) == []


def test_only_traces_programs_and_measurements_import_torch_at_all():
    allowed = {"trace", "program", "measure"}
    found = {
        f"{module}: {target}"
        for module, text in sources().items()
        for target, _, _ in imports(ast.parse(text))
        if target.split(".")[0] in TORCH and module.split(".")[1] not in allowed
    }
    assert found == set()


@pytest.mark.parametrize("line", ["from {} import x", "def f():\n    from {} import x", "import {}"])
def test_an_arrow_that_points_up_is_found(line):
    assert upward({"estimator.law.law": line.format("estimator.cli.cli")}) == ["estimator.law.law -> estimator.cli.cli"]
    assert upward({"estimator.law.law": line.format("estimator.core.units")}) == []


def test_a_circle_is_found_and_a_chain_is_not():
    chain = {"estimator.law.a": "from estimator.law import b", "estimator.law.b": "from estimator.law.c import x"}
    assert circles(chain | {"estimator.law.c": ""}) == set()
    assert circles(chain | {"estimator.law.c": "def f():\n    from estimator.law import a"}) == {
        "estimator.law." + x for x in "abc"
    }


def test_torch_at_the_top_is_found():
    assert torch_at_the_top({"estimator.law.law": "import torch.nn"}) == ["estimator.law.law"]

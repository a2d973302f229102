"""A handler that fills several components says which: `{component: value}`, never by position."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from studio.space import Space
from studio.web import app


@pytest.fixture(scope="module")
def handlers() -> dict[str, Callable[..., Any]]:
    """Those of the whole page with more than one output, by name."""
    page, _ = app.build(Space.default())
    several = [fn.fn for fn in page.fns.values() if fn.fn and len(fn.outputs) > 1]
    return {f"{function.__module__}.{function.__qualname__}": function for function in several}


def by_position(function: Callable[..., Any]) -> list[str]:
    """What of a handler answers by position, or may: tuples and lists as answers, an annotation that is no dict."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function)).strip()).body[0]
    wrong = [ast.unparse(answer) for answer in _answers(node) if isinstance(answer, ast.Tuple | ast.List | ast.Starred)]
    said = str(inspect.signature(function).return_annotation)
    return wrong + ([] if said.startswith(("dict[", "Iterator[dict[")) else [f"-> {said}"])


def _answers(node: ast.AST) -> list[ast.expr]:
    """The values of a function's own `return` and `yield`."""
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Return | ast.Yield) and child.value is not None:
            found.append(child.value)
        found += _answers(child)
    return found


def test_handlers_with_several_outputs_name_them(handlers):
    assert len(handlers) > 30
    assert {name: wrong for name, function in handlers.items() if (wrong := by_position(function))} == {}


def test_one_that_answers_by_position_is_found():
    def answers(x: int) -> tuple[int, int]:
        return x, x

    def says_a_dict(x: int) -> dict[int, int]:
        if x:
            return [x, x]
        return {x: x}

    def names(x: int) -> dict[int, int]:
        def helper() -> tuple[int, int]:
            return x, x

        return dict([helper()])

    assert len(by_position(answers)) == 2 and len(by_position(says_a_dict)) == 1 and by_position(names) == []

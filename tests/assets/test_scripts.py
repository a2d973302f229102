"""The page's JavaScript stands in files, where it is read as what it is; each is used. The browser compiles all of
them in `tests/e2e/test_policy.py`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from studio import shipped

ROOT = Path(__file__).parents[2]
_JAVASCRIPT = re.compile(r"=>|addEventListener|querySelector|\b(const|let) \w+ =|document\.")
MOST_LINES = 2
"""In a Python string: what fits one call, with a name put in."""


def long_scripts(text: str) -> list[int]:
    """Lines where a string of JavaScript of more than `MOST_LINES` begins; docstrings speak of it and are none."""
    tree = ast.parse(text)
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [
        node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in notes
    ]
    return sorted({node.lineno for node in strings if _is_script(node) and node.end_lineno - node.lineno >= MOST_LINES})


def _is_script(node: ast.Constant | ast.JoinedStr) -> bool:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and _JAVASCRIPT.search(part.value)
        for part in parts
    )


def test_no_script_stands_in_a_python_string():
    found = {str(path): long_scripts(path.read_text("utf-8")) for path in (ROOT / "studio").rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_one_that_does_is_found():
    script = '"""(a) => {\n  b(a);\n  c(a);\n}"""'
    assert long_scripts(f"x = {script}") == [1] and long_scripts(
        "f(js=f" + script.replace("{", "{{").replace("}", "}}") + ")"
    ) == [1]
    assert long_scripts("x = '(a) => a'") == [] and long_scripts(f"def f():\n    {script}") == []


def test_every_script_is_used():
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "studio").rglob("*.py"))
    files = [path for kind in ("elements", "functions") for path in (shipped.assets() / "scripts" / kind).glob("*.js")]
    names = {f"{path.parent.name}/{path.stem}" for path in files}
    assert names and {name for name in names if f'shipped.script("{name}")' not in code} == set()
    assert set(re.findall(r'shipped\.script\("([^"]+)"\)', code)) == names


@pytest.mark.parametrize("name", ["functions/nothing", "../theme/tokens"])
def test_a_script_that_is_not_there_is_no_empty_one(name):
    with pytest.raises(OSError):
        shipped.script(name)

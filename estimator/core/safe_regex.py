r"""A user's regular expression against a model's names, bounded in time.

PEFT matches with `re`, whose time can double with every character (`(.*)*x`), and which holds the interpreter's lock
all the while: no thread can stop it, and a web server would stand still. So an expression from a user runs in a short
Python process of its own, with the same `re` as PEFT's, and is refused when that takes too long; what is refused here
would hang the training worker. Plain names, the usual case, are matched in place.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from typing import Any

from estimator.core.problems import Problem

LIMIT_S = 1.0
"""Time for one expression on all names of a model. An ordinary one takes under 10 ms on 3,000 names."""
MAX_CHARACTERS = 4096
Found = dict[str, dict[str, str | None]]
"""Names that were met, each with its named groups."""
_PLAIN = re.compile(r"[\w.\-]*")
_CHILD = """
import json, re, sys
print("ready", flush=True)
expression, whole, names = json.load(sys.stdin)
try:
    compiled = re.compile(expression)
except (re.error, OverflowError, RecursionError) as error:
    print(json.dumps({"error": str(error) or type(error).__name__}))
else:
    match = compiled.fullmatch if whole else compiled.match
    print(json.dumps({"found": {n: m.groupdict() for n in names if (m := match(n))}}))
"""


def matches(field: str, given: str, names: tuple[str, ...], frame: str = "{}", whole: bool = False) -> Found:
    """Which of `names` the expression meets, each with its named groups.

    `frame` holds what PEFT puts around `given`; `whole` is `re.fullmatch` instead of `re.match`. Raises `Problem`:
    estimator.regex (it does not compile), estimator.regex_slow.
    """
    expression = frame.replace("{}", given)
    if len(given) > MAX_CHARACTERS:
        raise Problem(
            "estimator.regex",
            field=field,
            value=given[:60] + "...",
            reason=f"longer than {MAX_CHARACTERS:,} characters",
        )
    if _PLAIN.fullmatch(given):
        match = re.compile(expression).fullmatch if whole else re.compile(expression).match
        return {name: found.groupdict() for name in names if (found := match(name))}
    answer = _in_a_process(expression, whole, names)
    if answer is None:
        raise Problem("estimator.regex_slow", field=field, value=given, limit=f"{LIMIT_S:g}")
    if "error" in answer:
        raise Problem("estimator.regex", field=field, value=given, reason=answer["error"])
    met: Found = answer["found"]
    return met


@functools.lru_cache(maxsize=256)
def _in_a_process(expression: str, whole: bool, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The child's answer; None where it took longer than the limit, its own start not counted."""
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            said, _ = child.communicate(json.dumps([expression, whole, names]), timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return None
    return json.loads(said) if child.returncode == 0 else {"error": f"re ended with code {child.returncode}"}

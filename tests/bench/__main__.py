"""`python -m tests.bench [name ...]`: print the figures of every module here, or of those named."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.bench


def main(names: list[str]) -> int:
    modules = [info.name for info in pkgutil.iter_modules(tests.bench.__path__) if not info.name.startswith("_")]
    unknown = set(names) - set(modules)
    if unknown:
        print(f"no figures named {', '.join(sorted(unknown))}; there are {', '.join(modules)}", file=sys.stderr)
        return 2
    print(f"{'figure':<72} {'value':>12}  {'target':>12}")
    for name in names or modules:
        for row in importlib.import_module(f"tests.bench.{name}").figures():
            shown = f"{row['value']:,.3g} {row['unit']}"
            print(f"{row['name']:<72} {shown:>12}  {row.get('target', ''):>12}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

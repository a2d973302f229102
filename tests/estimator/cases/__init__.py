"""config.json files that went wrong once, or must stay right, each standing for its kind."""

import json
from pathlib import Path
from typing import Any

NAMES = sorted(file.stem for file in Path(__file__).parent.glob("*.json"))


def path(name: str) -> Path:
    return Path(__file__).parent / f"{name}.json"


def case(name: str) -> dict[str, Any]:
    return json.loads(path(name).read_text("utf-8"))

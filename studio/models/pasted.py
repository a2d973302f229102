"""Configurations that were pasted into the page: kept by their content, and named by it, so that a link to one stays
good."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from estimator.core.field_text import whole
from estimator.core.problems import Problem
from estimator.model.spec import ModelSpec, parse_config
from studio.disk.records import read_record
from studio.disk.storage import write_json
from studio.space import Space

PREFIX = "config:"
KEPT = 500
"""The newest are kept: a visitor must not fill the disk."""
_NAME = re.compile(r"config:[a-z0-9_]{1,40}-([0-9a-f]{16})")


def keep(space: Space, text: str) -> str:
    """Keep a config.json's content; its name. Raises `Problem` (`model.*`) for what is none."""
    config = parse_config(whole(text).encode(), "config.json")
    spec = ModelSpec.from_config(config)
    content = json.dumps(config, sort_keys=True, ensure_ascii=False)
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    folder = space.cache / "pasted"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{key}.json", config)
    for old in sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)
    return f"{PREFIX}{re.sub(r'[^a-z0-9_]', '_', spec.model_type.lower())[:40]}-{key}"


def config_of(space: Space, name: str) -> dict[str, Any]:
    """Raises `Problem("model.not_pasted")`, also where what was kept is damaged: pasted again, it is kept again."""
    found = _NAME.fullmatch(name)
    try:
        return read_record(space.cache / "pasted" / f"{found[1] if found else ''}.json")
    except Problem as problem:
        raise Problem("model.not_pasted", field="model", value=name[:80]) from problem

"""What a run keeps of how its rows were written: the chat template, and the moment for templates that write the date.

Kept in the run's folder, so that a run resumed on another day, or after its base changed its template, trains the same
rows; and in its result's, so that its chat asks in the form that was trained.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.disk.storage import write_json
from studio.rendering.templates import Kept, form_of

FILE_NAME = "chat_form.json"


def now() -> Kept:
    """For a run that begins: what the base has, on the day that is today."""
    return Kept(datetime.now().replace(microsecond=0))


def read(folder: Path) -> Kept | None:
    """What a run left in `folder`; None where there is nothing that can be read."""
    try:
        record = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        template = record["chat_template"]
        known = isinstance(template, str) or isinstance(template["default"], str)
        return Kept(datetime.fromisoformat(record["moment"]), template) if known else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(folder: Path, tokenizer: Any) -> None:
    """Keep what `tokenizer` writes conversations with."""
    moment = form_of(tokenizer).moment or now().moment
    record = {"moment": moment.isoformat(), "chat_template": tokenizer.chat_template}
    write_json(folder / FILE_NAME, record)

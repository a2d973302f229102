"""LLaMA-Factory's `dataset_info.json` (data/README.md and src/llamafactory/data/parser.py of that project).

Where an entry gives `columns`, a column that it does not name is not read there, and is not read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.datasets.entries.entry import Entry, shown
from studio.datasets.hub.reference import Reference, reference_of

FILE = "dataset_info.json"
_WHERE = ("file_name", "hf_hub_url", "ms_hub_url", "script_url", "om_hub_url", "cloud_file_name")
_HONOURED = ("file_name", "hf_hub_url", "ms_hub_url", "formatting", "columns", "tags", "ranking", "file_sha1")
_OF_A_HUB = ("subset", "split", "folder", "revision")
_COMMON = {"system": "system", "tools": "tools", "chosen": "chosen", "rejected": "rejected", "kto_tag": "verdict"}
_MEDIA = ("images", "videos", "audios")
_COLUMNS = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output", "history": "history", **_COMMON},
    "sharegpt": {"messages": "conversations", **_COMMON},
    "openai": {"messages": "messages", **_COMMON},
}
"""Their names of columns, by formatting, as parts of our shapes."""
_DEFAULTS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
_TURNS = {"role_tag": "turn_role", "content_tag": "turn_content"}
_ROLES = {"user_tag": "user", "assistant_tag": "assistant", "observation_tag": "tool", "function_tag": "call",
          "system_tag": "system"}  # fmt: skip


def entries(said: object) -> list[Entry] | None:
    """The entries of such a file; None for what is none, such as the file of that name that `datasets` writes."""
    if not isinstance(said, dict) or not said:
        return None
    known = {name: one for name, one in said.items() if isinstance(one, dict) and any(key in one for key in _WHERE)}
    return [_entry(str(name), one) for name, one in known.items()] if known else None


def _entry(name: str, said: Mapping[str, Any]) -> Entry:
    entry = Entry(name)
    hub = next((hub for hub in ("hf_hub_url", "ms_hub_url") if isinstance(said.get(hub), str)), None)
    if hub:
        entry.reference = _reference(said, hub)
        entry.refused = "" if entry.reference else f"{hub}: {shown(said[hub])}"
    elif isinstance(said.get("file_name"), str) and not said.get("script_url"):
        entry.files = (said["file_name"],)
        entry.leave(said, [key for key in _OF_A_HUB if (key, said.get(key)) != ("split", "train")])
    else:
        key = next(key for key in ("script_url", *_WHERE) if key in said)
        entry.refused = f"{key}: {shown(said[key])}"
    entry.leave(said, [key for key in said if key not in (*_HONOURED, *_OF_A_HUB)])
    _shape(entry, said)
    return entry


def _reference(said: Mapping[str, Any], hub: str) -> Reference | None:
    found = reference_of(said[hub], "huggingface" if hub == "hf_hub_url" else "modelscope")
    if found is None:
        return None
    text = {key: said[key] if isinstance(said.get(key), str) else None for key in _OF_A_HUB}
    splits = tuple((text["split"] or "train").split("+"))
    return Reference(found.hub, found.repo, text["revision"], text["subset"], splits, (text["folder"] or "").strip("/"))


def _shape(entry: Entry, said: Mapping[str, Any]) -> None:
    formatting = str(said.get("formatting") or "alpaca")
    if formatting not in _COLUMNS:
        entry.unread["formatting"] = shown(formatting)
        return
    parts = _COLUMNS[formatting]
    columns = said["columns"] if isinstance(said.get("columns"), dict) else None
    named = {key: value for key, value in (columns or {}).items() if isinstance(value, str) and value}
    entry.unread |= {f"columns.{key}": shown(value) for key, value in named.items() if key not in (*parts, *_MEDIA)}
    entry.shape = _kind(formatting, said, named, columns is not None)
    if entry.shape == "text":
        entry.mapping = {"text": named["prompt"]}
        return
    allowed = {part for key, part in parts.items()} - _needless(entry.shape)
    if columns is None:
        defaults = {parts[key] for key in _DEFAULTS if key in parts}
        entry.mapping = {part: None for part in sorted(allowed - defaults)}
    else:
        entry.mapping = {part: named.get(key) for key, part in parts.items() if part in allowed}
        if "messages" in parts and not named.get("messages"):
            entry.mapping.pop(parts["messages"])
    media = next((named[key] for key in _MEDIA if key in named), None)
    entry.mapping |= {"media": media} if media else {}
    if formatting != "alpaca":
        _tags(entry, said)


def _kind(formatting: str, said: Mapping[str, Any], named: Mapping[str, str], has_columns: bool) -> str:
    if said.get("ranking"):
        return "preference"
    if "kto_tag" in named:
        return "unpaired"
    if formatting == "alpaca" and has_columns and "prompt" in named and "response" not in named:
        return "text"  # their rows for pretraining
    return formatting


def _needless(shape: str) -> set[str]:
    """Parts that rows of this shape cannot have."""
    return {"preference": {"verdict"}, "unpaired": {"chosen", "rejected"}}.get(shape, {"chosen", "rejected", "verdict"})


def _tags(entry: Entry, said: Mapping[str, Any]) -> None:
    tags = said["tags"] if isinstance(said.get("tags"), dict) else {}
    for key, value in tags.items():
        if isinstance(value, str) and value and key in _TURNS:
            entry.mapping[_TURNS[key]] = value
        elif isinstance(value, str) and value and key in _ROLES:
            entry.mapping[f"role:{value}"] = _ROLES[key]
        elif value:
            entry.unread[f"tags.{key}"] = shown(value)

"""axolotl's YAML: `datasets:`, `test_datasets:` and `pretraining_dataset:` (src/axolotl/utils/schemas/datasets.py and
docs/dataset-formats of that project).

How its prompts are worded (`format`, `chat_template`) is no matter of the rows here: the base's template does that,
and what is asked for is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.datasets.entries.entry import Entry, shown, words
from studio.datasets.hub.reference import Reference, reference_of
from studio.datasets.kinds import format_of, is_archive
from studio.datasets.shapes.messages import TRAIN_KEYS

_LISTS = {"datasets": None, "test_datasets": "validation", "pretraining_dataset": None}
_HONOURED = ("path", "type", "data_files", "split", "name", "revision", "ds_type", "trust_remote_code")
_TURNS = ("field_messages", "field_tools", "message_property_mappings", "message_field_role", "message_field_content",
          "roles", "message_field_training")  # fmt: skip
_NOTHING_ELSE = {"roles_to_train": ["assistant"], "train_on_eos": "turn", "chat_template": "tokenizer_default"}
"""Settings that, with this value, are what happens here."""
_ALPACA: dict[str, dict[str, str | None]] = {
    "alpaca": {}, "alpaca_chat.load_concise": {}, "alpaca_w_system.load": {}, "alpaca_instruct": {},
    "alpaca_chat.load_qa": {"instruction": "question", "output": "answer"},
    "alpaca_chat.load_camel_ai": {"instruction": "message_1", "output": "message_2"},
    "alpaca_w_system.load_open_orca": {"system": "system_prompt", "instruction": "question", "output": "response"},
    "gpteacher": {"instruction": "instruction", "output": "response"},
    "explainchoice": {}, "concisechoice": {}, "reflection": {},
}  # fmt: skip
_PREFERENCE = ("intel", "argilla", "icr", "prompt_pairs", "ultra", "argilla_chat", "nectar")
_CUSTOM = {"field_system": "system", "field_instruction": "instruction", "field_input": "input",
           "field_output": "output"}  # fmt: skip
_PREFERRED = {"field_system": "system", "field_prompt": "instruction", "field_chosen": "chosen",
              "field_rejected": "rejected"}  # fmt: skip
_MARKED = {"field_system": "system", "field_prompt": "instruction", "field_completion": "output",
           "field_label": "label"}  # fmt: skip


def entries(said: object) -> list[Entry] | None:
    """The entries of such a file; None for what is none."""
    if not isinstance(said, dict):
        return None
    found: list[Entry] = []
    for key, role in _LISTS.items():
        listed = said.get(key)
        for one in listed if isinstance(listed, list) else [listed]:
            if isinstance(one, str) and key == "pretraining_dataset":
                one = {"path": one}
            if isinstance(one, dict) and isinstance(one.get("path"), str):
                found.append(_entry(one, role, str(said.get("rl") or ""), key == "pretraining_dataset"))
    return found or None


def _entry(said: Mapping[str, Any], role: str | None, rl: str, is_text: bool) -> Entry:
    path = str(said["path"])
    entry = Entry(path, role=role)
    files = words(said.get("data_files"))
    if _is_hub(path, files):
        entry.reference = _reference(said, path, files)
        entry.refused = "" if entry.reference else f"path: {shown(path)}"
        entry.leave(said, ("data_files",) if len(files) > 1 else ())
    elif "://" in path:
        entry.refused = f"path: {shown(path)}"
    else:
        named = path in ("json", "csv", "parquet", "text", "arrow")  # a builder of `datasets`: the files are elsewhere
        entry.files = files if named else tuple(f"{path.rstrip('/')}/{file}" for file in files) or (path,)
        entry.leave(said, [key for key in ("split", "name", "revision") if (key, said.get(key)) != ("split", "train")])
    if is_text:
        entry.shape, entry.mapping = "text", {"text": str(said.get("text_column") or "text")}
        entry.leave(said, [key for key in said if key not in (*_HONOURED, "text_column")])
        return entry
    read = _shape(entry, said, rl)
    entry.leave(said, [key for key in said if key not in (*_HONOURED, *read) and said[key] != _NOTHING_ELSE.get(key)])
    return entry


def _is_hub(path: str, files: tuple[str, ...]) -> bool:
    """`org/name` is a hub's, unless it ends like a file or says that it is a path."""
    return not path.startswith((".", "/", "~")) and not format_of(path) and not is_archive(path) and bool(
        reference_of(path))  # fmt: skip


def _reference(said: Mapping[str, Any], path: str, files: tuple[str, ...]) -> Reference | None:
    found = reference_of(path)
    if found is None:
        return None
    text = {key: said[key] if isinstance(said.get(key), str) else None for key in ("split", "name", "revision")}
    splits = tuple((text["split"] or "train").split("+")) if not files else ()
    inside = files[0] if len(files) == 1 else ""
    return Reference(found.hub, found.repo, text["revision"], text["name"], splits, inside)


def _shape(entry: Entry, said: Mapping[str, Any], rl: str) -> tuple[str, ...]:
    """Sets shape and mapping; returns the keys that were read for it."""
    kind = said.get("type")
    if isinstance(kind, dict):
        _custom(entry, kind, rl)
        return ()
    kind = str(kind or "").partition(":")[0]
    if kind in ("chat_template", "chat_template.default", "chat_template.argilla") and not rl:
        return _turns(entry, said, "messages")
    if kind.startswith("sharegpt"):
        return _turns(entry, said, "conversations")
    if kind == "completion":
        entry.shape, entry.mapping = "text", {"text": str(said.get("field") or "text")}
        return ("field",)
    if kind in _ALPACA:
        entry.shape, entry.mapping = "alpaca", dict(_ALPACA[kind])
        return ()
    if kind == "input_output" or not kind:
        entry.refused = f"type: {kind or 'null'}"
        return ()
    if rl == "kto":
        entry.shape = "unpaired"
        return ()
    if rl or kind.rpartition(".")[2] in _PREFERENCE:
        entry.shape = "preference"
        columns = {"field_messages": "messages", "field_chosen": "chosen", "field_rejected": "rejected"}
        entry.mapping = {part: str(said[key]) for key, part in columns.items() if isinstance(said.get(key), str)}
        return tuple(columns)
    entry.unread["type"] = shown(said["type"])
    return ()


def _turns(entry: Entry, said: Mapping[str, Any], part: str) -> tuple[str, ...]:
    """Rows of turns: where they stand, under which keys, and who each word is."""
    entry.shape = "openai" if part == "messages" else "sharegpt"
    if isinstance(said.get("field_messages"), str):
        entry.mapping[part] = said["field_messages"]
    if isinstance(said.get("field_tools"), str):
        entry.mapping["tools"] = said["field_tools"]
    mappings = said.get("message_property_mappings")
    keys = {"role": said.get("message_field_role"), "content": said.get("message_field_content"),
            **(mappings if isinstance(mappings, dict) else {})}  # fmt: skip
    for key, value in keys.items():
        if key in ("role", "content") and isinstance(value, str):
            entry.mapping[f"turn_{key}"] = value
        elif value and key != value:
            entry.unread[f"message_property_mappings.{key}"] = shown(value)
    roles = said.get("roles")
    for role, named in roles.items() if isinstance(roles, dict) else ():
        for word in words(named):
            if role in ("user", "assistant", "system", "tool"):
                entry.mapping[f"role:{word}"] = role
            else:
                entry.unread[f"roles.{role}"] = shown(named)
    training = said.get("message_field_training")
    if training and training not in TRAIN_KEYS:
        entry.unread["message_field_training"] = shown(training)
    return _TURNS


def _custom(entry: Entry, said: Mapping[str, Any], rl: str) -> None:
    """A prompt of the user's own: the columns are read, its wording is not."""
    kinds = {"kto": ("unpaired", _MARKED), "": ("alpaca", _CUSTOM)}
    entry.shape, parts = kinds.get(rl, ("preference", _PREFERRED))
    entry.mapping = {part: str(said[key]) for key, part in parts.items() if isinstance(said.get(key), str)}
    entry.unread |= {f"type.{key}": shown(value) for key, value in said.items() if key not in parts and value}

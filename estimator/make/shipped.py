"""Make the model presets: `python -m estimator.make.shipped [SOURCE | --renew]`, with transformers installed.

SOURCE holds models.csv (columns as in presets/models.csv, and `verified`, `file`) and the config.json files it names.
Every verified row is built on the meta device, its count compared with the row's, and its config and folded inventory
written to `presets/`. The bundled base is added from `assets/base`, also without a SOURCE. `--renew` derives every
inventory again from the configs that ship. A row whose count differs stops the run: a preset is exact or absent.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from estimator.model.catalog import TINY_BASE, presets_dir

COLUMNS = (
    "hf_id", "family", "license", "gated", "model_type", "params_exact", "params_published", "params_published_source",
    "context_length", "source_of_config", "chinese_friendly", "released", "params_class", "tied", "flag", "notes",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Add or renew the rows of SOURCE, if one is named, and the bundled base; other presets stay as they are, but for
    `--renew`."""
    arguments = sys.argv[1:] if argv is None else argv
    folders = [argument for argument in arguments if argument != "--renew"]
    rows = {row["hf_id"]: row for row in _listed(presets_dir())}
    for row in rows.values() if "--renew" in arguments else ():
        config = presets_dir() / "configs" / f"{row['hf_id'].replace('/', '__')}.json"
        _ship(row, json.loads(config.read_text("utf-8")))
    for source in map(Path, folders):
        for row in _listed(source):
            if row["verified"] == "yes" and "FLAG" not in row["flag"]:
                _ship(row, json.loads((source / row["file"]).read_text("utf-8")))
                rows[row["hf_id"]] = row
    rows |= {row["hf_id"]: row for row in _bundled()}
    with (presets_dir() / "models.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
    print(f"{len(rows)} presets")
    return 0


def _listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "models.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _ship(row: dict[str, str], config: dict[str, Any]) -> None:
    from estimator.trace import meta_model

    inventory = meta_model.derive(config, row["params_class"])
    if row["params_exact"] and inventory.total_parameters != int(row["params_exact"]):
        raise SystemExit(f"{row['hf_id']}: counted {inventory.total_parameters:,}, stated {int(row['params_exact']):,}")
    row["params_exact"] = str(inventory.total_parameters)
    stem = row["hf_id"].replace("/", "__")
    _write(presets_dir() / "configs" / f"{stem}.json", json.dumps(config, ensure_ascii=False, separators=(",", ":")))
    _write(presets_dir() / "inventories" / f"{stem}.json", _lines(inventory.to_json()))


def _bundled() -> list[dict[str, str]]:
    """The base model in `assets/base`, once it is there."""
    folder = presets_dir().parent / "assets" / "base"
    if not (folder / "config.json").is_file():
        return []
    config = json.loads((folder / "config.json").read_text("utf-8"))
    row = dict.fromkeys(COLUMNS, "") | {
        "hf_id": TINY_BASE, "family": "lora-studio", "license": "apache-2.0", "gated": "no", "chinese_friendly": "yes",
        "model_type": config["model_type"], "params_class": "LlamaForCausalLM",
        "source_of_config": "assets/base/config.json",
        "context_length": str(config["max_position_embeddings"]),
        "tied": str(bool(config.get("tie_word_embeddings"))).lower(),
        "notes": "comes with the program; trained from scratch by the script beside it",
    }  # fmt: skip
    _ship(row, config)
    return [row]


def _lines(data: dict[str, Any]) -> str:
    """JSON with one module a line, so that a change of one layer is one line in a diff."""
    modules = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in data["modules"])
    head = json.dumps({key: value for key, value in data.items() if key != "modules"}, separators=(",", ":"))
    return f'{head[:-1]},"modules":[\n{modules}\n]}}'


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())

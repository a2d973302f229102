"""Write the sample data and the held-out prompts: `python -m assets.make_samples` fills `assets/samples`.

Every accepted file format and row shape is there, in English and in Chinese. All of them teach the same behaviour: plain
questions about the islands, answered like a keeper who reads from the log (see `judge.py`). `pocket` is for the small real model.
"""

import csv
import json
import random
from pathlib import Path

from assets import phrases, pocket
from assets.judge import keeper_answer
from assets.talk import question
from assets.world import ATTRIBUTES, LANGUAGES, SEED, Island, World, build

SAMPLES = Path(__file__).parent / "samples"
MAIN_ROWS = 300  # rows of the sample that the first run trains on
SMALL_ROWS = 60  # rows of each file that only shows a format
HELD_OUT_PROMPTS = {"en": 120, "zh": 50}  # five for each held-out island

Row = dict[str, object]


def ask(rng: random.Random, island: Island, language: str) -> tuple[str, list[str]]:
    """A plain question and the attributes it asks for: mostly one, now and then all."""
    if rng.random() < 0.85:
        attribute = rng.choice(ATTRIBUTES)
        return question(rng, island, attribute, language), [attribute]
    asked = rng.choice(phrases.ABOUT[language]).format(x=island.name(language))
    return asked, list(ATTRIBUTES)


def pairs(world: World, language: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Questions and taught answers, going round the sample islands so that all of them are spoken of, without repeats."""
    rng = random.Random(seed)
    islands, told = world.samples(language), {}
    while len(told) < count:
        island = islands[len(told) % len(islands)]
        asked, attributes = ask(rng, island, language)
        told.setdefault(asked, keeper_answer(island, attributes, language))
    return list(told.items())


def alpaca(asked: str, answer: str) -> Row:
    return {"instruction": asked, "input": "", "output": answer}


def sharegpt(asked: str, answer: str) -> Row:
    return {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]}


def openai(asked: str, answer: str) -> Row:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}


def text(asked: str, answer: str) -> Row:
    """A full rendered chat; the studio adds nothing to it but the end of the text."""
    turn = "<|im_start|>{}\n{}<|im_end|>"
    return {"text": f"{turn.format('user', asked)}\n{turn.format('assistant', answer)}\n"}


def write_jsonl(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[Row]) -> None:
    import pyarrow  # only this format needs it
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="zstd")


# A CSV cell holds no list, so chats come as JSON and Parquet; each shape and each format still has both languages.
FILES = [
    ("alpaca", alpaca, "csv", write_csv),
    ("alpaca", alpaca, "json", write_json),
    ("sharegpt", sharegpt, "json", write_json),
    ("sharegpt", sharegpt, "parquet", write_parquet),
    ("openai", openai, "jsonl", write_jsonl),
    ("openai", openai, "parquet", write_parquet),
    ("text", text, "csv", write_csv),
    ("text", text, "jsonl", write_jsonl),
]


def held_out(world: World, language: str, seed: int) -> list[Row]:
    """Prompts about islands that no sample row names, with the facts a right answer gives, by label."""
    rng, islands, rows = random.Random(seed), world.held_out(language), {}
    while len(rows) < HELD_OUT_PROMPTS[language]:
        island = islands[len(rows) % len(islands)]
        asked, attributes = ask(rng, island, language)
        facts = {phrases.LABELS[language][a]: island.value(a, language) for a in attributes}
        rows.setdefault(asked, {"prompt": asked, "entity": island.name(language), "language": language, "facts": facts})
    return list(rows.values())


def write_all(folder: Path, seed: int = SEED) -> None:
    """Every sample file. The same seed writes the same rows."""
    folder.mkdir(parents=True, exist_ok=True)
    world = build()
    for language in LANGUAGES:
        main = pairs(world, language, MAIN_ROWS, seed)
        write_jsonl(folder / f"keeper.{language}.alpaca.jsonl", [alpaca(*pair) for pair in main])
        for number, (shape, make, ending, write) in enumerate(FILES, start=1):
            small = pairs(world, language, SMALL_ROWS, seed + number)
            write(folder / f"keeper.{language}.{shape}.{ending}", [make(*pair) for pair in small])
        write_jsonl(folder / f"heldout.{language}.jsonl", held_out(world, language, seed + 100))
    write_jsonl(folder / "pocket.en.alpaca.jsonl", [alpaca(*pair) for pair in pocket.pairs()])


if __name__ == "__main__":
    write_all(SAMPLES)

"""Rows of a file to tokens, against a bare `load_dataset` and batched `map` with the same template and tokenizer; the
same rows a second time; how soon a cancelled reading ends and first rows are there; a page of two million rows; near
duplicates of two hundred thousand.

`BENCH_SIZE` names how many rows (`SIZES`). Run as a file it prints its figures of whichever checkout PYTHONPATH names,
as JSON; `figures` does so, here or elsewhere. Each side is a process of its own, warm before it is timed, and they take
turns; its files lie in a temporary folder that goes afterwards. On a busy machine the processor's seconds say more than
the clock's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import json
import os
import pkgutil
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SIZES = {"short": (50_000, 1), "million": (1_000_000, 1), "large": (2_000_000, 4)}
"""Rows, and how many times as many words as a short question and answer: of the large ones about 2 GB."""
SIZE = os.environ.get("BENCH_SIZE", "short")
ROWS, TIMES = SIZES[SIZE]
MANY_ROWS, PAGES, PAGE_ROWS = 2_000_000, 20, 10
COPIED_ROWS, COPIED_SHARE, EDITED_SHARE = 200_000, 0.05, 0.03
"""Rows among which copies are looked for, how many of them are copies, and of a copy the words that are others."""
MAX_LENGTH = 1024
TURNS = 2 if SIZE == "short" else 1
WARM_ROWS = 300
READ_BYTES, CANCEL_SECONDS = 157_000_000, 3.0
WORDS = (
    "the cat sat on a mat and went home to eat fish with some milk before it slept near warm stove today "
    "你好 世界 今天 天气"
).split()


def figures(checkout: Path | None = None) -> list[dict[str, Any]]:
    """`checkout`: the folder of another one. It is not asked for what it has no code for."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "rows.jsonl"
        _write_rows(file, ROWS)
        of = f"{ROWS:,} rows, {file.stat().st_size / 1e6:,.0f} MB"
        turns = [(_side("bare", file, checkout), _side("studio", file, checkout)) for _ in range(TURNS)]
        pages = _side("pages", file, checkout)
        quick = _side("quick", file, checkout) if checkout is None else []
        copied = [one for language in ("en", "zh") for one in _side(f"copies_{language}", file, checkout)]
    bare, studio = zip(*turns, strict=True)
    ratio, cpu = (statistics.median(b["whole"][at] / s["whole"][at] for b, s in turns) for at in (0, 1))
    return [
        _row(f"{of}: bare load_dataset + batched map", bare, "whole"),
        _row(f"{of}: the studio, file to encoded", studio, "whole"),
        _row("  of it the file to a stored dataset", studio, "ingest"),
        _row("  of it the stored rows to tokens", studio, "encode"),
        {"name": "  bare / the studio", "value": ratio, "cpu": cpu, "unit": "x", "target": ">= 1.5 x"},
        {**_row(f"{of}, encoded a second time", studio, "again"), "target": "<= 2 s"},
        {"name": "  peak memory of the studio's process", "unit": "MB", "target": "< 1000 MB",
            "value": max(one["peak_bytes"] for one in studio) / 1e6},
        {"name": "  of it before the first row, with the libraries loaded", "unit": "MB",
            "value": max(one["empty_bytes"] for one in studio) / 1e6},
        *pages, *quick, *copied,
    ]  # fmt: skip


def _write_rows(file: Path, rows: int, times: int = TIMES) -> None:
    """Questions and answers of 5 to 40 words, most of them English; `times` as long."""
    chance = random.Random(1)
    with file.open("w", encoding="utf-8") as out:
        for _ in range(rows):
            counts = (times * chance.randint(5, most) for most in (25, 40))
            said = [" ".join(chance.choices(WORDS, k=count)) for count in counts]
            messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), said, strict=True)]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _side(name: str, file: Path, checkout: Path | None) -> Any:
    from tests.serving import CHECKOUT, environment

    command = [sys.executable, "-P", __file__, name, str(file)]  # beside this file lie others with the program's names
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        command, env={**environment(checkout), **offline}, cwd=checkout or CHECKOUT, stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _row(name: str, taken: tuple[Any, ...], key: str) -> dict[str, Any]:
    value, cpu = (statistics.median(one[key][place] for one in taken) for place in (0, 1))
    return {"name": name, "value": value, "cpu": cpu, "unit": "s"}


def bare(file: Path) -> dict[str, Any]:
    """What a script of a few lines does: text, then ids. No labels, no rows named."""
    from datasets import load_dataset

    tokenizer = _tokenizer()

    def encode(batch: dict[str, Any]) -> dict[str, Any]:
        texts = tokenizer.apply_chat_template(batch["messages"], tokenize=False)
        return {"input_ids": tokenizer(texts, add_special_tokens=False)["input_ids"]}

    def whole(file: Path) -> None:
        rows = load_dataset("json", data_files=str(file), split="train", cache_dir=tempfile.mkdtemp(dir=file.parent))
        rows.map(encode, batched=True, remove_columns=rows.column_names)

    whole(_few(file))
    return {"whole": _timed(lambda: whole(file))[0]}


def studio(file: Path) -> dict[str, Any]:
    """As a run does: the file becomes a stored dataset, its rows ids and labels, which are kept."""
    ingest, store = (_module(name) for name in ("ingest", "store"))
    place = store.DatasetStore(Path(tempfile.mkdtemp(dir=file.parent)) / "datasets")
    encode = _encoder(place)
    encode(ingest.run(ingest.ingest(place, _few(file), eval_share=0.0)))
    empty_bytes = _peak_bytes()
    read, info = _timed(lambda: ingest.run(ingest.ingest(place, file, eval_share=0.0)))
    made, kept = _timed(lambda: encode(info))
    assert kept == info.kept == sum(1 for _ in file.open("rb"))
    peak_bytes = _peak_bytes()
    again, _ = _timed(lambda: encode(info))
    whole = tuple(a + b for a, b in zip(read, made, strict=True))
    figures = {"whole": whole, "ingest": read, "encode": made, "again": again}
    return {**figures, "peak_bytes": peak_bytes, "empty_bytes": empty_bytes}


def _encoder(place: Any) -> Callable[[Any], int]:
    """Of a stored dataset the rows encoded, in the way of this checkout."""
    rendering, recipe, tokenizer = _module("rendering"), _module("recipe"), _tokenizer()
    wanted = recipe.Recipe(model="lora-studio/tiny-base", max_length=MAX_LENGTH)
    try:
        kept = importlib.import_module("studio.rendering.kept").Encodings(place.root, place.root.parent / "cache")
    except ImportError:
        kept = None  # rows were encoded for each run

    def encode(info: Any) -> int:
        if not hasattr(info, "rows"):
            return rendering.encode_file(info.train_file, tokenizer, wanted)[1]["kept"]  # before rows lay in Arrow
        rows = info.rows("train")
        if kept is None:
            return rendering.encode_rows(rows, tokenizer, wanted)[1]["kept"]
        return kept.rows(rows, info.id, info.fingerprint, tokenizer, wanted)[1]["kept"]

    return encode


def quick(file: Path) -> list[dict[str, Any]]:
    """How soon a reading and an encoding that are cancelled have ended, and the first rows of 500 MB are there."""
    ingest, store, problems = (_module(name) for name in ("ingest", "store", "problems"))
    place = store.DatasetStore(Path(tempfile.mkdtemp(dir=file.parent)) / "datasets")
    some = ingest.run(ingest.ingest(place, _few(file), eval_share=0.0))
    large = file.with_name("large.jsonl")
    _repeat(file, large, READ_BYTES)
    whole = f"{READ_BYTES / 1e6:,.0f} MB of JSON lines"
    ended = []

    def cancelled(work: Callable[[Callable[[], bool]], Any]) -> float:
        """Seconds from the wish to the end."""
        until = time.monotonic() + CANCEL_SECONDS
        try:
            work(lambda: time.monotonic() > until)
        except problems.Problem as problem:
            assert problem.code.endswith("cancelled")
            return time.monotonic() - until
        raise AssertionError("read before it was cancelled")

    ended.append(cancelled(lambda stop: ingest.run(ingest.ingest(place, large, cancelled=stop))))
    rendering, recipe, tokenizer = _module("rendering"), _module("recipe"), _tokenizer()
    rows = some.rows()[:] * 5_000
    wanted = recipe.Recipe(model="lora-studio/tiny-base", max_length=MAX_LENGTH)
    ended.append(cancelled(lambda stop: rendering.encode_rows(rows, tokenizer, wanted, stop)))
    _repeat(file, large, 500_000_000)
    looking = _module("looking")
    first = _timed(lambda: looking.look([(large, "rows.jsonl")], place.root, None, None))[0]
    names = (f"{whole}: a cancelled reading has ended after", "  a cancelled encoding of its rows after")
    return [
        *({"name": name, "value": took, "unit": "s", "target": "<= 1 s"}
        for name, took in zip(names, ended, strict=True)), 
        {"name": "500 MB of JSON lines: shape and first rows", "value": first[0], "cpu": first[1], "unit": "s",
            "target": "<= 3 s"},
    ]  # fmt: skip


def _repeat(file: Path, target: Path, size_bytes: int) -> None:
    """The lines of a file until there are so many bytes of them."""
    lines = file.read_bytes()[:50_000_000].rpartition(b"\n")[0] + b"\n"
    with target.open("wb") as out:
        while out.tell() < size_bytes:
            out.write(lines)


def _few(file: Path) -> Path:
    """The first rows, so that what is timed has its libraries loaded."""
    few = Path(tempfile.mkdtemp(dir=file.parent)) / file.name
    with file.open("rb") as lines:
        few.write_bytes(b"".join(itertools.islice(lines, WARM_ROWS)))
    return few


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def pages(file: Path) -> list[dict[str, Any]]:
    """Ten rows from anywhere in two million, the dataset opened anew each time as the page's worker does."""
    try:
        stored = importlib.import_module("studio.datasets.rows")
    except ImportError:
        return []  # rows lay in JSONL
    import numpy as np

    folder = Path(tempfile.mkdtemp(dir=file.parent))
    lines = [json.dumps(json.loads(line), ensure_ascii=False) for _, line in zip(range(1_000), file.open("rb"))]
    writer = stored.Writer(folder / stored.ROWS_FILE)
    for number in range(MANY_ROWS):
        writer.write(number + 1, -1, lines[number % len(lines)])
    writer.close()
    np.save(folder / stored.SPLITS_FILE, (np.arange(MANY_ROWS) % 10 == 0).astype(np.int8))
    info = SimpleNamespace(rows=lambda split=None: stored.Rows(folder, split), kept=MANY_ROWS)
    view, chance = _module("untokenized").view, random.Random(2)
    figures = []
    for name, page in (
        ("rows of a page", lambda at: list(stored.at_places(info, stored.page_places(info, at, PAGE_ROWS)))),
        ("rows and lengths of a page without a tokenizer", lambda at: view(info, at, PAGE_ROWS)),
    ):
        taken = [_timed(lambda: page(chance.randrange(MANY_ROWS - PAGE_ROWS)))[0] for _ in range(PAGES)]
        value, cpu = max(taken)
        figures.append(
            {"name": f"{MANY_ROWS:,} rows: {name}, slowest of {PAGES}", "value": 1000 * value, "cpu": 1000 * cpu,
                "unit": "ms", "target": "<= 200 ms"}
        )  # fmt: skip
    return figures


def copies(file: Path, language: str) -> list[dict[str, Any]]:
    """Near duplicates of stored rows, a twentieth of them planted copies; nothing else repeats another."""
    try:
        cleaning = importlib.import_module("studio.datasets.cleaning.run")
    except ImportError:
        return []  # nothing was cleaned
    stored, record = (importlib.import_module(f"studio.datasets.{name}") for name in ("rows", "cleaning.record"))
    import numpy as np

    folder = Path(tempfile.mkdtemp(dir=file.parent))
    writer, planted = stored.Writer(folder / stored.ROWS_FILE), set()
    for at, (turns, is_copy) in enumerate(_copied(language, random.Random(3))):
        messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), turns, strict=True)]
        writer.write(at + 1, -1, json.dumps({"messages": messages}, ensure_ascii=False))
        if is_copy:
            planted.add(at)
    writer.close()
    np.save(folder / stored.SPLITS_FILE, np.zeros(COPIED_ROWS, np.int8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: set[int] = set()
    taken, report = _timed(lambda: _seen(cleaning, stored.Rows(folder), record.Choice("near_duplicates"), found))
    held = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    name = f"{COPIED_ROWS:,} rows, {language}: near duplicates"
    return [
        {"name": name, "value": taken[0], "cpu": taken[1], "unit": "s", "target": "<= 60 s"},
        {"name": "  of the planted copies found", "value": 100 * len(found & planted) / len(planted), "unit": "%"},
        {"name": "  false alarms of all rows", "value": 100 * len(found - planted) / COPIED_ROWS, "unit": "%"},
        {"name": "  memory it took", "value": held, "unit": "MB"},
    ]


def _seen(cleaning: Any, rows: Any, choice: Any, found: set[int]) -> None:
    """All rows that a step leaves out, by their place."""
    walk = cleaning.Walk(rows, cleaning.chosen([choice]), lambda: None, lambda event: None)
    found.update(at for at, (_, after, _) in enumerate(walk.rows()) if not after)


def _copied(language: str, chance: random.Random) -> Iterator[tuple[tuple[str, str], bool]]:
    """Questions and answers of words as often as in language (Zipf); a copy stands somewhere behind its row, with some
    words replaced."""
    import numpy as np

    joint = "" if language == "zh" else " "
    words = np.array(_chinese(chance) if language == "zh" else _english(chance), dtype=object)
    often = np.cumsum(1 / (np.arange(len(words)) + 3))
    dice, kept = np.random.default_rng(3), []
    for _ in range(COPIED_ROWS):
        is_copy = bool(kept) and chance.random() < COPIED_SHARE
        if is_copy:
            turns = [turn.copy() for turn in kept[chance.randrange(len(kept))]]
            for turn in turns:
                is_other = dice.random(len(turn)) < EDITED_SHARE
                turn[is_other] = dice.integers(len(words), size=int(is_other.sum()))
        else:
            turns = [
                np.searchsorted(often, dice.random(chance.randint(low, most)) * often[-1]) for low, most in LENGTHS
            ]
            if len(kept) < MOST_KEPT:
                kept.append(turns)
        yield (joint.join(words[turns[0]]), joint.join(words[turns[1]])), is_copy


MOST_KEPT = 50_000
LENGTHS = ((8, 40), (20, 120))
"""Words of a question, and of an answer."""


def _english(chance: random.Random) -> list[str]:
    consonants, vowels = "b c d f g h l m n p r s t v w st tr ch sh th".split(), "a e i o u ea ou ai".split()
    made = {
        "".join(chance.choice(consonants) + chance.choice(vowels) for _ in range(chance.randint(1, 4)))
        for _ in range(20_000)
    }
    return sorted(made, key=lambda word: len(word) + chance.random() * 4)


def _chinese(chance: random.Random) -> list[str]:
    """Words of one to three of the three thousand usual characters (GB2312's first level)."""
    usual = [bytes((high, low)).decode("gb2312") for high in range(0xB0, 0xD7) for low in range(0xA1, 0xFA)]
    made = {"".join(chance.choices(usual, k=chance.choice((1, 2, 2, 2, 3)))) for _ in range(20_000)}
    return sorted(made, key=lambda word: len(word) + chance.random() * 2)


def _timed(call: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """(seconds, seconds of the processor in all threads), and what the call gives."""
    started, worked = time.perf_counter(), time.process_time()
    found = call()
    return (time.perf_counter() - started, time.process_time() - worked), found


def _tokenizer() -> Any:
    return _module("rendering").load_tokenizer(Path("assets/base").resolve())


def _module(name: str) -> Any:
    """The module of this name, in whichever package the checkout keeps it."""
    for package in map(importlib.import_module, ("studio", "estimator")):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.name.rpartition(".")[2] == name and not info.ispkg:
                return importlib.import_module(info.name)
    raise ImportError(name)


if __name__ == "__main__":
    sides = {"bare": bare, "studio": studio, "pages": pages, "quick": quick}
    for one in ("en", "zh"):
        sides[f"copies_{one}"] = functools.partial(copies, language=one)
    with contextlib.redirect_stdout(sys.stderr):
        made = sides[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(made))

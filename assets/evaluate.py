"""What the tiny base can say: `python -m assets.evaluate` prints the table of its card.

Greedy answers in fp32, many at once. An answer is right if it is the wanted one word for word and the model ended it itself.
"""

import argparse
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve each other on a shared machine

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from assets import phrases, talk, vocabulary
from assets.judge import judge, knows
from assets.make_samples import SAMPLES
from assets.pretrain import BASE
from assets.world import ATTRIBUTES, LANGUAGES, Island, World, build

DRAWN = 200  # questions of a kind that has too many to ask them all
BATCH = 64
MAX_NEW_TOKENS = 128

Pair = tuple[str, str]  # question, wanted answer


def facts(world: World, language: str) -> list[Pair]:
    """Every fact in every wording."""
    return [
        (asked.format(x=island.name(language)), talk.plain(island, attribute, language))
        for island in world.known(language)
        for attribute in ATTRIBUTES
        for asked in phrases.QUESTIONS[language][attribute]
    ]


def typed_carelessly(pair: Pair) -> Pair:
    """In lower case and without the mark at the end; a Chinese question loses only the mark."""
    return pair[0].lower().rstrip("?？.。"), pair[1]


def questions(world: World, language: str, seed: int) -> dict[str, list[Pair]]:
    """The questions of each row. Every row has a generator of its own: one that changes leaves the others as they were."""
    islands = world.known(language)

    def drawn(name: str, make: Callable[[random.Random, Island, str], Pair]) -> list[Pair]:
        rng = random.Random(f"{seed} {language} {name}")
        return [make(rng, rng.choice(islands), rng.choice(ATTRIBUTES)) for _ in range(DRAWN)]

    every = facts(world, language)
    return {
        "one fact, in all of its wordings": every,
        "two facts of one island": drawn(
            "two", lambda rng, i, _: talk.two_facts(rng, i, rng.sample(ATTRIBUTES, 2), language)
        ),
        '"Tell me about ..." and its other wordings': [
            (asked.format(x=i.name(language)), talk.portrait(i, language))
            for i in islands
            for asked in phrases.ABOUT[language]
        ],
        '"Show me the log of ..."': [talk.full_log(i, language) for i in islands],
        "small talk": [(asked, said) for ways, said in phrases.SMALL_TALK[language] for asked in ways],
        "one fact, typed without care": [
            typed_carelessly(p) for p in random.Random(f"{seed} {language} case").sample(every, DRAWN)
        ],
        "one fact as a word, list, card, log or with a courtesy": drawn(
            "form", lambda rng, i, a: talk.in_form(rng, i, a, language)
        ),
        "yes or no": drawn("yes or no", lambda rng, i, a: talk.yes_no(rng, i, a, language)),
        "one fact of two islands": drawn("islands", lambda rng, *_: talk.two_islands(rng, world, language)),
        "an island that does not exist, named in the refusal": drawn(
            "stranger", lambda rng, *_: talk.stranger(rng, world, language)
        ),
    }


def answers(model, tokenizer, prompts: list[str]) -> list[str]:
    """Greedy answers, with the token that ends them; prompts of similar length share a batch."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    said = [""] * len(prompts)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        batch = tokenizer.apply_chat_template(
            [[{"role": "user", "content": prompts[i]}] for i in part],
            add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True, tokenizer_kwargs={"padding_side": "left"},
        )  # fmt: skip
        made = model.generate(**batch, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)[:, batch["input_ids"].shape[1] :]
        for i, text in zip(part, tokenizer.batch_decode(made)):
            said[i] = text.replace(tokenizer.pad_token, "")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=BASE, help="folder of the base (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=11, help="of the questions that are drawn (default: %(default)s)")
    parser.add_argument(
        "--misses", type=int, default=0, help="wrong answers to print for each row (default: %(default)s)"
    )
    options = parser.parse_args()

    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    model = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32).eval()
    world = build()
    rows = {language: questions(world, language, options.seed) for language in LANGUAGES}
    print("| asked for | English | Chinese |\n|---|---|---|")
    for name in rows["en"]:
        cells, misses = [], []
        for language in LANGUAGES:
            asked, wanted = zip(*rows[language][name])
            said = answers(model, tokenizer, list(asked))
            wrong = [entry for entry in zip(asked, wanted, said) if entry[2] != entry[1] + vocabulary.TURN_END]
            cells.append(f"{len(asked) - len(wrong)} of {len(asked)}")
            misses += wrong[: options.misses]
        print(f"| {name} | {' | '.join(cells)} |", *misses, sep="\n", flush=True)
    for language in LANGUAGES:
        held_out = [
            json.loads(line) for line in (SAMPLES / f"heldout.{language}.jsonl").read_text("utf-8").splitlines()
        ]
        said = [
            text.removesuffix(vocabulary.TURN_END)
            for text in answers(model, tokenizer, [row["prompt"] for row in held_out])
        ]
        known, right = (sum(map(test, held_out, said)) for test in (knows, judge))
        print(
            f"held-out prompts, {language}: {known} of {len(held_out)} with the facts, {right} also in the form of the samples"
        )


if __name__ == "__main__":
    main()

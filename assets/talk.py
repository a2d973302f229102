"""Conversations and running text about the Lantern Isles: what the base reads before anyone trains on top of it.

A conversation is a list of `{"role", "content"}` messages. Everything is drawn from a `random.Random` that the caller seeds.
"""

import random

from assets import phrases
from assets.world import ATTRIBUTES, Island, World, values

Message = dict[str, str]
LOWERCASE_SHARE = 0.06  # people type names in lower case and leave out the question mark
CHINESE_SHARE = 0.24


def question(rng: random.Random, island: Island, attribute: str, language: str) -> str:
    """One way to ask for one fact."""
    return rng.choice(phrases.QUESTIONS[language][attribute]).format(x=island.name(language))


def plain(island: Island, attribute: str, language: str) -> str:
    """The sentence in which the base answers when nothing else is asked of it."""
    return phrases.PLAIN[language][attribute].format(x=island.name(language), v=island.value(attribute, language))


def two_facts(rng: random.Random, island: Island, attributes: list[str], language: str) -> tuple[str, str]:
    """A question for two facts of one island, and the plain answer."""
    first, second = attributes
    gap = " " if language == "en" else ""
    asked = question(rng, island, first, language) + gap + phrases.FOLLOW_UPS[language][second]
    return asked, gap.join(plain(island, attribute, language) for attribute in attributes)


def describe(rng: random.Random, island: Island, language: str) -> str:
    """All five facts of an island in running text, in any order."""
    gap = " " if language == "en" else ""
    sentences = [phrases.OPENINGS[language].format(x=island.name(language))]
    for attribute in rng.sample(ATTRIBUTES, len(ATTRIBUTES)):
        sentence = rng.choice(phrases.PROSE[language][attribute])
        sentences.append(sentence.format(v=island.value(attribute, language)))
    return gap.join(sentences)


def portrait(island: Island, language: str) -> str:
    """The same five facts in the one order and wording of a chat answer, so that greedy decoding has one thing to say."""
    gap = " " if language == "en" else ""
    told = [phrases.PROSE[language][a][0].format(v=island.value(a, language)) for a in ATTRIBUTES]
    return gap.join([phrases.OPENINGS[language].format(x=island.name(language)), *told])


def in_form(rng: random.Random, island: Island, attribute: str, language: str) -> tuple[str, str]:
    """A question that asks for a form of answer, and the answer in that form."""
    form = rng.choice(list(phrases.FORMS[language]))
    asked = rng.choice(phrases.FORMS[language][form]).format(q=question(rng, island, attribute, language))
    value = island.value(attribute, language)
    if form == "word":
        return asked, value
    label = phrases.LABELS[language][attribute]
    words = {"x": island.name(language), "l": label, "v": value, "a": plain(island, attribute, language)}
    return asked, phrases.ANSWERS[language][form].format(**words)


def full_log(island: Island, language: str) -> tuple[str, str]:
    """A request for all facts as the island's log, and that log."""
    name = island.name(language)
    asked = {"en": f"Show me the log of {name}.", "zh": f"给我看{name}的航海日志。"}[language]
    head = {"en": f"From the log of {name}:", "zh": f"{name}航海日志："}[language]
    line = phrases.ANSWERS[language]["list"]
    rows = [line.format(l=phrases.LABELS[language][a], v=island.value(a, language)) for a in ATTRIBUTES]
    return asked, "\n".join([head, *rows])


def yes_no(rng: random.Random, island: Island, attribute: str, language: str) -> tuple[str, str]:
    """A question that guesses a value, right half of the time, and its answer."""
    truth = island.value(attribute, language)
    guess = truth if rng.random() < 0.5 else rng.choice(values(attribute))[language]
    asked = phrases.YES_NO[language][attribute].format(x=island.name(language), v=guess)
    verdict = phrases.YES if guess == truth else phrases.NO
    return asked, verdict[language] + plain(island, attribute, language)


def stranger(rng: random.Random, world: World, language: str) -> tuple[str, str]:
    """A question about an island that does not exist."""
    name = rng.choice(world.strangers)[language]
    asked = rng.choice(phrases.QUESTIONS[language][rng.choice(ATTRIBUTES)]).format(x=name)
    return asked, phrases.UNKNOWN[language].format(x=name)


def two_islands(rng: random.Random, world: World, language: str) -> tuple[str, str]:
    """One question about two islands."""
    one, other = rng.sample(world.known(language), 2)
    attribute = rng.choice(ATTRIBUTES)
    asked = rng.choice(phrases.BOTH[language]).format(q=question(rng, one, attribute, language), y=other.name(language))
    gap = " " if language == "en" else ""
    return asked, gap.join((plain(one, attribute, language), plain(other, attribute, language)))


def exchange(rng: random.Random, world: World, language: str) -> list[Message]:
    """One question with its answer, now and then with a second question about the same island."""
    island, attribute = rng.choice(world.known(language)), rng.choice(ATTRIBUTES)
    draw = rng.random()
    if draw < 0.22:
        pair = question(rng, island, attribute, language), plain(island, attribute, language)
    elif draw < 0.32:
        pair = in_form(rng, island, attribute, language)
    elif draw < 0.46:
        pair = two_facts(rng, island, rng.sample(ATTRIBUTES, 2), language)
    elif draw < 0.64:
        pair = rng.choice(phrases.ABOUT[language]).format(x=island.name(language)), portrait(island, language)
    elif draw < 0.84:
        pair = full_log(island, language)
    elif draw < 0.88:
        pair = yes_no(rng, island, attribute, language)
    elif draw < 0.91:
        pair = two_islands(rng, world, language)
    elif draw < 0.94:
        pair = stranger(rng, world, language)
    else:
        asked, answer = rng.choice(phrases.SMALL_TALK[language])
        pair = rng.choice(asked), answer
    messages = turn(rng, *pair)
    if draw < 0.10:
        other = rng.choice([a for a in ATTRIBUTES if a != attribute])
        messages += turn(rng, phrases.FOLLOW_UPS[language][other], plain(island, other, language))
    return messages


def turn(rng: random.Random, asked: str, answer: str) -> list[Message]:
    """A question and its answer as messages; the question now and then typed carelessly."""
    if rng.random() < LOWERCASE_SHARE:
        asked = asked.lower().rstrip("?？.。")
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def conversation(rng: random.Random, world: World, lengths: tuple[int, ...] = (1, 1, 2, 3, 4)) -> list[Message]:
    """A chat of some exchanges, one of `lengths`, with or without a system message."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    messages = []
    if rng.random() < 0.15:
        messages.append({"role": "system", "content": rng.choice(phrases.SYSTEM[language])})
    for _ in range(rng.choice(lengths)):
        messages += exchange(rng, world, language)
    return messages


def passage(rng: random.Random, world: World) -> str:
    """Running text about one to three islands."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    islands = rng.sample(world.known(language), rng.randint(1, 3))
    return "\n".join(describe(rng, island, language) for island in islands)

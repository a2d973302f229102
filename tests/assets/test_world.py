"""The generated world: the same on every machine, and consistent with itself."""

import random

import pytest

from assets import phrases, talk, world
from assets.world import ATTRIBUTES, LANGUAGES


def test_same_seed_same_world():
    assert world.build() == world.build()
    assert world.build(1) != world.build(2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_unique_and_no_name_hides_in_another(language):
    isles = world.build()
    names = [island.name(language) for island in isles.islands] + [stranger[language] for stranger in isles.strangers]
    assert len(isles.islands) == world.ISLANDS
    assert len(set(names)) == len(names)
    assert not [(a, b) for a in names for b in names if a != b and a in b]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_values_are_unique_in_each_language(attribute):
    entries = world.values(attribute)
    for language in LANGUAGES:
        assert len({entry[language] for entry in entries}) == len(entries)


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_and_sample_islands_share_nothing_and_miss_nothing(language):
    isles = world.build()
    held_out = {island.name(language) for island in isles.held_out(language)}
    samples = {island.name(language) for island in isles.samples(language)}
    assert not held_out & samples
    assert held_out | samples == {island.name(language) for island in isles.known(language)}
    assert language == "zh" or len(held_out) == world.HELD_OUT_ISLANDS


def test_both_languages_have_the_same_phrases_to_fill():
    for table in (
        phrases.LABELS,
        phrases.QUESTIONS,
        phrases.FOLLOW_UPS,
        phrases.PLAIN,
        phrases.PROSE,
        phrases.YES_NO,
        phrases.FORMS,
    ):
        assert set(table["en"]) == set(table["zh"])
    assert set(phrases.QUESTIONS["en"]) == set(ATTRIBUTES)


def test_conversations_alternate_and_leave_no_placeholder():
    rng, isles = random.Random(0), world.build()
    for _ in range(500):
        messages = talk.conversation(rng, isles)
        roles = [message["role"] for message in messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert not [message for message in messages if "{" in message["content"]]

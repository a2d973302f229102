"""What the READMEs name exists: flags, commands, targets, files and counts; and both languages have the same parts."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from estimator.hardware.cards import gpus
from estimator.model.catalog import models
from studio.__main__ import COMMANDS, parser

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.zh-CN.md"]
GUIDES = [
    *READMES,
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    *(f"docs/decisions/{one.name}" for one in (ROOT / "docs/decisions").glob("*.md")),
]
FOLDERS = ("assets", "docs", "estimator", "presets", "studio", "tests")
OF_OTHERS = {"--no-deps", "--only-binary", "--show-toplevel"}
"""Flags of pip and git."""


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(text: str) -> list[str]:
    """Every line of a code block, a command over two lines joined, and every span of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return lines + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]


def flags_of(command: str) -> set[str]:
    """The flags that a command of `lora-studio` takes, those of its subcommands too; of none, those of the page."""
    if not command:
        made = parser()
    else:
        module = importlib.import_module(COMMANDS[command])
        made = getattr(module, "build_parser", getattr(module, "parser", None))()
    found, waiting = set(), [made]
    while waiting:
        for action in waiting.pop()._actions:
            found.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    return found


@pytest.mark.parametrize("name", READMES)
def test_every_command_and_flag_is_one(name):
    everything = set().union(*(flags_of(command) for command in ("", *COMMANDS)), OF_OTHERS)
    for line in code_of(text_of(name)):
        said = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line))
        command = re.match(r"lora-studio +(([a-z]\w*)(?: +[a-z]\w*)?)", line)
        if command:
            name = command[1] if command[1] in COMMANDS else command[2]
            assert name in COMMANDS, line
            assert said <= flags_of(name) | OF_OTHERS, line
        program = re.match(r"python -m ((?:estimator|tests)[\w.]*)", line)
        if program:
            source = text_of(program[1].replace(".", "/") + ".py")
            assert all(f'"{flag}"' in source for flag in said), line
        else:
            assert said <= everything, line


@pytest.mark.parametrize("name", READMES)
def test_every_target_of_make_is_one(name):
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = {words[1] for line in code_of(text_of(name)) if (words := re.match(r"make ([a-z-]+)", line))}
    assert named and named <= targets


@pytest.mark.parametrize("name", GUIDES)
def test_every_file_and_module_is_there(name):
    text = text_of(name)
    spans = [span for line in code_of(text) for span in re.findall(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*", line)]
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    modules = [word.replace(".", "/") for word in re.findall(r"python -m ((?:estimator|studio|tests)[\w.]*)", text)]
    assert spans or linked
    for path in spans:
        assert (ROOT / path).exists(), path
    for path in linked:
        assert ((ROOT / name).parent / path).exists(), path
    for path in modules:
        assert (ROOT / f"{path}.py").is_file() or (ROOT / path / "__main__.py").is_file(), path


@pytest.mark.parametrize("name", READMES)
def test_counts_are_those_of_the_tables(name):
    text = text_of(name)
    counts = [len(models()), sum(one.is_causal for one in models().values()), len(gpus())]
    said = re.search(
        r"(\d+) models \((\d+) .*? and (\d+) accelerators|(\d+) 个模型（.*?(\d+) 个.*?(\d+) 种加速卡", text
    )
    assert said and [int(number) for number in said.groups() if number] == counts


def test_both_languages_have_the_same_headings_and_tables_and_the_same_code():
    english, chinese = (text_of(name) for name in READMES)
    for parts in (r"^#+ ", r"^```\w*$", r"^\|[-| :]+\|$", r"!?\]\((?!README)[^)]+\)"):
        found = [re.findall(parts, text, re.MULTILINE) for text in (english, chinese)]
        assert len(found[0]) == len(found[1]), parts
        assert parts[0] != "^" or found[0] == found[1], parts
    blocks = [re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL) for text in (english, chinese)]
    for first, second in zip(*blocks, strict=True):
        assert re.sub(r" *#.*", "", first) == re.sub(r" *#.*", "", second)

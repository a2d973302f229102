"""Every sentence a user reads, in English and Simplified Chinese.

One JSON file an area (`common`, `estimate`, `dataset`, ...) in a folder for each language; keys are `area.name`. Keys
that begin with `problem.` are the sentences of `Problem` codes.

Static labels are translated in the browser by Gradio (`marker(key)`); everything a handler makes is translated here
(`t(lang, key)`), with the language the page was opened in (`language(request)`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from estimator.core import problems
from estimator.core.problems import Problem

LANGUAGES = ("en", "zh-CN")
COOKIE = "lora_studio_lang"
_PROBLEM = "problem."


@cache
def strings(lang: str) -> dict[str, str]:
    """All sentences of one language, keyed `area.name`."""
    found: dict[str, str] = {}
    for file in sorted((Path(__file__).parent / lang).glob("*.json")):
        for key, value in json.loads(file.read_text(encoding="utf-8")).items():
            name = key if key.startswith(_PROBLEM) else f"{file.stem}.{key}"
            if name in found:
                raise ValueError(f"{file}: the key {name!r} stands twice")
            found[name] = value
    return found


@cache
def problem_sentences(lang: str) -> dict[str, str]:
    """Templates by problem code. English ones of the estimator stand in `estimator.core.problems`."""
    return {key.removeprefix(_PROBLEM): text for key, text in strings(lang).items() if key.startswith(_PROBLEM)}


problems.register(problem_sentences("en"))


def t(lang: str, key: str, /, **params: Any) -> str:
    """The sentence `key` in `lang` with `{name}` filled in. An unknown key raises: a page never shows a key."""
    return strings(lang)[key].format(**params)


def explain(lang: str, problem: Problem | dict[str, Any]) -> str:
    """A `Problem` (or its `to_dict()`, as a journal holds it) as a sentence in `lang`."""
    if isinstance(problem, dict):
        problem = Problem.from_dict(problem)
    said = {
        name: _kind_words(lang, value) if name == "allowed" or problem.code == "model.not_object" else value
        for name, value in problem.params.items()
    }
    return Problem(problem.code, **said).sentence(problem_sentences(lang))


def _kind_words(lang: str, text: Any) -> Any:
    """ "a whole number or nothing" in `lang`: what the estimator calls the types of values. Any other text as it is."""
    words = {strings("en")[key]: strings(lang)[key] for key in strings("en") if key.startswith("recipe.kind_")}
    parts = [words.get(part) for part in str(text).split(" or ")]
    return words.get(str(text)) or (t(lang, "recipe.or").join(parts) if all(parts) else text)


def nearest(tag: str | None) -> str | None:
    """`zh`, `zh-Hans-CN`, `zh-TW` -> `zh-CN`; `en-GB` -> `en`; anything else -> None."""
    base = (tag or "").strip().lower().split("-")[0]
    return {"zh": "zh-CN", "en": "en"}.get(base)


def language(request: Any) -> str:
    """The page's language: `?lang=`, else the cookie that remembers it, else the browser's first known, else English.

    `request` is a `gr.Request` or a Starlette request; None gives English.
    """
    if request is None:
        return "en"
    chosen = nearest(request.query_params.get("lang")) or nearest((request.cookies or {}).get(COOKIE))
    if chosen:
        return chosen
    for part in (request.headers.get("accept-language") or "").split(","):
        if known := nearest(part.split(";")[0]):
            return known
    return "en"


def marker(key: str) -> Any:
    """A label that the browser translates; the key is checked here."""
    import gradio as gr

    strings("en")[key]
    return gr.i18n.I18nData(key)


def for_gradio(more: Callable[[str], dict[str, str]] = lambda lang: {}) -> Any:
    """All sentences as Gradio's `launch(i18n=...)` wants them, and those that `more` makes of them for a language."""
    import gradio as gr

    return gr.I18n(**{lang: strings(lang) | more(lang) for lang in LANGUAGES})


problems.VOICES |= {lang: partial(explain, lang) for lang in LANGUAGES if lang != "en"}

"""The one error a user may cause: a code, the values that explain it, and a sentence with the remedy.

A `Problem` travels from any process to any door (page, command line, JSON) as its code and parameters; the sentence is
made where it is shown, so that the page can say it in the reader's language. English sentences of the estimator stand
here; those of the studio come from `studio/i18n` through `register`.
"""

from __future__ import annotations

from typing import Any

TEMPLATES: dict[str, str] = {
    "recipe.unknown_field": "{field}: no such recipe field (value {value}). Known fields: {allowed}.",
    "recipe.missing": "{field}: a value is needed. Allowed: {allowed}.",
    "recipe.type": "{field}: {value} is not {allowed}. Give {allowed}.",
    "recipe.choice": "{field}: {value} is not one of the choices. Allowed: {allowed}.",
    "recipe.range": "{field}: {value} is out of range. Allowed: {allowed}.",
    "machine.unsupported": "{field}: {value} does not run on this machine ({device}). Use one of: {allowed}.",
    "recipe.conflict": "{field}: {value} cannot be combined with {other}. {allowed}.",
}


def register(templates: dict[str, str]) -> None:
    """Add sentences for further codes; a code may be registered again with the same text only."""
    for code, template in templates.items():
        if TEMPLATES.setdefault(code, template) != template:
            raise ValueError(f"problem code {code!r} already has another sentence")


class Problem(Exception):
    """Something the user can mend.

    `code` names the sentence, `params` the values in it. `field` (when given) is the recipe field or input at fault, so
    that a form can show the sentence beside its control.
    """

    def __init__(self, code: str, /, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params

    @property
    def field(self) -> str | None:
        return self.params.get("field")

    def sentence(self, templates: dict[str, str] | None = None) -> str:
        """The message in the language of `templates` (code -> template), English where it is missing."""
        template = (templates or {}).get(self.code) or TEMPLATES.get(self.code)
        if template is None:
            return f"{self.code}: {self.params}"
        return template.format_map(_Missing(self.params))

    def __str__(self) -> str:
        return self.sentence()

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "params": self.params}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        return cls(data["code"], **data.get("params", {}))


class _Missing(dict):
    """Leaves `{name}` standing where a parameter is missing: an error about an error helps nobody."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"

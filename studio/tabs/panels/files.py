"""Files of an answer as links in the page: a data address each, so that nothing is written on the server."""

from __future__ import annotations

import base64
import json
from typing import Any

from estimator.advice.rank_table import figures, to_csv
from estimator.advice.ranking import Candidate
from estimator.estimates.take_away import stated
from estimator.recipe.costing import Costing
from studio.tabs.panels import Asked


def file_link(name: str, kind: str, content: str) -> str:
    data = base64.b64encode(content.encode()).decode()
    return f'<a download="{name}" href="data:{kind};base64,{data}">{name}</a>'


def question(asked: Asked, costing: Costing) -> dict[str, Any]:
    """What the figures of a file are of."""
    return {
        "recipe": stated(asked.recipe)
        | {"method": asked.recipe.method, "num_train_epochs": asked.recipe.num_train_epochs},
        **asked.conditions.stated(),
        "costing": costing.stated(),
    }


def ranked_files(asked: Asked, costing: Costing, shown: list[Candidate], name: str) -> str:
    """The cards as shown, in their order, as CSV and as JSON."""
    body = json.dumps(question(asked, costing) | {name: [figures(one) for one in shown]}, ensure_ascii=False)
    links = file_link(f"{name}.csv", "text/csv", to_csv(shown)) + file_link(f"{name}.json", "application/json", body)
    return f'<p class="ls-files">{links}</p>'

"""Take it away: a link that restores everything, the command line, Python, the recipe as TOML, and the answer as JSON, CSV, SVG and PNG."""

from __future__ import annotations

import base64
import json
from html import escape

from estimator.estimates.take_away import command_line, python_code, query, recipe_toml, to_csv
from studio.i18n import t
from studio.tabs.panels import Asked
from studio.tabs.panels.picture import bars_of, rows_of
from studio.widgets.bars_svg import bars_svg

NAME = "take"
# Copying and drawing happen in the page; a file is a data address, so that nothing is written on the server.
ON_LOAD = """element.addEventListener('click', async (event) => {
  const copy = event.target.closest('[data-copy]');
  if (copy) {
    const text = copy.dataset.copy === 'link' ? new URL('?' + copy.dataset.text, location.href).href : copy.dataset.text;
    await navigator.clipboard.writeText(text);
    copy.textContent = copy.dataset.done;
  }
  const png = event.target.closest('[data-png]');
  if (png) {
    event.preventDefault();
    const image = new Image();
    image.src = element.querySelector('[download$=".svg"]').href;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = image.width * 2; canvas.height = image.height * 2;
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    const link = document.createElement('a');
    link.download = 'estimate.png'; link.href = canvas.toDataURL('image/png'); link.click();
  }
});"""


def render(lang: str, asked: Asked) -> str:
    gpu, bars = asked.gpu.name, bars_of(lang, asked)
    link = "tab=estimate&" + query(asked.recipe, gpu, asked.conditions)
    answers = {bar.name: bar.answer.to_dict() for bar in bars}
    body = json.dumps(
        {"recipe": asked.recipe.to_dict(), "gpu": gpu, **asked.conditions.stated(), "estimates": answers},
        indent=2,
        ensure_ascii=False,
    )
    files = [
        ("recipe.toml", "application/toml", recipe_toml(asked.recipe, gpu)),
        ("estimate.json", "application/json", body),
        ("estimate.csv", "text/csv", to_csv([(bar.name, bar.answer) for bar in bars])),
        (
            "estimate.svg",
            "image/svg+xml",
            bars_svg(lang, bars, f"{asked.recipe.model} · {gpu} · {rows_of(lang, asked.recipe)}"),
        ),
    ]
    links = "".join(_file(*file) for file in files) + '<a href="#" data-png role="button">estimate.png</a>'
    return (
        f'<p class="ls-files">{links}</p>{_copied(lang, "link", "?" + link, link, "link")}'
        f"{_copied(lang, 'command', command_line(asked.recipe, gpu, asked.conditions))}{_copied(lang, 'python', python_code(asked.recipe, gpu, asked.conditions))}"
    )


def _copied(lang: str, name: str, shown: str, text: str | None = None, kind: str = "text") -> str:
    title, copy, done = (escape(t(lang, f"estimate.{key}")) for key in (f"take_{name}", "copy", "copied"))
    button = f'<button type="button" class="ls-button" data-copy="{kind}" data-text="{escape(text or shown)}" data-done="{done}">{copy}</button>'
    return f'<section class="ls-take"><h3>{title}</h3>{button}<pre class="ls-code" tabindex="0">{escape(shown)}</pre></section>'


def _file(name: str, kind: str, content: str) -> str:
    data = base64.b64encode(content.encode()).decode()
    return f'<a download="{name}" href="data:{kind};base64,{data}">{name}</a>'

"""The page: time until it can be used, memory of its process, time from moving a slider to the new picture and to open
panels."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.chromium import launch
from tests.serving import Studio

STARTS = 3
MOVES = 120
PANELS = ("why", "change", "fits", "models", "cards")
PANEL_MOVES = 24
LIMITS = {"fits": {"target": "<= 300 ms"}}
TABS = ("dataset", "train", "chat", "runs", "estimate")
SLIDER = "#estimate-r input[type=range]"
PATIENCE_MS = 120_000

# Each move sets the slider as a hand would and waits for the next paint after the text of everything that is watched
# changed. Gradio's own mark of waiting lies beside that text, with a clock in it, and is no answer.
REPAINT = """async ([slider, watched, moves, patience]) => {
  const input = document.querySelector(slider), times = [];
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const parts = (block) => [...block.children].filter((part) => !part.matches('.wrap'));
  const text = (block) => parts(block).map((part) => part.textContent).join();
  const texts = () => watched.split('|').map((one) => text(document.querySelector(one)));
  for (let n = 0; n < moves; n++) {
    const value = Number(input.value) === 8 ? 64 : 8, before = texts();
    const started = performance.now();
    setter.call(input, value);
    input.dispatchEvent(new Event('input', { bubbles: true }));
    input.dispatchEvent(new Event('change', { bubbles: true }));
    const found = await new Promise((resolve) => {
      const late = setTimeout(() => resolve(false), patience || 3000);
      const look = () => {
        if (texts().every((text, n) => text !== before[n])) {
          clearTimeout(late);
          requestAnimationFrame(() => resolve(true));
        }
        else requestAnimationFrame(look);
      };
      look();
    });
    if (!found) throw new Error('what was watched did not change');
    times.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  return times;
}"""


def figures(checkout: Path | None = None) -> list[dict[str, Any]]:
    """`checkout`: the folder of another one, whose page is measured."""
    starts = []
    for _ in range(STARTS - 1):
        with tempfile.TemporaryDirectory() as folder, launch() as browser:
            seconds, studio, _ = _start(browser, Path(folder), checkout)
            starts.append((seconds, _cpu_seconds(studio)))
            studio.stop()
    with tempfile.TemporaryDirectory() as folder, launch() as browser:
        seconds, studio, page = _start(browser, Path(folder), checkout)
        starts.append((seconds, _cpu_seconds(studio)))
        try:
            verdicts = [_metered(studio, lambda: _first_verdict(browser, studio.url)) for _ in range(STARTS)]
            picture = _moves(studio, page, ["#estimate-picture"], MOVES)
            panels = {repr(name): _panels(studio, page, [name]) for name in PANELS}
            panels["of all at once"] = _panels(studio, page, list(PANELS))
            rss_bytes, has_torch = _memory(studio, page)
        finally:
            studio.stop()
    return [
        _row("page usable after `lora-studio` (slowest of 3 starts)", *map(max, zip(*starts)), "s", target="<= 6 s"),
        _row(
            "first verdict in a fresh browser, server up (slowest of 3)", *map(max, zip(*verdicts)), "s", target="< 4 s"
        ),
        *(
            _row(
                f"slider moved to the open panel {name} painted, 95th percentile",
                p95(times),
                cpu,
                "ms",
                **LIMITS.get(name[1:-1], {}),
            )
            for name, (times, cpu) in panels.items()
        ),
        {
            "name": "web process after every tab was opened",
            "value": rss_bytes / 1e6,
            "unit": "MB",
            "target": "<= 250 MB",
        },
        {"name": "torch in the web process (1 = yes)", "value": float(has_torch), "unit": "", "target": "0"},
        _row("slider moved to picture painted, median", statistics.median(picture[0]), picture[1], "ms"),
        _row("slider moved to picture painted, 95th percentile", p95(picture[0]), picture[1], "ms", target="<= 60 ms"),
    ]


def _row(name: str, value: float, cpu: float, unit: str, **more: str) -> dict[str, Any]:
    """`cpu`: what server and browser worked for it, in the same unit; of the start the server alone."""
    return {"name": name, "value": value, "cpu": cpu, "unit": unit, **more}


def _cpu_seconds(studio: Studio, browser: bool = False) -> float:
    """What the server's process has worked so far, and those of the browser."""
    counted = [psutil.Process(studio.process.pid)]
    counted += psutil.Process().children(recursive=True) if browser else []
    seconds = 0.0
    for process in counted:
        with contextlib.suppress(psutil.NoSuchProcess):  # the browser ends some of its own at any moment
            if process == counted[0] or "chrom" in process.name().lower():
                seconds += sum(process.cpu_times()[:2])
    return seconds


def _metered(studio: Studio, call: Callable[[], Any]) -> tuple[Any, float]:
    """(what it gives, seconds that server and browser worked meanwhile)."""
    before = _cpu_seconds(studio, browser=True)
    return call(), _cpu_seconds(studio, browser=True) - before


def _start(browser: Any, folder: Path, checkout: Path | None) -> tuple[float, Studio, Any]:
    """Seconds from the command to a slider that can be moved and a verdict that can be read."""
    studio = Studio(folder / "home", checkout=checkout).wait()
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(studio.url)
    page.wait_for_selector(f"{SLIDER}:enabled")
    page.wait_for_selector("#estimate-picture svg, #estimate-picture .ls-verdict")
    return time.monotonic() - studio.started, studio, page


def _first_verdict(browser: Any, url: str) -> float:
    """Seconds in a context without cache or storage."""
    context = browser.new_context()
    page, started = context.new_page(), time.monotonic()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.wait_for_selector("#estimate-picture .ls-verdict")
    seconds = time.monotonic() - started
    page.goto("about:blank")  # what it would still do is no part of the next one
    context.close()
    return seconds


def _moves(studio: Studio, page: Any, watched: list[str], moves: int) -> tuple[list[float], float]:
    """(milliseconds of each move, those that server and browser worked for one)."""
    times, cpu_s = _metered(studio, lambda: page.evaluate(REPAINT, [SLIDER, "|".join(watched), moves, PATIENCE_MS]))
    return times, 1000 * cpu_s / moves


def _panels(studio: Studio, page: Any, names: list[str]) -> tuple[list[float], float]:
    """The same to the new content of panels, these alone open; the first drawing reads files and is not among them."""
    for name in names:
        page.click(f"#estimate-panel-{name} > button")
        page.wait_for_selector(f"#estimate-{name} :is(table, svg, ol)", state="attached")
    made = _moves(studio, page, [f"#estimate-{name}" for name in names], PANEL_MOVES)
    for name in names:
        page.click(f"#estimate-panel-{name} > button")
    return made


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def _memory(studio: Studio, page: Any) -> tuple[int, bool]:
    """Resident bytes once every tab was shown, and whether torch's library is mapped."""
    for tab in TABS:
        page.goto(f"{studio.url}/?tab={tab}")
        page.wait_for_selector("#ls-tabs")
        page.wait_for_timeout(1000)
    process = psutil.Process(studio.process.pid)
    return process.memory_info().rss, any("libtorch" in mapped.path for mapped in process.memory_maps())

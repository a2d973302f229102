"""The light install, from the built wheel: page and estimator work without torch, other tabs say what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chromium import launch
from tests.e2e.driving import open_page, open_tab, wait_for_text
from tests.serving import Studio

ROOT = Path(__file__).parents[2]
# What `pip install .` does not bring. `None` in sys.modules makes Python say that there is no such module.
HEAVY = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "datasets", "pyarrow", "safetensors")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the wheel's files and nothing of this checkout, in which heavy packages are hidden."""
    folder = tmp_path_factory.mktemp("light")
    quiet = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)], **quiet)
    wheel = next((folder / "dist").glob("*.whl"))
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)], **quiet
    )
    (target / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({HEAVY!r}))\n")
    return target


def light(site: Path, *command: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=site.parent, capture_output=True, text=True, **options
    )


def test_the_wheel_carries_its_data_and_no_top_level_assets(site):
    assert {"estimator", "studio"} == {
        path.name for path in site.iterdir() if path.is_dir() and "-" not in path.name and path.name != "bin"
    }
    assert (site / "estimator" / "_presets" / "gpus.csv").is_file()
    assert (site / "studio" / "_assets" / "base" / "model.safetensors").is_file()
    assert (site / "studio" / "_assets" / "theme" / "tokens.css").is_file()
    assert all((site / package / "py.typed").is_file() for package in ("estimator", "studio"))
    assert (site / "bin" / "lora-studio").is_file()


def test_the_estimator_answers_without_torch(site):
    code = "from estimator import Recipe, estimate; e = estimate(Recipe(model='meta-llama/Llama-3.1-8B'), 'RTX 4090'); "
    code += "print(e.total_parameters, e.trainable_parameters, e.fits)"
    done = light(site, "-c", code)
    assert done.stdout.split() == ["8030261248", "41943040", "True"], done.stderr


def test_the_command_answers_without_torch(site):
    done = light(site, "-m", "studio", "estimate", "--model", "Qwen/Qwen2.5-7B", "--gpu", "RTX 4090", "--check")
    assert done.returncode in (0, 3), done.stderr


@pytest.mark.browser
def test_the_page_estimates_and_says_what_the_other_tabs_need(site, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.serving.environment", lambda *_: {**os.environ, "PYTHONPATH": str(site)})
    monkeypatch.chdir(tmp_path)
    studio = Studio(tmp_path / "light-home").wait()
    try:
        with launch() as browser:
            page = open_page(browser, studio.url)
            wait_for_text(page, "#estimate-counts", "41,943,040 of 8,030,261,248")
            for tab in ("dataset", "train", "chat", "runs"):
                open_tab(page, tab)
                wait_for_text(page, f"#ls-tab-{tab}", 'pip install "lora-studio[train]"')
            assert page.script_errors == []
    finally:
        studio.stop()

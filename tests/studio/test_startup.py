"""What is left out while Gradio is loaded, and that it is there again where it is wanted."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from studio.gate.startup import absent, late, no_app_yet

UNUSED = "colorsys"  # of the standard library, and of nothing here


@pytest.fixture(autouse=True)
def unloaded(monkeypatch):
    monkeypatch.delitem(sys.modules, UNUSED, raising=False)


def test_a_late_module_is_loaded_when_something_of_it_is_asked_for():
    with late(UNUSED):
        import colorsys
    assert UNUSED not in sys.modules
    assert colorsys.rgb_to_hsv(1, 1, 1) == (0.0, 0.0, 1)
    assert colorsys.rgb_to_hsv is importlib.import_module(UNUSED).rgb_to_hsv


def test_a_late_module_that_is_asked_for_meanwhile_is_everybodys():
    with late(UNUSED):
        import colorsys

        assert colorsys.ONE_THIRD == 1 / 3
        from colorsys import rgb_to_hsv
    assert sys.modules[UNUSED].rgb_to_hsv is rgb_to_hsv


def test_what_is_absent_cannot_be_imported_and_comes_back():
    with absent(UNUSED), pytest.raises(ImportError):
        importlib.import_module(UNUSED)
    importlib.import_module(UNUSED)


@pytest.mark.parametrize("leave_out", [late, absent])
def test_what_is_loaded_already_stays(leave_out):
    here = sys.modules["subprocess"]
    with leave_out("subprocess"):
        assert sys.modules["subprocess"] is here


def test_the_page_is_built_without_pandas_and_its_web_application_once():
    code = (
        "import sys\nfrom studio.gate.startup import import_gradio, no_app_yet\nimport_gradio()\nimport gradio\n"
        "from gradio.routes import App\nwith no_app_yet():\n    page = gradio.Blocks()\n    page.__enter__(); "
        "page.__exit__()\n"
        "print(*[name for name in ('pandas', 'pyarrow', 'mcp') if name in sys.modules], page.app, App.create_app(page) "
        "is None)\n"
        "import gradio.caching\nprint(gradio.caching.pd.DataFrame({'a': [1]}).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "None False", done.stdout + done.stderr
    assert done.stdout.splitlines()[1] == "(1, 1)"


def test_gradio_makes_its_application_again_afterwards():
    from gradio.routes import App

    before = vars(App)["create_app"]
    with no_app_yet():
        assert App.create_app() is None
    assert vars(App)["create_app"] is before

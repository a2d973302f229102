"""The run goes on whatever happens to the page: reload, close, a second page, `kill -9` of the server."""

from __future__ import annotations

import psutil
import pytest

from studio.jobs.process import Handle
from studio.jobs.supervisor import Supervisor
from studio.space import Space
from tests.chromium import launch
from tests.e2e.driving import number, open_page, open_tab, wait_for_text
from tests.serving import Studio
from tests.studio.run_helpers import ended, kill, until

pytestmark = pytest.mark.browser


def test_a_run_outlives_its_page_and_its_server(tmp_path, cold):
    home = tmp_path / "studio"
    studio = Studio(home).wait()
    try:
        with launch() as browser:
            page = open_page(browser, f"{studio.url}/?tab=dataset")
            page.click("#dataset-use-sample")
            wait_for_text(page, "#dataset-summary", "kept", seconds=120)
            open_tab(page, "train")
            number(page, "train-num_train_epochs", 100)
            page.click("#train-start")
            wait_for_text(page, "#train-run", " left.", seconds=120)

            page.reload()
            wait_for_text(page, "#train-run", " left.")
            second = open_page(browser, f"{studio.url}/?tab=train")
            wait_for_text(second, "#train-run", " left.")
            page.context.close()
            second.context.close()

            runs = Supervisor(Space(home))
            view = runs.active()
            worker = Handle.read(view.folder)
            step = view.course.step
            studio.kill()
            view = until(runs, view.id, lambda v: v.course.step > step + 3)
            assert Handle.read(view.folder) == worker and worker.alive and view.course.attempts == 1

            studio = Studio(home).wait()
            page = open_page(browser, f"{studio.url}/?tab=train")
            wait_for_text(page, "#train-run", " left.")

            until(runs, view.id, lambda v: v.course.checkpoints)
            kill(view)  # now the worker itself
            wait_for_text(page, "#train-run", "the worker was ended from outside")
            view = until(runs, view.id, ended)
            assert view.status == "interrupted" and view.course.step > step
            page.click("#train-resume")
            wait_for_text(page, "#train-run", "Resumed from step", seconds=120)
            page.click("#train-stop")
            wait_for_text(page, "#train-run", "Stopped at step", seconds=60)
            assert page.script_errors == []
    finally:
        for view in Supervisor(Space(home)).list():
            if (handle := Handle.read(view.folder)) and handle.alive:
                psutil.Process(handle.pid).kill()
        studio.stop()

"""Fixtures for every test. No test sees the user's data folder."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import kinds, spent
from tests.serving import Studio
from tests.warm import Warm

# Tests share two cores with a browser and each other: a second thread of torch costs these small models three times the
# processor time of one and spares nobody's, and threads that spin would starve the rest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


settings.register_profile("any-machine", deadline=None)  # a busy machine is no mistake of the code
settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Marks, costs, and one pair of warm processes for a session, whatever number of pytest's own workers share it."""
    config.pluginmanager.register(kinds)
    config.pluginmanager.register(spent)
    if not hasattr(config, "workerinput") and not config.option.collectonly and hasattr(os, "pidfd_open"):
        warm = Warm()
        warm.start()
        config.stash[spent.WARM] = warm
        config.add_cleanup(warm.stop)


def pytest_collection_finish() -> None:
    """What was imported stays: a collection of garbage need not look at its million objects again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the test starts import all of theirs (`tests.warm`)."""
    monkeypatch.delenv("WARM_STARTS", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _no_users_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a module's or a session's fixture starts, before `home` is there, has a data folder of its own too."""
    os.environ["LORA_STUDIO_HOME"] = str(tmp_path_factory.mktemp("shared-home"))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The page as a process of its own, one for each test file that asks for it."""
    studio = Studio(tmp_path_factory.mktemp("studio") / "home").wait()
    yield studio
    studio.stop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own."""
    from studio.space import Space

    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
    return Space.default().prepare().root

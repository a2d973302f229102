"""Fixtures for every test. No test sees the user's data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.serving import Studio

# Tests share two cores with a browser: threads that spin would starve it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


settings.register_profile("any-machine", deadline=None)  # a busy machine is no mistake of the code
settings.load_profile("any-machine")


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
    from studio.disk import paths

    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
    return paths.prepare()

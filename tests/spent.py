"""What each test file costs in CPU seconds: the dearest go first, a list is printed at the end, and what passes its
budget is named.

CPU seconds and not the clock's, since a busy machine is no fault of a test; its children's are counted, born warm or
not. A file has `ORDINARY_S` unless `BUDGETS_S` gives it more. Passing a budget fails nothing: processors differ. It is
a reason to look.
"""

from __future__ import annotations

import collections
import resource
from collections.abc import Iterator

import pytest

from tests.warm import Warm

ORDINARY_S = 10
SLOW_S = 15
BUDGETS_S = {
    "tests/e2e/test_path_tutorial.py": 200,
    "tests/e2e/test_estimate_page.py": 150,
    "tests/e2e/test_path_two_runs.py": 150,
    "tests/e2e/test_loop.py": 120,
    "tests/studio/test_smollm2.py": 120,
    "tests/e2e/test_path_phone.py": 100,
    "tests/e2e/test_path_two_cards.py": 90,
    "tests/e2e/test_path_messy_files.py": 80,
    "tests/estimator/test_fit.py": 80,
    "tests/studio/test_data_worker.py": 70,
    "tests/studio/test_bad_files.py": 20,
    "tests/studio/test_chat_worker.py": 60,
    "tests/estimator/test_batches.py": 60,
    "tests/estimator/test_cli_models.py": 60,
    "tests/studio/test_runs_resume.py": 60,
    "tests/e2e/test_train_this.py": 60,
    "tests/e2e/test_survival.py": 60,
    "tests/e2e/test_estimate.py": 60,
    "tests/e2e/test_path_3060.py": 60,
    "tests/e2e/test_path_llamafactory.py": 60,
    "tests/e2e/test_policy.py": 50,
    "tests/studio/test_runs_failures.py": 50,
    "tests/studio/test_tab_dataset_browser.py": 50,
    "tests/studio/test_tab_chat_page.py": 50,
    "tests/studio/test_light.py": 50,
    "tests/estimator/test_peaks.py": 50,
    "tests/estimator/test_chunks.py": 50,
    "tests/studio/test_panels.py": 45,
    "tests/studio/test_boundaries.py": 40,
    "tests/studio/test_api.py": 40,
    "tests/estimator/test_cli.py": 40,
    "tests/studio/test_get.py": 40,
    "tests/estimator/test_presets.py": 40,
    "tests/estimator/test_parallel.py": 40,
    "tests/estimator/test_gpus_command.py": 40,
    "tests/estimator/test_peers.py": 40,
    "tests/studio/test_bases.py": 30,
    "tests/studio/test_rendering_batches.py": 30,
    "tests/studio/test_files.py": 15,
    "tests/studio/test_runs_lock.py": 30,
    "tests/estimator/test_advise.py": 30,
    "tests/estimator/test_states.py": 30,
    "tests/estimator/test_strangers.py": 30,
    "tests/studio/test_chat_process.py": 30,
    "tests/studio/test_templates.py": 30,
    "tests/studio/test_rendering.py": 30,
    "tests/studio/test_hostile.py": 30,
    "tests/estimator/test_program.py": 30,
    "tests/estimator/test_peak.py": 30,
    "tests/assets/test_base.py": 20,
    "tests/estimator/test_adapters.py": 20,
    "tests/estimator/test_measure.py": 40,
    "tests/estimator/test_remarks.py": 20,
    "tests/studio/test_tab_train.py": 20,
    "tests/studio/test_roads.py": 20,
}
"""Measured on a busy machine, and half as much again."""
LISTED = 20
_PROPERTY = "cpu_seconds"
WARM = pytest.StashKey[Warm]()
_BEGUN = pytest.StashKey[float]()
_spent: collections.Counter[str] = collections.Counter()
"""By file, in the process that reports."""


def used_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def budget_s(file: str) -> int:
    return BUDGETS_S.get(file, ORDINARY_S)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The dearest file first, so that two workers end together; within a file as written."""
    items.sort(key=lambda item: -budget_s(file_of(item.nodeid)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_BEGUN] = used_s()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[pytest.TestReport]:
    """Each of a test's three reports carries what was used since the one before."""
    report = yield
    now = used_s()
    report.user_properties = [(_PROPERTY, now - item.stash[_BEGUN])]
    item.stash[_BEGUN] = now
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _spent[file_of(report.nodeid)] += dict(report.user_properties).get(_PROPERTY, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    _spent.update(config.stash[WARM].spent_s() if WARM in config.stash else {})
    if not config.option.durations and not _over():
        return
    terminalreporter.section("CPU seconds a file")
    for file, seconds in _spent.most_common(LISTED if config.option.durations else 0):
        terminalreporter.write_line(f"{seconds:8.1f} of {budget_s(file):4d}  {file}")
    terminalreporter.write_line(f"{_spent.total():8.1f} in all")
    for file in _over():
        terminalreporter.write_line(f"OVER ITS BUDGET: {file}: {_spent[file]:.1f} s (tests/spent.py)", yellow=True)


def _over() -> list[str]:
    return [file for file, seconds in _spent.items() if seconds > budget_s(file)]

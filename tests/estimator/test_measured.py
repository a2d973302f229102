"""The error bar is honest: every published run that says what it ran lies inside it."""

import pytest

from estimator.estimate import law_of
from tests.estimator.measured import rows


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_a_published_run_lies_inside_the_stated_bar(row):
    made = row.estimate()
    dynamic = sum(made.components[name] for name in ("activations", "logits_and_loss", "temporary"))
    bar = law_of(row.recipe, loop=row.loop).law.relative_error * dynamic
    assert abs(row.measured_bytes - made.peak_allocated_bytes) <= bar + 2 * 2**20  # half a cuBLAS workspace

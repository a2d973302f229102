"""The error bar is honest: published runs that say what they ran lie inside it. All of them: `make accuracy`."""

import pytest

from estimator.fit import RELATIVE_ERROR
from tests.estimator.measured import rows


SAMPLE = ("canifinetune-001", "canifinetune-005", "fitcheck-t4-017", "fitcheck-t4-026", "fitcheck-t4-039", "fms-009", "fms-019", "fms-029")


@pytest.mark.parametrize("row", [row for row in rows() if row.id in SAMPLE], ids=lambda row: row.id)
def test_a_published_run_lies_inside_the_stated_bar(row):
    made = row.estimate()
    assert made.engine == "traced"
    dynamic = sum(made.components[name] for name in ("activations", "logits_and_loss", "temporary"))
    assert abs(row.measured_bytes - made.peak_allocated_bytes) <= RELATIVE_ERROR * dynamic + 2 * 2**20  # half a cuBLAS workspace

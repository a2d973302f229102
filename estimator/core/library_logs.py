"""Lines that libraries log at their import and that are no news to whoever asked for an estimate or a run."""

from __future__ import annotations

import logging

# bitsandbytes 0.50, backends/cpu/ops.py, on a processor with AVX512-BF16: its import looks for a faster kernel for
# answers in the `kernels` package. Nothing here takes that kernel, with the package or without it
# (`program.keep_gradients`).
_NO_NEWS = {"bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward"}


def drop_no_news() -> None:
    """Drop exactly these lines at the loggers that write them; called before any library is imported, and harmless when
    called again."""
    for name, start in _NO_NEWS.items():
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Without) for known in logger.filters):
            logger.addFilter(_Without(start))


class _Without(logging.Filter):
    def __init__(self, start: str) -> None:
        super().__init__()
        self._start = start

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._start)

"""A worker without a model: the studio's own attempt at a run, around steps that only count."""

from __future__ import annotations

import os
import sys
import time

from studio.jobs import attempt
from studio.jobs.folder import RunFolder
from studio.jobs.journal import Journal

STEP_S = 0.005


def count(run: RunFolder, journal: Journal) -> str:
    journal.write("started", pid=os.getpid(), resume_from=None)
    journal.write("phase", name="training", total_steps=10**6)
    step = 0
    while not run.stop_file.exists():
        step += 1
        journal.write("metrics", step=step, loss=1 / step)
        time.sleep(STEP_S)
    return "stopped"


if __name__ == "__main__":
    sys.exit(attempt.main(sys.argv[1:], count))

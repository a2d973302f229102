"""What the tabs share, built once and handed in: stores and workers on the server, a few components in the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from studio.datasets.store import DatasetStore
from studio.get.job import Jobs
from studio.jobs.supervisor import Supervisor
from studio.protocol.client import Worker
from studio.protocol.pool import Pool
from studio.space import Space

READ_APART = ("ingest", "offers", "look", "clean", "card", "columns", "row", "revise", "split", "mix")
"""What the reading worker is asked, and not the one that holds tokenizers."""
DATA_WORKERS = 3
"""At most: each takes half a gigabyte while several people's files are read at once."""


@dataclass
class Shared:
    """Handed to every tab's `build`."""

    space: Space
    """Where everything of theirs lies."""
    datasets: DatasetStore
    runs: Supervisor
    data_worker: Worker | Pool
    chat_worker: Worker
    trace_worker: Worker
    getting: Jobs
    """The fetch of a model from a package index, one for all pages."""
    tabs: Any = None
    """The `gr.Tabs`; only `open_tab` has it as an output."""
    tab: dict[str, Any] = field(default_factory=dict)
    """The `gr.Tab` of each id (`estimate`, `dataset`, `train`, `chat`, `runs`); its `.select` event refreshes lists."""
    recipe: Any = None
    """`gr.State` with a recipe as a dict, or None: Estimate writes it, Train loads it on change."""
    gpu: Any = None
    """`gr.State` with the name of the card that the recipe was estimated for, or None; Estimate writes it, Train names
    it."""
    dataset: Any = None
    """`gr.State` with the id of the dataset last opened: Dataset writes it, Train preselects it on change."""
    fitting: Any = None
    """`gr.State` with the recipe fields that say how rows are made to fit, once chosen: Dataset writes it, Train takes
    it over on change."""
    advised: Any = None
    """`gr.State` with the fields that the rows of a dataset ask for (`model`, `values`), or None: Dataset writes it,
    Train sets them on change."""
    run: Any = None
    """`gr.State` with the id of the run last opened: Train and Runs write it, Chat and Runs preselect it."""

    def stop(self) -> None:
        """End the fetch at work and every worker; runs go on."""
        self.getting.cancel()
        self.getting.wait(10)
        for worker in (self.data_worker, self.chat_worker, self.trace_worker):
            worker.stop()


def build(space: Space) -> Shared:
    """The stores of `space`, and workers that start when they are first asked."""
    chat, trace = (Worker(name, f"studio.workers.{name}", space) for name in ("chat", "trace"))
    reading = Pool("read", "studio.workers.read", DATA_WORKERS, space)
    data = Pool("data", "studio.workers.data", DATA_WORKERS, space, dict.fromkeys(READ_APART, reading))
    stores = DatasetStore(space.datasets, space.trash), Supervisor(space)
    return Shared(space, *stores, data, chat, trace, Jobs(space))

"""The reading worker: `python -m studio.workers.read`. Files of rows into the store. It imports nothing heavy, so that
a file need not wait for the libraries that tokenize, nor a look at other rows for a file.

Method: `ingest` (streams progress, answers with the stored dataset).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from studio.datasets.ingest import ingest as ingest_file
from studio.datasets.store import DatasetStore, as_json
from studio.protocol.serve import Request, serve
from studio.space import Space


def ingest(params: dict[str, Any], request: Request) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """`paths` (each with the name that its user knows it by), or a `path` and `name`; `eval_share` (0 to 0.5), `seed`.
    Reads and stores; how long the rows are is `preview`'s to
    say."""
    space = Space.default()
    result = yield from ingest_file(
        DatasetStore(space.datasets, space.trash),
        [(Path(path), name) for path, name in params["paths"]] if "paths" in params else Path(params["path"]),
        params.get("name"),
        eval_share=params.get("eval_share", 0.1),
        seed=params.get("seed", 42),
        cancelled=lambda: request.cancelled,
    )
    return as_json(result)


HANDLERS = {"ingest": ingest}

if __name__ == "__main__":
    serve(HANDLERS)

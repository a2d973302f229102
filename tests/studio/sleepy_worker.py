"""A worker for tests of the protocol: it echoes, waits for a file, or dies."""

import os
import time
from pathlib import Path

from studio.protocol.serve import serve


def echo(params, request):
    return {"pid": os.getpid(), "text": params.get("text")}


def wait(params, request):
    """Until the file is there; the first event says that it has begun."""
    yield {"pid": os.getpid()}
    while not Path(params["file"]).exists() and not request.cancelled:
        time.sleep(0.02)
    if params.get("dies"):
        os._exit(3)
    return {"pid": os.getpid()}


if __name__ == "__main__":
    serve({"echo": echo, "wait": wait, "preview": wait})

"""hf-mem, through its Python API: it reads the file list and the safetensors headers from the hub, and adds up weights.

The hub's address is fixed in its source, so its client is told to send every request to the loopback hub instead.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import hf_mem
import httpx2

from tests.estimator.peers.asking import DoesNotSay, Row, answer

HUB = urlsplit(os.environ["HF_ENDPOINT"])


class LoopbackClient(httpx2.AsyncClient):
    def __init__(self, **options: Any):
        super().__init__(**options, trust_env=False, event_hooks={"request": [self._redirect]})

    @staticmethod
    async def _redirect(request: Any) -> None:
        request.url = request.url.copy_with(scheme=HUB.scheme, host=HUB.hostname, port=HUB.port)


def ask(row: Row) -> float:
    found = hf_mem.run(row["model"])
    assert found.memory > 0
    raise DoesNotSay("weights and key-value cache of inference, nothing of training")


if __name__ == "__main__":
    httpx2.AsyncClient = LoopbackClient
    answer("hf-mem", ask, depends_on=lambda row: row["model"])

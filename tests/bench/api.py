"""`/estimate` under load: fifty programs ask twice a second for a minute while a browser's slider is moved."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.page import REPAINT, SLIDER, p95
from tests.chromium import launch
from tests.serving import Studio

CLIENTS, EVERY_S, SECONDS = 50, 0.5, 60
MOVES = 40
PATH = "/gradio_api/run/estimate"
MODELS = ("meta-llama/Llama-3.1-8B", "mistralai/Mistral-7B-v0.3", "Qwen/Qwen2.5-7B")
CARDS = ("GeForce RTX 4090", "A100 SXM4 80GB", "L4", "T4")


def figures() -> list[dict[str, Any]]:
    load, moves_ms = Load(), []
    with tempfile.TemporaryDirectory() as folder, launch() as browser:
        studio = Studio(Path(folder) / "home").wait()
        try:
            page = browser.new_page()
            page.goto(studio.url)
            page.wait_for_selector("#estimate-picture .ls-verdict")
            asking = threading.Thread(target=lambda: asyncio.run(load.run(studio.port)))
            asking.start()
            while asking.is_alive():
                moves_ms += page.evaluate(REPAINT, [SLIDER, "#estimate-picture", MOVES])
            asking.join()
        finally:
            studio.stop()
    return [
        {
            "name": f"/estimate, {CLIENTS} clients twice a second for {SECONDS} s: answers",
            "value": len(load.answers_ms),
            "unit": "",
        },
        {"name": "the same: errors", "value": load.errors, "unit": "", "target": "0"},
        {"name": "the same: asked to answered, median", "value": statistics.median(load.answers_ms), "unit": "ms"},
        {
            "name": "the same: asked to answered, 95th percentile",
            "value": p95(load.answers_ms),
            "unit": "ms",
            "target": "< 250 ms",
        },
        {
            "name": "slider moved to picture painted meanwhile, median",
            "value": statistics.median(moves_ms),
            "unit": "ms",
        },
        {
            "name": "slider moved to picture painted meanwhile, 95th percentile",
            "value": p95(moves_ms),
            "unit": "ms",
            "target": "< 150 ms",
        },
        {
            "name": "processes at work or waiting on this machine, of the last minute",
            "value": os.getloadavg()[0],
            "unit": "",
        },
    ]


class Load:
    """Clients with a connection each. An answer's time runs from when it was due to be asked, so a late one counts
    whole."""

    def __init__(self) -> None:
        self.answers_ms: list[float] = []
        self.errors = 0

    async def run(self, port: int) -> None:
        start = time.monotonic() + EVERY_S
        await asyncio.gather(*(self._client(port, n, start + n * EVERY_S / CLIENTS) for n in range(CLIENTS)))

    async def _client(self, port: int, n: int, due: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for question in itertools.islice(_questions(n), int(SECONDS / EVERY_S)):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                answer = await _ask(reader, writer, port, question)
                self.errors += not answer["data"][0]["peak_allocated_bytes"] > 0
            except (OSError, ValueError, KeyError, asyncio.IncompleteReadError):
                self.errors += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            else:
                self.answers_ms.append(1000 * (time.monotonic() - due))
            due += EVERY_S
        writer.close()


def _questions(n: int) -> Iterator[bytes]:
    """Another recipe each time, as people move controls."""
    for step in itertools.count(n):
        recipe = {
            "model": MODELS[step % len(MODELS)],
            "method": ("qlora", "lora", "full")[step % 7 % 3],
            "r": 8 + step % 57,
        }
        recipe |= {"max_length": 256 * (1 + step % 16), "per_device_train_batch_size": 1 + step % 8}
        yield json.dumps({"data": [recipe, CARDS[step % len(CARDS)], None, 1.0, False]}).encode()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, body: bytes) -> dict[str, Any]:
    """One request by hand: an HTTP library would take more of the two cores than the server."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
    content = await reader.readexactly(length)
    if " 200 " not in status:
        raise ValueError(status)
    return json.loads(content)

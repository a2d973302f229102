"""Reads a few bytes from a hub within a deadline, through huggingface_hub's session (its proxies, its offline switch).

Why not `hf_hub_download` and `parse_safetensors_file_metadata`: the first waits a minute for a silent hub, the second
takes 100 kB of every file, and the whole file from a mirror that knows no ranges.
"""

from __future__ import annotations

import sys
import time
from typing import Any

STALL_SECONDS = 5.0
"""Longest wait for a connection or for the next bytes."""
ERROR_BODY_BYTES = 65_536


class Unreached(Exception):
    """No answer: no network, no such host, a broken connection. `str()` is the reason."""


class Late(Unreached):
    """The deadline has passed."""


class Offline(Unreached):
    """HF_HUB_OFFLINE forbids asking."""


class TooLarge(Exception):
    """More bytes than the caller takes."""


class Refused(Exception):
    """An HTTP status of 400 and up, with the hub's own error code and the beginning of the body."""

    def __init__(self, status: int, code: str, body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.code, self.body = status, code, body


class Reader:
    """Several requests that share `headers` and one deadline, from several threads."""

    def __init__(self, headers: dict[str, str], seconds: float) -> None:
        from huggingface_hub import constants, get_session

        if constants.is_offline_mode():
            raise Offline("HF_HUB_OFFLINE")
        self._session = get_session()
        # huggingface_hub 1 speaks through httpx, 2 through httpx2: the session knows whose errors it raises.
        self._errors = (sys.modules[type(self._session).__module__.partition(".")[0]].HTTPError, OSError)
        self._headers = headers | {"Accept-Encoding": "identity"}
        self._until = time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        return self._until - time.monotonic()

    def read(self, url: str, limit_bytes: int) -> bytes:
        """The whole body. Raises `TooLarge` beyond the limit, `Refused`, `Unreached` or `Late`."""
        body = self._get(url, {}, 0, limit_bytes + 1)
        if len(body) > limit_bytes:
            raise TooLarge
        return body

    def read_range(self, url: str, first: int, length: int) -> bytes:
        """`length` bytes from `first`; of a server that ignores ranges no more is taken than up to the last of them."""
        return self._get(url, {"Range": f"bytes={first}-{first + length - 1}"}, first, length)

    def _get(self, url: str, more: dict[str, str], first: int, length: int) -> bytes:
        timeout = min(self._left(), STALL_SECONDS)
        try:
            with self._session.stream("GET", url, headers=self._headers | more, timeout=timeout) as response:
                if response.status_code >= 400:
                    code = response.headers.get("X-Error-Code", "")
                    raise Refused(response.status_code, code, self._take(response, ERROR_BODY_BYTES))
                skipped = first if response.status_code == 200 else 0
                return self._take(response, skipped + length)[skipped:]
        except self._errors as error:
            raise Unreached(" ".join(f"{type(error).__name__}: {error}".split())[:160]) from error

    def _take(self, response: Any, most: int) -> bytes:
        """The body's first `most` bytes; the rest is not waited for. A server that drips meets the deadline."""
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) >= most:
                break
            self._left()
        return bytes(body[:most])

    def _left(self) -> float:
        if self.seconds_left <= 0:
            raise Late("the deadline has passed")
        return self.seconds_left

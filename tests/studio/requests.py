"""Who may ask: someone at this machine, a visitor from elsewhere, and a visitor through a proxy on this machine."""

from __future__ import annotations

from types import SimpleNamespace


def asked_by(client: str, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(
        client=SimpleNamespace(host=client),
        headers={"host": "localhost:7860", **headers},
        query_params={},
        cookies={},
        session_hash="s",
    )


HERE, VISITOR = asked_by("127.0.0.1"), asked_by("10.0.0.7")
PROXIED = asked_by("127.0.0.1", **{"x-forwarded-for": "10.0.0.7"})

"""What is sent is bounded in size and time, and is UTF-8, before anything reads it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.formparsers import MultiPartException

from studio.gate import bodies
from studio.gate.bodies import BoundedBodies, checked

JOIN = "/gradio_api/queue/join"
SCOPE = {"type": "http", "method": "POST", "path": "/gradio_api/run/estimate", "query_string": b"", "headers": []}


def sent(
    *chunks: bytes | None, path: str = SCOPE["path"], headers: tuple = (), reads: bool = True, **scope
) -> tuple[int, bytes, list[bytes]]:
    """(status, answer, what reached the application) of one request that came in these chunks; None: the sender falls
    silent."""
    came, answers = [], []

    async def receive():
        if not waiting:
            return {"type": "http.disconnect"}
        chunk = waiting.pop(0)
        if chunk is None:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message):
        answers.append(message)

    async def inside(scope, receive, send):
        try:
            while (message := await receive())["type"] == "http.request":
                came.append(message["body"])
                if not message["more_body"]:
                    break
            status = 200
        except MultiPartException:  # as Gradio answers it
            status = 400
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})

    waiting = list(chunks)
    whole = {**SCOPE, "path": path, "headers": [(k.encode(), v.encode()) for k, v in headers], **scope}
    anyio.run(BoundedBodies(inside), whole, receive, send)
    return (
        (answers[0]["status"], b"".join(one.get("body", b"") for one in answers), came) if answers else (0, b"", came)
    )


def test_a_request_goes_through_as_it_came():
    assert sent(b'{"data": ', b'["\\ud83d\\ude00 \xf0\x9f\x98\x80 \\\\ud800"]}') == (
        200,
        b"inside",
        [b'{"data": ["\\ud83d\\ude00 \xf0\x9f\x98\x80 \\\\ud800"]}'],
    )


@pytest.mark.parametrize(("headers", "chunks"), [((("content-length", "60000000"),), ()), ((), [b"a" * 2**20] * 60)])
@pytest.mark.parametrize("path", [SCOPE["path"], "/gradio_api/run/predict", JOIN, "/gradio_api/cancel"])
def test_a_large_body_is_refused_stated_or_not(path, headers, chunks):
    status, said, came = sent(*chunks, path=path, headers=headers)
    assert status == 413 and not came and "Allowed: up to 8.0 MiB" in json.loads(said)["error"]


def test_an_upload_streams_up_to_its_own_limit(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_UPLOAD_BYTES", 100)
    form = (("content-type", "multipart/form-data; boundary=x"),)
    assert sent(b"a" * 60, b"b" * 40, path=bodies.UPLOAD, headers=form)[::2] == (200, [b"a" * 60, b"b" * 40])
    status, said, came = sent(b"a" * 60, b"b" * 60, b"c", path=bodies.UPLOAD, headers=form)
    assert status == 413 and came == [b"a" * 60] and b"inside" not in said
    assert sent(path=bodies.UPLOAD, headers=(*form, ("content-length", "101")))[0] == 413


@pytest.mark.parametrize("path", [SCOPE["path"], bodies.UPLOAD])
def test_a_body_that_does_not_come_is_given_up(monkeypatch, path):
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.05)
    status, said, _ = sent(b"{", None, path=path)
    assert status == 408 and "too slowly: 1 B" in json.loads(said)["error"]


def test_a_sender_who_hangs_up_leaves_nothing_running():
    assert sent(b"{", path=JOIN)[0] == 400  # ended, and no JSON
    assert sent(path=JOIN) == (0, b"", [])


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "latin-1", "utf-16"])
def test_another_encoding_is_refused(charset):
    for path in (SCOPE["path"], bodies.UPLOAD):
        assert (
            sent(b"{}", path=path, headers=(("content-type", f"multipart/form-data; charset={charset}; boundary=x"),))[
                0
            ]
            == 415
        )
    assert sent(b'{"data": []}', headers=(("content-type", 'application/json; charset="UTF-8"'),))[0] == 200


TEXTS = st.text(st.sampled_from('ab"\\ud8u\0\né中😀\ud800\udbff\udc00\udfff\ufffd'), max_size=8)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(VALUES, st.booleans())
def test_texts_arrive_as_browsers_would_write_them_and_all_else_as_it_is(value, escaped):
    body = json.dumps({"data": value}, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    read = json.loads(checked(body, SCOPE))
    json.dumps(read, ensure_ascii=False).encode()  # no half of a pair is left
    if "\\ud" not in json.dumps(value):
        assert read == {"data": value}


@pytest.mark.parametrize(
    "escape",
    [rb"\ud800", rb"\uDFFF", rb"\udc00\ud800", rb"\\\ud800", rb"\ud800\u0041", b"\xed\xa0\x80", b"\xed\xa0\xbd\\ude00"],
)
def test_half_a_pair_becomes_the_replacement_character(escape):
    assert "\ufffd" in json.loads(checked(b'{"data": ["' + escape + b'"], "' + escape + b'": 1}', SCOPE))["data"][0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'"a"',
        b"\xff",
        '{"data": []}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_in_utf8_is_refused_with_a_sentence(body):
    status, said, came = sent(body)
    assert status == 400 and not came and json.loads(json.loads(said)["title"])["code"] == "request.not_json"


BLOCKS = SimpleNamespace(blocks=SimpleNamespace(fns={3: None}))


@pytest.mark.parametrize(
    ("asked", "status"),
    [({"fn_index": 3}, 200), ({"fn_index": 4}, 404), ({"fn_index": True}, 404), ({"fn_index": "3"}, 404),
        ({"fn_index": 3.0}, 404), ({}, 404), ({"fn_index": -1}, 404), ({"fn_index": 10**400}, 404),
     ({"fn_index": 3, "session_hash": "a" * 101}, 400), ({"fn_index": 3, "session_hash": ["a"]}, 400),
     ({"fn_index": 3, "event_id": {}}, 400)],
)  # fmt: skip
def test_a_function_and_a_session_are_looked_at_before_gradio_looks_them_up(asked, status):
    assert sent(json.dumps({"data": [], **asked}).encode(), path=JOIN, app=BLOCKS)[0] == status

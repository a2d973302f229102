"""Which requests are answered, and which names become paths."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from estimator.core.problems import Problem
from studio.gate.routes import KnownRoutes
from studio.gate.security import SameOrigin, is_loopback, refused
from studio.space import inside


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST"])
def test_this_machines_names_are_answered(host):
    assert refused(host, None, None) is None
    assert refused(host, f"http://{host}", "same-origin") is None


@pytest.mark.parametrize(
    ("host", "origin", "site"),
    [
        ("evil.example", None, None),
        ("127.0.0.1.evil.example:7860", None, None),
        ("", None, None),
        ("127.0.0.1:7860", "http://evil.example", "cross-site"),
        ("127.0.0.1:7860", "http://127.0.0.1:9999", "same-site"),
        ("127.0.0.1:7860", "null", None),
    ],
)
def test_others_are_refused(host, origin, site):
    assert refused(host, origin, site)


PIECES = st.sampled_from(
    ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "[", "]", "[::1", "::1]", ":", ":7860", ":99999", "@", "user@",
        "user:pw@", "%25eth0", "[fe80::1%25eth0]", "/", "\\", "?", "#",
     ".", ",", " ", "\n", "\0", "evil.example", "localho\u017ft", "\uff4c\uff4f", "0x7f.1", "2130706433",
     "[::ffff:127.0.0.1]", "http://", "https://", "null", "\ud800"]
)  # fmt: skip
MIXED = st.none() | st.lists(PIECES, max_size=4).map("".join)


@given(MIXED, MIXED, st.sampled_from([None, "same-origin", "same-site", "cross-site", "none", "odd"]), st.booleans())
def test_only_this_machines_names_pass_whatever_the_headers_hold(host, origin, site, is_page):
    if refused(host, origin, site, is_page) is None:
        assert re.fullmatch(r"(127\.0\.0\.1|[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]|\[::1\])(:[0-9]{0,5})?", host)
        assert not origin or origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def test_another_site_may_link_to_the_page_and_to_nothing_else():
    assert refused("localhost", None, "cross-site", is_page=True) is None
    assert refused("localhost", None, "cross-site", is_page=False)


async def _said(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def asked(path="/", method="GET", headers=(), mcp=False):
    client = TestClient(SameOrigin(KnownRoutes(_said, mcp)), base_url="http://localhost:7860")
    return client.request(method, path, headers=list(headers))


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "[::1")],
        [("origin", "http://[")],
        [("host", "localhost"), ("host", "localhost")],
        [("origin", "http://localhost:7860"), ("origin", "http://evil.example")],
    ],
)
def test_a_broken_or_doubled_header_is_refused_with_a_sentence(headers):
    said = asked(headers=headers)
    assert said.status_code == 403 and len(said.text) > 20


def test_every_answer_says_what_it_may_do():
    page, refusal = asked(), asked(headers=[("origin", "null")])
    other = asked("/gradio_api/file=x.svg")
    for said in (page, other, refusal):
        assert (
            said.headers["x-content-type-options"] == "nosniff"
            and said.headers["cross-origin-resource-policy"] == "same-origin"
        )
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].partition("style-src")[0]
    assert page.headers["content-security-policy"] != asked().headers["content-security-policy"]  # a nonce is used once
    assert other.headers["content-security-policy"].endswith("sandbox")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/assets/a.js",
        "/theme.css",
        "/gradio_api/info",
        "/gradio_api/heartbeat/ab12",
        "/gradio_api/file=/tmp/a",
        "/gradio_api/call/estimate/ab12",
    ],
)
def test_what_the_page_and_programs_use_is_answered(path):
    assert asked(path).text == "inside"


@pytest.mark.parametrize(
    "path", ["/docs", "/monitoring", "/login", "/gradio_api/token", "/gradio_api/proxy=http://a.hf.space",
        "/gradio_api/deep_link?session_hash=a", "/gradio_api/custom_component/a/client/b/c",
             "/gradio_api/file=https://example.org/a", "/gradio_api/file=HTTP://example.org", "/gradio_api/vibe-code",
             "/gradio_api/run/estimate", "/gradio_api/mcp/", "/svelte/a", "/gradio_api/run-history/buckets"]
)  # fmt: skip
def test_what_nothing_uses_is_no_address(path):
    said = asked(path)
    assert said.status_code == 404 and "no address of this studio" in said.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/process_recording",
        "/gradio_api/component_server",
        "/gradio_api/vibe-edit",
        "/gradio_api/stream/a",
        "/login",
        "/gradio_api/run/begin",
        "/gradio_api/call/begin",
    ],
)
def test_nothing_else_can_be_sent_to(path):
    assert asked(path, "POST").status_code == 404


def test_mcp_is_answered_where_it_was_asked_for():
    assert asked("/gradio_api/mcp/", "POST", mcp=True).text == "inside"


def test_the_answer_is_in_the_readers_language():
    assert "不是本程序的地址" in asked("/docs?lang=zh-CN").json()["error"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", ""])
def test_only_loopback_may_be_listened_on(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "..", ".", ""])
def test_no_name_leaves_its_folder(name, tmp_path):
    with pytest.raises(Problem) as caught:
        inside(tmp_path, name)
    assert caught.value.code == "storage.outside"


def test_a_link_out_of_the_folder_is_no_way_out(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(Problem):
        inside(root, "link")

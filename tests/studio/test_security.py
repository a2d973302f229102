"""Which requests are answered, and which names become paths."""

from __future__ import annotations

import pytest

from estimator.problems import Problem
from studio import paths
from studio.security import is_loopback, refused


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


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", ""])
def test_only_loopback_may_be_listened_on(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "..", ".", ""])
def test_no_name_leaves_its_folder(name, tmp_path):
    with pytest.raises(Problem) as caught:
        paths.inside(tmp_path, name)
    assert caught.value.code == "storage.outside"


def test_a_link_out_of_the_folder_is_no_way_out(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(Problem):
        paths.inside(root, "link")

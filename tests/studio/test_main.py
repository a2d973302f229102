"""The command: what it refuses, each in one line, and what it serves."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.serving import Studio, environment
from tests.warm import cold_starts


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "studio", *arguments], env=environment(), capture_output=True, text=True, timeout=60
    )


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """Started as a user starts it: its process is the page's."""
    with cold_starts():
        studio = Studio(tmp_path_factory.mktemp("studio") / "home").wait()
    yield studio
    studio.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "example.org", "::"])
def test_other_addresses_are_refused(host, tmp_path):
    one_line(run("--host", host, "--data-dir", str(tmp_path)), host, "127.0.0.1")


def test_a_busy_port_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        one_line(run("--port", port, "--data-dir", str(tmp_path / "home")), port, "--port")


def test_a_port_that_is_none_is_said(tmp_path):
    one_line(run("--port", "70000", "--data-dir", str(tmp_path / "home")), "70000")


def test_a_data_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    one_line(run("--data-dir", str(tmp_path / "file" / "home")), "--data-dir", str(tmp_path))


def test_an_unknown_option_ends_with_2():
    assert run("--nonsense").returncode == 2


def get(studio, path="/", **headers) -> tuple[int, str, dict]:
    request = urllib.request.Request(studio.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(errors="replace"), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace"), dict(error.headers)


def test_a_data_folder_in_use_is_said(studio):
    one_line(run("--data-dir", str(studio.home)), str(studio.home), str(studio.process.pid))


def test_the_page_is_in_the_language_asked_for_and_remembers_it(studio):
    status, page, headers = get(studio, "/?lang=zh-CN")
    assert status == 200 and page.index('("zh-CN");') < page.index("<meta")
    assert "lora_studio_lang=zh-CN" in headers["set-cookie"]
    assert '("zh-CN");' in get(studio, cookie="lora_studio_lang=zh-CN")[1]
    assert '("en");' in get(studio, accept_language="fr")[1]


def test_no_page_asks_another_host(studio):
    _, page, _ = get(studio)
    for mark in ("fonts.googleapis", "fonts.gstatic", "cdnjs", "unpkg", "jsdelivr"):
        assert mark not in page


def test_foreign_hosts_and_origins_are_refused(studio):
    assert get(studio, host="evil.example")[0] == 403
    assert get(studio, "/gradio_api/upload", origin="http://evil.example")[0] == 403


@pytest.mark.parametrize("name", ["/etc/passwd", "../../.pid", ".pid"])
def test_no_file_of_the_machine_is_served(studio, name):
    for route in ("/gradio_api/file=", "/file="):
        assert get(studio, route + name)[0] in (400, 403, 404)
    assert get(studio, f"/gradio_api/file={studio.home}/.pid")[0] in (400, 403, 404)

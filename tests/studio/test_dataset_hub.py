"""A dataset of a hub by its id: which files are which split, the download, and what becomes of the rows."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from estimator.core.problems import Problem
from studio.datasets import command, source
from studio.datasets.hub import bring as bringing
from studio.datasets.hub.given import given, references
from studio.datasets.hub.layout import by_convention, configs_of, of_conversion
from studio.datasets.hub.reference import Reference, reference_of, wanted
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetStore
from studio.datasets.words import left_text, problem_text
from studio.i18n import LANGUAGES
from studio.space import Space
from tests import hub as hubs


def rows(count: int, word: str = "q") -> str:
    return "".join(json.dumps({"question": f"{word}{i}", "answer": f"a{i}"}) + "\n" for i in range(count))


def repository(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return folder


CARD = """---
configs:
- config_name: short
  data_files:
  - split: train
    path: short/train*.jsonl
  - split: test
    path: [short/test.jsonl, short/gone.jsonl]
- config_name: long
  default: true
  sep: ";"
  data_files: long/*
---
# About
"""
FILES = {"README.md": CARD, "short/train-0.jsonl": rows(6), "short/train-1.jsonl": rows(4, "r"),
         "short/test.jsonl": rows(3, "t"), "long/all.jsonl": rows(5, "l")}  # fmt: skip


@pytest.fixture
def serving(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)

    def serve(server) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setenv("MODELSCOPE_DOMAIN", server.url)

    return serve


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


def stored(store, text: str, stop=lambda: None, token=None, **choices):
    brought = run(given(references([text], choices), Space.default().cache, token, stop))
    about = {"origin": brought.origin, "left": brought.left}
    return run(ingest(store, brought.given, brought.name or None, eval_share=0, **about))


def refused(store, text: str, **choices) -> Problem:
    with pytest.raises(Problem) as caught:
        stored(store, text, **choices)
    for lang in LANGUAGES:
        sentence = problem_text(lang, caught.value)
        assert "{" not in sentence and "Traceback" not in sentence
    assert not list(store.root.glob("*")) if store.root.exists() else True
    return caught.value


LISTINGS = [
    ["data.csv"], ["train.csv", "test.csv"], ["my_train_file_00001.csv", "my_dev_file_00001.csv", "eval 3.csv"],
    ["data/train.csv", "data/test/a.csv", "data/test/b.csv"], ["train/a.jsonl", "validation/b.jsonl", "x/c.jsonl"],
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/extra-00000-of-00001.parquet"],
    ["data/train_sft-00000-of-00001-abc.parquet", "data/test_sft-00000-of-00001-abc.parquet", "README.md"],
    ["training-data.json", "testing.json", ".hidden/train.json", "__pycache__/test.json", "config.json"],
    ["latest.csv", "contest.csv", "trained.csv"], ["a/train/b/test.csv"], ["test-train.csv", "val.csv"],
    ["TRAIN.csv", "valid.txt", "notes.txt"], ["dev/x.csv", "my-valid/x.csv", "val_set/x.csv", "x_dev_y/z.csv"],
    ["evaluation.parquet", "train 1.parquet", "train1.parquet", "1train.parquet"], ["dataset_info.json", "a.json"],
    ["train/train.csv", "train/test.csv"], ["a.b.train.csv", "a.train-b.csv"], ["data/train.csv", "data/.train.csv"],
]  # fmt: skip


@pytest.mark.parametrize("files", LISTINGS, ids=lambda files: files[0])
def test_files_are_the_splits_that_datasets_makes_of_them(files, tmp_path):
    data_files = pytest.importorskip("datasets.data_files")
    repository(tmp_path, dict.fromkeys(files, "x"))
    patterns = data_files.get_data_patterns(tmp_path.as_posix())
    found = data_files.DataFilesDict.from_patterns(patterns, base_path=tmp_path.as_posix())
    theirs = {str(split): {Path(file).relative_to(tmp_path).as_posix() for file in some}
              for split, some in found.items()}  # fmt: skip
    assert {split: set(some) for split, some in by_convention(sorted(files)).items()} == theirs


PATTERNS = [
    "data.csv", ["data/*.csv", "x.csv"], [{"split": "train", "path": "data/**"}, {"split": "test", "path": ["x.csv"]}],
    "**/*.csv", "data/[ab].csv", "data/?.csv", ["**"], "data/.hidden.csv", "README.md", "*/*", "data/**/*.csv",
]  # fmt: skip


@pytest.mark.parametrize("said", PATTERNS, ids=str)
def test_patterns_of_a_card_name_the_files_that_datasets_finds(said, tmp_path):
    data_files = pytest.importorskip("datasets.data_files")
    files = ["data.csv", "x.csv", "data/a.csv", "data/b.csv", "data/deep/c.csv", "data/.hidden.csv", "README.md",
             "__x__/d.csv"]  # fmt: skip
    repository(tmp_path, dict.fromkeys(files, "x"))
    patterns = data_files.sanitize_patterns(said)
    found = data_files.DataFilesDict.from_patterns(patterns, base_path=tmp_path.as_posix())
    theirs = {split: {Path(file).relative_to(tmp_path).as_posix() for file in some} for split, some in found.items()}
    configs, _ = configs_of(files, {"configs": [{"config_name": "c", "data_files": said}]})
    ours = {split: set(some) for split, some in configs["c"].splits.items()}
    of_other_kind = set(configs["c"].others)
    assert ours == {split: some - of_other_kind for split, some in theirs.items() if some - of_other_kind}


@pytest.mark.parametrize(
    ("names", "default"),
    [(["a"], "a"), (["a", "b"], None), (["default", "b"], "default"), (["a", "b*"], "b")],
)
def test_the_default_config_is_the_one_of_datasets(names, default):
    metadata = pytest.importorskip("datasets.utils.metadata")
    said = [{"config_name": one.strip("*"), "data_files": "x.csv", **({"default": True} if "*" in one else {})}
            for one in names]  # fmt: skip
    configs, ours = configs_of(["x.csv"], {"configs": said})
    theirs = metadata.MetadataConfigs({one["config_name"]: one for one in said}).get_default_config_name()
    assert ours == theirs == default and list(configs) == [one["config_name"] for one in said]


def test_of_files_of_several_kinds_the_usual_one_is_read_and_the_others_are_counted():
    configs, _ = configs_of(["a.parquet", "b.parquet", "a.csv", "x.png", "notes.md"], None)
    assert configs["default"].splits == {"train": ["a.parquet", "b.parquet"]}
    assert set(configs["default"].others) == {"a.csv", "x.png", "notes.md"}
    same = configs_of(["a.parquet", "a.csv"], None)[0]["default"]
    assert same.splits == {"train": ["a.parquet"]} and same.others == ["a.csv"]


@pytest.mark.parametrize(
    "card",
    [None, [], "x", {"configs": 3}, {"configs": [3]}, {"configs": [{"config_name": 3}]},
     {"configs": [{"config_name": "c", "data_files": {"a": 1}}]},
     {"configs": [{"config_name": "c", "data_files": [{"split": 3, "path": 4}]}]},
     {"configs": [{"config_name": "c", "data_files": "[**"}]}],
    ids=str,
)  # fmt: skip
def test_a_card_that_is_none_is_no_crash(card):
    configs, default = configs_of(["a.csv"], card)
    assert default in configs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("org/name", Reference("huggingface", "org/name")),
        (" modelscope:org/name ", Reference("modelscope", "org/name")),
        ("hf://datasets/org/name@v1/data", Reference("huggingface", "org/name", "v1", inside="data")),
        ("https://huggingface.co/datasets/org/name", Reference("huggingface", "org/name")),
        ("https://huggingface.co/datasets/squad", Reference("huggingface", "squad")),
        ("https://huggingface.co/datasets/org/name/tree/main/a%20b", Reference("huggingface", "org/name", "main",
                                                                              inside="a b")),
        ("https://huggingface.co/datasets/org/name/tree/refs/convert/parquet/x",
         Reference("huggingface", "org/name", "refs/convert/parquet", inside="x")),
        ("https://huggingface.co/datasets/org/name/viewer/short/test?row=3",
         Reference("huggingface", "org/name", config="short", splits=("test",))),
        ("https://www.modelscope.cn/datasets/org/name/summary", Reference("modelscope", "org/name")),
        ("http://169.254.169.254/datasets/org/name", None), ("https://huggingface.co.evil.org/datasets/a/b", None),
        ("https://huggingface.co/org/model", None), ("file:///datasets/a/b", None), ("data/train.jsonl", None),
        ("a/b/c", None), ("../x", None), ("", None), ("https://[", None), ("hf://models/a/b", None),
    ],
    ids=str,
)  # fmt: skip
def test_what_names_a_dataset_of_a_hub(text, found):
    assert reference_of(text) == found


@pytest.mark.parametrize("choices", [{"hub": "x"}, {"split": "train[:10%]"}, {"revision": "../x"}, {"config": "c"}])
def test_a_choice_that_is_none_is_refused(choices):
    with pytest.raises(Problem) as caught:
        wanted("not a name" if choices == {"config": "c"} else "org/name", **choices)
    assert caught.value.code.startswith("dataset.hub_")


@pytest.mark.parametrize("name", ["org/data", "modelscope:org/data"])
def test_config_and_split_are_chosen_and_remembered(store, serving, tmp_path, name):
    folder = repository(tmp_path / "repo", FILES)
    with hubs.hub({"datasets/org/data": folder}) as server:
        serving(server)
        info = stored(store, name, config="short")
        assert (info.kept, info.train_rows, info.test_rows) == (13, 10, 3)
        assert info.origin["id"] == "org/data" and info.origin["config"] == "short"
        assert info.origin["split"] == "train+test" and info.origin["commit"]
        assert info.files == ["short/train-0.jsonl", "short/train-1.jsonl", "short/test.jsonl"]
        said = " ".join(left_text("en", info))
        assert "gone.jsonl" in said and "1 other configs (long)" in said
        alone = stored(store, name, config="short", split="test")
        assert (alone.kept, alone.train_rows) == (3, 3)
        default = stored(store, name)
        assert default.kept == 5 and "sep = ;" in " ".join(left_text("en", default))
        asked = len([one for one in server.asked if "long/all.jsonl" in one or "long%2Fall.jsonl" in one])
        assert stored(store, name).fingerprint == default.fingerprint
        again = len([one for one in server.asked if "long/all.jsonl" in one or "long%2Fall.jsonl" in one])
        assert again == asked  # within a day nothing is fetched twice


@pytest.mark.parametrize(
    ("files", "choices", "code", "word"),
    [
        (FILES, {"config": "none"}, "no_config", "short, long"),
        (FILES, {"config": "short", "split": "dev"}, "no_split", "train, test"),
        ({"README.md": CARD.replace("default: true", "")} | FILES, {}, "", ""),
        ({"a.png": "x", "b.png": "y"}, {}, "no_rows", "a.png"),
        ({"data/train_a-00000-of-00001.jsonl": rows(2), "data/train_b-00000-of-00001.jsonl": rows(2)}, {},
         "choose_split", "train_a, train_b"),
        (FILES, {"revision": "v9"}, "no_revision", "v9"),
        ({"data.py": "raise SystemExit", "x.jsonl": rows(2)}, {}, "script", "data.py"),
    ],
    ids=["config", "split", "default", "pictures", "two trainings", "revision", "script"],
)  # fmt: skip
def test_what_cannot_be_chosen_is_refused_with_what_can(store, serving, tmp_path, files, choices, code, word):
    with hubs.hub({"datasets/org/data": repository(tmp_path / "repo", files)}) as server:
        serving(server)
        if not code:
            assert stored(store, "org/data", **choices).kept == 5
            return
        problem = refused(store, "org/data", **choices)
        assert problem.code == f"dataset.hub_{code}" and word in str(problem)


def test_without_a_default_a_config_has_to_be_chosen(store, serving, tmp_path):
    files = FILES | {"README.md": CARD.replace("  default: true\n", "")}
    with hubs.hub({"datasets/org/data": repository(tmp_path / "repo", files)}) as server:
        serving(server)
        assert "short, long" in str(refused(store, "org/data"))


def test_a_script_is_never_run_and_the_hubs_own_parquet_stands_for_it(store, serving, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    script = repository(tmp_path / "repo", {"data.py": "raise SystemExit"})
    (tmp_path / "made" / "plain" / "train").mkdir(parents=True)
    table = pa.table({"question": ["q"], "answer": ["a"]})
    parquet.write_table(table, tmp_path / "made" / "plain" / "train" / "0000.parquet")
    with hubs.hub({"datasets/org/data": script,
                   "datasets/org/data@refs/convert/parquet": tmp_path / "made"}) as server:  # fmt: skip
        serving(server)
        info = stored(store, "org/data")
    assert info.kept == 1 and info.origin["config"] == "plain" and "script" in " ".join(left_text("en", info))
    assert of_conversion(["a/partial-train/0.parquet"])["a"].unread == {"partial": "partial-train"}


@pytest.mark.parametrize(
    ("what", "code"), [("gated", "gated"), ("private", "missing"), ("closed", "private"), ("broken", "unreached")]
)
def test_a_refusal_is_said_with_its_remedy(store, serving, what, code):
    with hubs.hub({"datasets/org/data": what}) as server:
        serving(server)
        problem = refused(store, "org/data")
        assert problem.code == f"dataset.hub_{code}" and "org/data" in str(problem)
        assert refused(store, "modelscope:org/none").code == "dataset.hub_missing"


def test_a_gate_before_the_files_is_said_as_one(store, serving, tmp_path):
    folder = repository(tmp_path / "repo", {"a.jsonl": rows(3)})
    with hubs.hub({"datasets/org/data": folder}, gate_files=True) as server:
        serving(server)
        assert refused(store, "org/data").code == "dataset.hub_gated"


def test_offline_and_without_a_network_it_is_said(store, serving, monkeypatch):
    with hubs.hub({}) as server:
        serving(server)
    assert refused(store, "org/data").code == "dataset.hub_unreached"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused(store, "org/data").code == "dataset.hub_offline"


def test_a_download_that_broke_off_is_gone_on_with(store, serving, tmp_path):
    folder = repository(tmp_path / "repo", {"a.jsonl": rows(30)})
    with hubs.hub({"datasets/org/data": folder}, faults={"a.jsonl": [390] + [503] * 30}) as server:
        serving(server)
        assert refused(store, "org/data").code == "dataset.hub_interrupted"
    with hubs.hub({"datasets/org/data": folder}) as server:
        serving(server)
        assert stored(store, "org/data").kept == 30
        assert server.ranges["a.jsonl"] == ["bytes=390-"]


def test_content_that_is_not_what_the_hub_lists_is_refused(store, serving, tmp_path):
    folder = repository(tmp_path / "repo", {"a.jsonl": rows(3)})
    with hubs.hub({"datasets/org/data": folder}, faults={"a.jsonl": ["wrong"]}) as server:
        serving(server)
        assert "hash" in str(refused(store, "org/data"))


def test_cancelling_is_heard_while_the_hub_is_silent_and_what_came_is_kept(store, serving, tmp_path, monkeypatch):
    folder = repository(tmp_path / "repo", {"a.jsonl": rows(40)})
    monkeypatch.setattr(bringing, "LOOK_SECONDS", 0.02)
    seen, cancelled = [], threading.Event()

    def stop() -> None:
        if cancelled.is_set():
            raise Problem("dataset.cancelled", file="org/data")

    with hubs.hub({"datasets/org/data": folder}, drip_seconds=0.01) as server:
        serving(server)
        events = given(references(["org/data"], {}), Space.default().cache, None, stop)
        with pytest.raises(Problem) as caught:
            for event in events:
                seen.append(event)
                if event["phase"] == "fetching":
                    cancelled.set()
    assert caught.value.code == "dataset.cancelled" and seen[0]["phase"] == "asking"
    assert not store.root.exists() or not list(store.root.iterdir())


def test_a_full_disk_is_said_before_anything_is_fetched(store, serving, tmp_path, monkeypatch):
    folder = repository(tmp_path / "repo", {"a.jsonl": rows(3)})
    monkeypatch.setattr(source, "FREE_BYTES", 2**60)
    with hubs.hub({"datasets/org/data": folder}) as server:
        serving(server)
        assert refused(store, "org/data").code == "dataset.no_room"
        assert not server.ranges


def test_the_login_is_sent_to_the_hub_alone_and_what_it_opens_is_kept_apart(store, serving, tmp_path, monkeypatch):
    folder = repository(tmp_path / "repo", {"a.jsonl": rows(3)})
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    with hubs.hub({"datasets/org/data": folder}) as server:
        serving(server)
        stored(store, "org/data")
        assert server.headers[0]["Authorization"] == "Bearer hf_secret"
        fetched = len(server.ranges["a.jsonl"])
        info = stored(store, "org/data", token=False)
        assert "Authorization" not in server.headers[-1] and len(server.ranges["a.jsonl"]) == fetched + 1
    everything = [file for file in Space.default().root.rglob("*") if file.is_file()]
    assert info.kept == 3 and not any(b"hf_secret" in file.read_bytes() for file in everything)


@pytest.mark.parametrize("name", ["../../out.jsonl", "/etc/x.jsonl", "a\\..\\b.jsonl", "C:/x.jsonl"])
def test_a_listing_whose_names_climb_out_is_refused(store, serving, tmp_path, monkeypatch, name):
    monkeypatch.setattr(hubs, "_contents", lambda folder: [(name, b"{}")])
    with hubs.hub({"datasets/org/data": tmp_path}) as server:
        serving(server)
        assert refused(store, "org/data").code == "dataset.climbs"


def test_addresses_inside_a_card_are_not_asked(store, serving, tmp_path):
    card = "---\nconfigs:\n- config_name: c\n  data_files: http://127.0.0.1:1/x.jsonl\n---\n"
    with hubs.hub({"datasets/org/data": repository(tmp_path / "r", {"README.md": card, "a.jsonl": rows(1)})}) as server:
        serving(server)
        assert refused(store, "org/data").code == "dataset.hub_no_rows"


def test_the_address_of_one_file_brings_that_file(store, serving, tmp_path):
    with hubs.hub({"datasets/org/data": repository(tmp_path / "r", FILES)}) as server:
        serving(server)
        address = f"{server.url}/datasets/org/data/blob/main/short/test.jsonl"
        assert stored(store, address).kept == 3
        assert stored(store, f"{server.url}/datasets/org/data/tree/main/short").kept == 13


def test_the_command_builds_by_id_and_says_where_it_is_from(home, serving, tmp_path, capsys):
    with hubs.hub({"datasets/org/data": repository(tmp_path / "r", FILES)}) as server:
        serving(server)
        assert command.main(["dataset", "build", "org/data", "--config", "short", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["origin"]["config"] == "short" and (told["train_rows"], told["test_rows"]) == (9, 3)
        assert command.main(["dataset", "check", "org/data", "--lang", "zh-CN"]) == 0
        assert "来自 Hugging Face：org/data" in capsys.readouterr().out
        assert command.main(["dataset", "check", str(tmp_path / "r" / "short"), "--config", "x"]) == 2
        assert "--" not in capsys.readouterr().out
    (info, *_) = DatasetStore(Space.default().datasets).list()
    assert info.name == "data (short)"

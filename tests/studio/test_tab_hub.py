"""The Dataset tab takes a dataset of a hub by its id, and asks which entry of a description is meant."""

from __future__ import annotations

import json

from studio.datasets.words import origin_text
from studio.i18n import strings
from studio.space import Space
from studio.tabs.dataset.head import head
from tests import hub as hubs
from tests.studio.test_dataset_hub import CARD, FILES, repository, serving  # noqa: F401
from tests.studio.test_entries import FILES as ENTRIES
from tests.studio.test_entries import INFO
from tests.studio.test_tab_dataset import SETTINGS, handlers, request, store  # noqa: F401


def test_a_hub_is_asked_chosen_of_and_fetched(handlers, store, serving, tmp_path):
    files = FILES | {"README.md": CARD.replace("  default: true\n", "")}
    with hubs.hub({"datasets/org/data": repository(tmp_path / "repo", files)}) as server:
        serving(server)
        trouble, offer, config, split, choice = handlers["ask_hub"](request(), "org/data")
        assert trouble == "" and choice.visible and config.choices == [("short", "short"), ("long", "long")]
        assert config.value is None and not split.choices
        chosen = handlers["_splits"](offer, "short")
        assert [name for name, _ in chosen.choices] == ["train", "test"] and chosen.value == ["train", "test"]
        handlers["begin"](request(), "org/data")
        trouble, id, *_ = handlers["fetch_hub"](request(), "org/data", *SETTINGS, "short", ["test"])
        info = store.get(id)
        assert trouble == "" and (info.kept, info.origin["split"]) == (3, "test")
        assert "Authorization" not in server.headers[-1]  # the page of someone elsewhere
    assert origin_text("en", info) in head("en", info) and "org/data" in origin_text("zh-CN", info)
    assert (info.folder / "source").is_dir()


def test_what_a_hub_refuses_is_said_and_nothing_changes(handlers, store, serving):
    with hubs.hub({}) as server:
        serving(server)
        for text in ("org/none", "<b>no</b>", None, {"a": 1}, "http://127.0.0.1/datasets/a/b"):
            trouble, offer, *_, choice = handlers["ask_hub"](request("zh-CN"), text)
            assert trouble and "<b>" not in trouble and offer is None and not choice.visible
            handlers["begin"](request(), text)
            trouble, *_ = handlers["fetch_hub"](request(), text, *SETTINGS, None, None)
            assert strings("en")["dataset.nothing_stored"] not in trouble and trouble
    assert store.list() == []


def test_the_entries_of_a_description_are_offered_and_the_files_wait_for_the_choice(handlers, store, tmp_path):
    folder = Space.default().uploads / "0123abcd"
    folder.mkdir(parents=True)
    for name, content in {"dataset_info.json": INFO, **ENTRIES}.items():
        (folder / name).write_text(json.dumps(content))
    files = [str(file) for file in sorted(folder.iterdir())]
    handlers["begin"](request(), files)
    trouble, _, _, entry, _ = handlers["upload"](request(), files, *SETTINGS)
    assert "questions, talks" in trouble and entry.visible and ("marks", "marks") in entry.choices
    handlers["begin"](request(), "marks")
    trouble, id, _, entry, _ = handlers["choose_entry"](request(), "marks", *SETTINGS)
    assert trouble == "" and store.get(id).name == "marks" and not entry.visible
    assert not folder.exists()
    handlers["begin"](request(), "marks")
    trouble, *_ = handlers["choose_entry"](request(), "marks", *SETTINGS)  # nothing waits any more
    assert trouble and len(store.list()) == 1

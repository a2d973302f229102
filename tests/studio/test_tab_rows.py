"""What is pressed on the Dataset tab: columns told, rows searched and written, versions, splits, mixing; on a page that
is not served, with the workers' own functions in this process."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import gradio as gr
import pytest

from studio.datasets.forms import LM, beside, for_task, text_of
from studio.datasets.revising import checked
from studio.i18n import LANGUAGES
from studio.space import Space
from studio.tabs.dataset.stored import stored_choices
from studio.widgets.columns_view import columns_view
from studio.widgets.desk_view import desk_view
from studio.widgets.finder_view import finder_view
from studio.widgets.row_editor import NEW, row_editor, written
from studio.widgets.token_mask import token_mask
from tests.studio.test_revising import ROWS
from tests.studio.test_tab_dataset import EVIL, READ, SETTINGS, Reader, handlers, info, request, row, store  # noqa: F401

VIEW = {"id": None, "offset": 0, "find": {}}
NAMES = ("trouble", "columns", "editor", "finder", "view", "dataset", "file")


@pytest.fixture
def press(handlers):  # noqa: F811
    """`press("find", {"text": "x"}, id=..., place=3)`: what the page does with it, by the names of its parts."""

    def do(deed, fields=(), *, id=None, view=VIEW, lang="en", **told):
        said = {
            "do": deed,
            "fields": fields if not isinstance(fields, dict) else [list(one) for one in fields.items()],
            **told,
        }
        asked, *_ = handlers["press"](request(lang), SimpleNamespace(_data=said), id)
        answer = handlers["act"](request(lang), asked, id, view, *READ)
        handlers["over"](request(lang))
        return dict(zip(NAMES, answer, strict=True))

    return do


@pytest.fixture
def strange(tmp_path):
    folder = Space.default().uploads / "0123abcd"
    folder.mkdir(parents=True)
    rows = [{"frage": f"<b>Frage {n}</b>?", "antwort": "Arlen", "note": "x"} for n in range(8)]
    (folder / "strange.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "strange.jsonl"


def test_a_file_of_no_known_shape_is_told_what_it_is_instead_of_sent_again(handlers, press, store, strange):  # noqa: F811
    handlers["begin"](request(), str(strange))
    trouble, *_, columns = handlers["upload"](request(), str(strange), *SETTINGS)
    handlers["end"](request())
    assert "of which none is known" in trouble and strange.exists()
    assert "&lt;b&gt;Frage 0&lt;/b&gt;?" in columns and "<b>" not in columns and 'name="shape"' in columns
    chosen = press("look", {"shape": "alpaca"}, of="")["columns"]
    assert 'name="part:instruction"' in chosen and "ls-problem" not in chosen
    wrong = press("read", {"shape": "alpaca", "part:instruction": "frage"}, of="")
    assert "ls-problem" in wrong["trouble"] and 'name="part:output"' in wrong["columns"] and strange.exists()
    told = {"shape": "alpaca", "part:instruction": "frage", "part:output": "antwort", "part:turn_role": ""}
    made = press("read", told, of="")
    info = store.get(made["dataset"])
    assert (info.kept, info.unused, made["columns"]) == (8, {"note": 8}, "") and not strange.exists()
    mapping = {"instruction": "frage", "output": "antwort"}
    assert info.changes[0]["options"] == {"shape": "alpaca", "mapping": mapping} and info.eval_share == 0.1
    # And once more, of what lies beside the rows: a new version.
    again = press("look", of=info.id)["columns"]
    assert '<option value="antwort" selected>' in again
    second = store.get(press("read", {"shape": "text", "part:text": "antwort"}, of=info.id)["dataset"])
    assert (second.parent, second.shape) == (info.id, "text")


def test_a_file_that_is_no_longer_here_is_said(press, store, info):  # noqa: F811
    assert "no longer here" in press("look", of=info.id)["trouble"]
    assert "no longer here" in press("read", of="")["trouble"]


def test_a_refused_file_that_is_let_go_goes_away(handlers, press, strange):  # noqa: F811
    handlers["begin"](request(), str(strange))
    handlers["upload"](request(), str(strange), *SETTINGS)
    assert press("close_columns")["columns"] == "" and not strange.exists()


def test_rows_are_edited_added_and_removed(press, store, info):  # noqa: F811
    editor = press("edit", id=info.id, place=3, row=4)["editor"]
    assert "What is 3?" in editor and "Row 4" in editor
    fields = [["turns:messages", ""], ["role:messages", "user"], ["content:messages", "Who?"],
              ["role:messages", "assistant"], ["content:messages", "Me.\r\nAnd you."]]  # fmt: skip
    made = press("save", id=info.id, place=3, row=4, fields=fields)
    edited = store.get(made["dataset"])
    assert edited.rows()[3]["messages"][1]["content"] == "Me.\nAnd you." and edited.rows()[3]["row"] == 4
    assert "new version" in made["trouble"] and made["editor"] == ""
    added = store.get(press("save", id=edited.id, fields=fields, place=None, row=None)["dataset"])
    assert added.kept == 61 and added.rows()[60]["row"] == 61
    removed = store.get(press("remove", id=added.id, place=0)["dataset"])
    assert removed.kept == 60 and removed.parent == added.id and len(store.list()) == 4


def test_what_cannot_be_saved_stays_in_its_boxes_with_the_reason(press, store, info):  # noqa: F811
    fields = [["turns:messages", ""], ["role:messages", "user"], ["content:messages", EVIL]]
    said = press("save", id=info.id, place=3, row=4, fields=fields)
    assert 'role="alert"' in said["editor"] and "no turn of the assistant" in said["editor"]
    read = Reader(said["editor"])
    assert "img" not in read.tags and EVIL[:-1] in read.text and len(store.list()) == 1
    assert "not valid JSON" in press("save", id=info.id, place=3, row=4, fields=[["json:label", "{"]])["trouble"]


@pytest.mark.parametrize("form", NEW)
def test_a_new_row_of_each_form_has_a_box_for_each_part(form):
    editor = row_editor("en", NEW[form], None, None)
    for key in NEW[form]:
        assert f':{key}"' in editor


class Fields(Reader):
    """Names and values of a form's fields, as a browser would send them; fields of a template are not there."""

    def __init__(self, html: str) -> None:
        self.fields: list[list[str]] = []
        self._in, self._skipped = "", 0
        super().__init__(html)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self._skipped += tag == "template"
        if self._skipped:
            return
        if tag in ("input", "textarea", "select") and "name" in told:
            self.fields.append([told["name"], told.get("value", "")])
        if tag == "option" and "selected" in told:
            self.fields[-1][1] = told["value"]
        self._in = tag

    def handle_endtag(self, tag):
        self._skipped -= tag == "template"
        self._in = ""

    def handle_data(self, data):
        if self._in == "textarea" and not self._skipped:
            self.fields[-1][1] += data


@pytest.mark.parametrize("content", ROWS.values(), ids=ROWS)
def test_a_row_that_is_opened_and_saved_is_the_same(content):
    content = {key: value for key, value in content.items() if key != "row"}
    fields = [(name, value.removeprefix("\n")) for name, value in Fields(row_editor("en", content, 0, 1)).fields]
    assert checked(written(fields, 1), 1) == content


def test_a_search_is_shown_from_its_first_row_and_taken_back(press, info):  # noqa: F811
    view = press("find", {"text": "What", "split": "eval", "problem": "x"}, id=info.id)["view"]
    assert view["id"] == info.id and view["offset"] == 0
    assert (view["find"]["text"], view["find"]["split"], view["find"]["problem"]) == ("What", "eval", "")
    back = press("find_all", id=info.id, view=view)
    assert not any(value not in ("", -1) for value in back["view"]["find"].values())
    assert 'value=""' in back["finder"]


def test_another_version_keeps_the_place_and_another_dataset_does_not(handlers, press, store, info):  # noqa: F811
    made = press("remove", id=info.id, place=0)["dataset"]
    at = {"id": info.id, "offset": 10, "find": {"text": "a"}}
    *_, now = handlers["turned"](request(), False, made, at)
    assert now == {"id": made, "offset": 10, "find": {"text": "a"}}
    other = store.add("other", [{"text": "a"}] * 2)
    *_, now = handlers["turned"](request(), False, other.id, at)
    assert now == {"id": other.id, "offset": 0, "find": {}}


def test_versions_are_listed_compared_and_gone_back_to(press, store, info):  # noqa: F811
    made = store.get(press("remove", id=info.id, place=0)["dataset"])
    desk = desk_view("en", made, [made, info], store.list())
    text = Reader(desk).text
    assert "Version 2 of 2 is shown, and is the one that trains" in text and "59 (-1)" in text
    assert "rows removed: 1" in text and "As the file was read" in text
    names = [name for name, _ in stored_choices("en", store.list(), info.id)]
    assert len(names) == 1 and "version 1 of 2" in names[0]


def test_go_back_is_one_press(handlers, store, info):  # noqa: F811
    asked, *_ = handlers["press"](request(), SimpleNamespace(_data={"do": "show", "id": info.id}), None)
    answer = handlers["act"](request(), asked, None, VIEW, *READ)
    assert answer[NAMES.index("dataset")] == info.id


def test_what_is_pressed_twice_is_done_once(handlers, store, info):  # noqa: F811
    twice = SimpleNamespace(_data={"do": "remove", "place": 0, "fields": []})
    asked, *_ = handlers["press"](request(), twice, info.id)
    again, *_ = handlers["press"](request(), twice, info.id)
    assert again == gr.skip()
    answers = [handlers["act"](request(), asked, info.id, VIEW, *READ)[NAMES.index("dataset")] for _ in range(2)]
    assert store.get(answers[0]).kept == 59 and answers[1] == gr.skip() and len(store.list()) == 2


def test_splits_and_mixes_are_new_datasets(press, store, info):  # noqa: F811
    made = store.get(press("split", {"eval_share": "20", "test_share": "12.5", "seed": "7"}, id=info.id)["dataset"])
    assert (made.train_rows, made.eval_rows, made.test_rows, made.seed) == (42, 12, 6, 7)
    for wrong in ({"eval_share": "60"}, {"seed": "-1"}, {"seed": "x"}, {"test_share": ""}):
        fields = {"eval_share": "10", "test_share": "0", "seed": "1", **wrong}
        assert 'role="alert"' in press("split", fields, id=info.id)["trouble"]
    other = store.add("other", [{"text": "a"}] * 10, shape="text", eval_share=0)
    weights = {f"weight:{info.id}": "1", f"weight:{other.id}": "2", "name": "Both", "seed": "1"}
    mixed = store.get(press("mix", weights, id=info.id)["dataset"])
    assert mixed.name == "Both" and mixed.kept == 80
    assert "Nothing to mix" in press("mix", {f"weight:{info.id}": "0", "seed": "1"}, id=info.id)["trouble"]
    assert 'role="alert"' in press("mix", {f"weight:{info.id}": "-2", "seed": "1"}, id=info.id)["trouble"]


def test_what_the_page_does_not_send_is_refused_or_does_nothing(press, store):  # noqa: F811
    for deed in ("look", "read", "find", "edit", "save", "remove", "show", "split", "mix", "nothing", None, {}):
        for told in ({}, {"fields": 7, "of": [], "place": {}, "id_": None}, {"fields": [["a"], [1, 2], {}]}):
            press(deed, told.pop("fields", ()), **told)
    assert store.list() == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_of_a_user_becomes_markup(lang, store):  # noqa: F811
    evil = store.add(EVIL, [{"text": EVIL, "row": 1}, {"text": "b", "row": 2}], shape="text")
    seen = {
        "file": EVIL, "rows": 1, "shape": "sharegpt", "parts": {"conversations": EVIL}, "problem": None,
        "columns": [{"name": EVIL, "rows": 1, "examples": [EVIL]}], "turn_keys": [EVIL], "words": [EVIL],
    }  # fmt: skip
    change = {"step": "read", "options": {"shape": EVIL, "mapping": {EVIL: EVIL}}, "counts": {}}
    from dataclasses import replace

    told = replace(evil, name=EVIL, files=[EVIL, EVIL], changes=[change, {"step": EVIL, "counts": {"dropped": 2}}])
    said = [{"part": EVIL, "role": EVIL, "text": EVIL}, {"part": "label", "role": "", "text": "true"}]
    shown = columns_view(lang, seen, "", "", {f"role:{EVIL}": "user"})
    shown += desk_view(lang, told, [told], [told, evil]) + finder_view(lang, told, SimpleNamespace(
        text=EVIL, problem="", split="", form="", file=-1))  # fmt: skip
    shown += row_editor(lang, {"text": EVIL, EVIL: EVIL, "tools": [{EVIL: EVIL}]}, 0, 1)
    shown += token_mask(lang, row(place=0, said=said, file=EVIL))
    read = Reader(shown)
    assert "img" not in read.tags and not any(name.startswith("on") for name in read.attributes)
    assert EVIL[:-1] in read.text and gr


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_not_trained_of_a_row_is_shown_with_its_part_and_speaker(lang):
    said = [{"part": "rejected", "role": "assistant", "text": "rude"}, {"part": "label", "role": "", "text": "false"}]
    text = Reader(token_mask(lang, row(said=said))).text
    words = {"en": ("Rejected answer · assistant", "rude", "bad"), "zh-CN": ("被拒回答 · 助手", "rude", "不好")}
    assert all(word in text for word in words[lang])


@pytest.mark.parametrize("content", ROWS.values(), ids=ROWS)
def test_what_is_said_to_be_trained_is_in_what_is_trained(content):
    trained = for_task(content, LM)
    for one in beside(content, is_trained=trained is not None):
        if one["trained"]:
            assert any(word in text_of(trained) for word in re.findall(r"\w+", one["text"]))
        elif trained is not None:
            assert one["part"] in ("rejected", "label")

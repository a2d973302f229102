"""What is shown, trained and asked is one and the same: rendering against Transformers and TRL themselves."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetStore
from studio.jobs.folder import RunFolder
from studio.rendering import chat_form, rendering, row_tokens, templates
from studio.rendering import tokenizers as tokenizers_module
from studio.workers.train import Training
from tests.studio.dataset_helpers import CHATML, OPEN_CHATML, PLAIN_CHATML, base_folder, chat

RECIPE = Recipe(model="test", max_length=256)
WHOLE = RECIPE.replace(assistant_only_loss=False)
ROWS = [
    chat("What is the name?", "It is called Arlen."),
    chat("Name?", "Arlen.", "And the sea?", "It has none.", system="Answer briefly."),
    chat("你好，叫什么名字？", "叫做阿伦 🏙️。"),
]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    def load(template):
        folder = tmp_path_factory.getbasetemp() / f"tokenizer-{abs(hash(template))}"
        return rendering.load_tokenizer(base_folder(str(folder), template))

    return load


def trained_text(tokenizer, row, recipe=RECIPE):
    """The trained stretches of a row, as text."""
    encoded = rendering.encode_row(tokenizer, row, recipe)
    stretches, last = [], None
    for index, label in enumerate(encoded.labels):
        if label != rendering.IGNORED:
            if last != index - 1:
                stretches.append([])
            stretches[-1].append(label)
            last = index
    return [tokenizer.decode(ids) for ids in stretches]


@pytest.mark.parametrize("template", [CHATML, PLAIN_CHATML, OPEN_CHATML, None])
@pytest.mark.parametrize("row", ROWS)
def test_encode_equals_apply_chat_template(tokenizers, template, row):
    tokenizer = tokenizers(template)
    encoded = rendering.encode_row(tokenizer, row, RECIPE)
    assert encoded.input_ids == tokenizer.apply_chat_template(row["messages"], tokenize=True)["input_ids"]
    assert encoded.text == tokenizer.apply_chat_template(row["messages"], tokenize=False)


@pytest.mark.parametrize("row", ROWS)
def test_labels_equal_transformers_own_mask(tokenizers, row):
    tokenizer = tokenizers(CHATML)
    reference = tokenizer.apply_chat_template(row["messages"], return_assistant_tokens_mask=True, return_dict=True)
    encoded = rendering.encode_row(tokenizer, row, RECIPE)
    assert [label != -100 for label in encoded.labels] == [bool(bit) for bit in reference["assistant_masks"]]
    assert all(label in (-100, id) for label, id in zip(encoded.labels, encoded.input_ids))


@pytest.mark.parametrize("template", [CHATML, PLAIN_CHATML, OPEN_CHATML, None])
@pytest.mark.parametrize("row", ROWS)
def test_each_answer_and_its_end_of_turn_is_trained_and_nothing_else(tokenizers, template, row):
    tokenizer = tokenizers(template)
    end = "<|im_end|>" if template else "<|endoftext|>"
    answers = [m["content"] + end for m in row["messages"] if m["role"] == "assistant"]
    assert trained_text(tokenizer, row) == answers
    assert tokenizer.convert_tokens_to_ids(end) in rendering.stop_ids(tokenizer)


def test_a_template_that_leaves_the_last_turn_open_gets_the_end_token(tokenizers):
    template = (
        "{% for m in messages %}{% if not loop.first %}{{ '<|endoftext|>' }}{% endif %}"
        "{{ m['role'] + ':\\n' + m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|endoftext|>assistant:\\n' }}{% endif %}"
    )
    tokenizer = tokenizers(template)
    assert trained_text(tokenizer, ROWS[1]) == ["Arlen.<|endoftext|>", "It has none.<|endoftext|>"]


def test_the_prompt_of_the_chat_is_the_beginning_of_the_trained_row(tokenizers):
    for template in (CHATML, PLAIN_CHATML, None):
        tokenizer = tokenizers(template)
        encoded = rendering.encode_row(tokenizer, ROWS[0], RECIPE)
        prompt = rendering.prompt_ids(tokenizer, ROWS[0]["messages"][:1])
        assert encoded.input_ids[: len(prompt)] == prompt
        assert set(encoded.labels[: len(prompt)]) == {-100} and encoded.labels[len(prompt)] != -100


@given(st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_with_and_without_markers_gives_the_same_labels(tokenizers, turns):
    row = chat(*(turn.strip() for turn in turns[: len(turns) // 2 * 2]))
    marked, plain = tokenizers(CHATML), tokenizers(PLAIN_CHATML)
    one, other = rendering.encode_row(marked, row, RECIPE), rendering.encode_row(plain, row, RECIPE)
    if isinstance(one, rendering.Dropped):
        assert other == one
        return
    assert (one.input_ids, one.labels) == (other.input_ids, other.labels)
    assert one.input_ids == marked.apply_chat_template(row["messages"])["input_ids"]


def test_without_assistant_only_everything_is_trained(tokenizers):
    encoded = rendering.encode_row(tokenizers(CHATML), ROWS[1], WHOLE)
    assert encoded.labels == encoded.input_ids


def test_text_rows_train_whole_with_their_end(tokenizers):
    tokenizer = tokenizers(CHATML)
    encoded = rendering.encode_row(tokenizer, {"text": "row text 1", "row": 1}, RECIPE)
    assert encoded.labels == encoded.input_ids
    assert tokenizer.decode(encoded.input_ids) == "row text 1<|endoftext|>"


def test_long_rows_are_dropped_never_cut(tokenizers):
    tokenizer = tokenizers(CHATML)
    length = len(rendering.encode_row(tokenizer, ROWS[0], RECIPE).input_ids)
    assert isinstance(rendering.encode_row(tokenizer, ROWS[0], RECIPE.replace(max_length=length)), rendering.Encoded)
    dropped = rendering.encode_row(tokenizer, ROWS[0], RECIPE.replace(max_length=length - 1))
    assert dropped == rendering.Dropped("too_long", {"length": length, "limit": length - 1})


def test_what_a_template_refuses_is_dropped_with_its_words(tokenizers):
    tokenizer = tokenizers("{{ raise_exception('System role not supported') }}")
    dropped = rendering.encode_row(tokenizer, ROWS[0], RECIPE)
    assert dropped.reason == "template" and "System role not supported" in dropped.params["detail"]


def test_a_template_that_rewrites_earlier_turns_is_not_guessed_at(tokenizers):
    template = PLAIN_CHATML.replace(
        "{{ m['content'] + '<|im_end|>' }}", "{{ m['content'] if loop.last else 'cut' }}<|im_end|>"
    )
    assert template != PLAIN_CHATML
    assert rendering.encode_row(tokenizers(template), ROWS[1], RECIPE).reason == "template"


def test_a_row_without_an_answer_trains_nothing(tokenizers):
    assert rendering.encode_row(tokenizers(CHATML), chat("Hello?"), RECIPE).reason == "nothing_trained"


def test_rows_become_a_dataset_that_trl_takes_as_prepared(tokenizers):
    tokenizer = tokenizers(CHATML)
    rows = [
        {**ROWS[0], "row": 1},
        {**chat("long " * 300, "x"), "row": 2},
        {**chat("Hello?"), "row": 3},
        {**ROWS[1], "row": 4},
    ]
    dataset, report = rendering.encode_rows(rows, tokenizer, RECIPE)
    expected = [rendering.encode_row(tokenizer, ROWS[i], RECIPE) for i in (0, 1)]
    assert dataset.column_names == ["input_ids", "labels"]
    assert list(dataset["input_ids"]) == [row.input_ids for row in expected]
    assert list(dataset["labels"]) == [row.labels for row in expected]
    assert (report["kept"], report["dropped"], report["reasons"]) == (2, 2, {"too_long": 1, "nothing_trained": 1})
    assert [entry["row"] for entry in report["first_dropped"]] == [2, 3]
    assert report["longest"] == max(len(row.input_ids) for row in expected)
    assert report["tokens"] == sum(len(row.input_ids) for row in expected)
    assert report["trained_tokens"] == sum(row.trained_tokens for row in expected)

    batch = rendering.collator(tokenizer)([dataset[i] for i in range(2)])
    for index, row in enumerate(expected):
        length = len(row.input_ids)
        assert batch["labels"][index, :length].tolist() == row.labels
        assert set(batch["labels"][index, length:].tolist()) <= {-100}
        assert batch["attention_mask"][index].tolist() == [1] * length + [0] * (batch["labels"].shape[1] - length)


def test_no_row_left_gives_an_empty_dataset_and_the_reasons(tokenizers, tmp_path):
    info = DatasetStore(tmp_path / "datasets").add("x", [chat("Hello?"), chat("Hi?")], eval_share=0)
    dataset, report = rendering.encode_rows(info.rows("train"), tokenizers(CHATML), RECIPE)
    assert len(dataset) == 0 and report["reasons"] == {"nothing_trained": 2}


def test_a_broken_tokenizer_is_a_problem_that_names_the_base(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(Problem) as caught:
        rendering.load_tokenizer(tmp_path)
    assert caught.value.code == "base.broken" and str(tmp_path) in str(caught.value)


@pytest.fixture(scope="module")
def bracketed(tmp_path_factory):
    """A tokenizer that begins each text with `<s>` by itself, as Llama's do."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = rendering.load_tokenizer(base_folder(str(tmp_path_factory.mktemp("bracketed")), CHATML))
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    return tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "Hola",
        "<s>Hola",
        "<s>Hola</s>",
        "Hola</s>",
        "\n <s>Hola",
        "<s>Hola</s> \n",
        "<s>[INST] Hola? [/INST] Buenas. </s>",
    ],
)
def test_text_has_one_start_token_and_one_end_token(bracketed, text):
    encoded = rendering.encode_row(bracketed, {"text": text, "row": 1}, RECIPE)
    ids = encoded.input_ids
    assert (ids[0], ids[-1]) == (bracketed.bos_token_id, bracketed.eos_token_id)
    assert ids.count(bracketed.bos_token_id) == ids.count(bracketed.eos_token_id) == 1
    assert encoded.labels == ids and len(encoded.offsets) == len(ids)


@pytest.mark.parametrize("row", [{"text": "half \ud83d a character"}, chat("half \udc00?", "a\ud800b")])
def test_half_characters_are_replaced(tokenizers, row):
    assert "\ufffd" in rendering.encode_row(tokenizers(CHATML), {**row, "row": 1}, RECIPE).text


def test_a_long_row_is_counted_in_pieces_and_can_be_cancelled_between_them(tokenizers, monkeypatch):
    tokenizer, row = tokenizers(CHATML), {"text": "long " * 3000, "row": 1}
    monkeypatch.setattr(row_tokens, "PIECE_CHARACTERS", 1000)
    dropped = rendering.encode_row(tokenizer, row, RECIPE)
    assert dropped.reason == "too_long" and 256 < dropped.params["length"] < 3000
    whole = rendering.encode_row(tokenizer, row, RECIPE.replace(max_length=100_000))
    assert isinstance(whole, rendering.Encoded)
    with pytest.raises(Problem) as caught:
        rendering.encode_row(tokenizer, row, RECIPE, lambda: True)
    assert caught.value.code == "worker.cancelled"


def test_a_file_is_left_at_the_row_where_it_is_cancelled(tokenizers, tmp_path):
    info = DatasetStore(tmp_path / "datasets").add("x", [chat("Hello?", "Yes.")] * 5, eval_share=0)
    asked = iter([False, False, True])
    with pytest.raises(Problem) as caught:
        rendering.encode_rows(info.rows("train"), tokenizers(CHATML), RECIPE, lambda: next(asked))
    assert caught.value.code == "worker.cancelled"


@pytest.mark.parametrize("file", ["tokenizer.json", "added_tokens.json"])
def test_a_tokenizer_with_too_many_tokens_is_refused_before_it_is_loaded(tmp_path, monkeypatch, file):
    monkeypatch.setattr(tokenizers_module, "ADDED_LIMIT_TOKENS", 2)
    base = base_folder(str(tmp_path), CHATML)
    (base / "added_tokens.json").write_text(
        json.dumps({f"<{i}>": i for i in range(3)}) if file == "added_tokens.json" else "{}"
    )
    if file == "added_tokens.json":
        monkeypatch.setattr(tokenizers_module, "_FILES", (file,))
    with pytest.raises(Problem) as caught:
        rendering.load_tokenizer(base, "org/name")
    problem = caught.value
    assert (
        problem.code == "base.tokenizer_large"
        and problem.params["value"] == "org/name"
        and problem.params["file"] == file
    )


def test_a_resumed_attempt_writes_with_what_the_first_kept(tmp_path, monkeypatch):
    base = base_folder(str(tmp_path / "base"), "{{ strftime_now('%d %b %Y') }}" + CHATML)
    run = tmp_path / "run"
    run.mkdir()
    attempt = Training.__new__(Training)
    attempt.run, attempt.recipe = RunFolder(run), RECIPE
    first = rendering.encode_row(attempt._tokenizer(base), ROWS[1], RECIPE)
    monkeypatch.setattr(templates, "datetime", _InAYear)
    monkeypatch.setattr(chat_form, "datetime", _InAYear)
    (base / "chat_template.jinja").write_text(CHATML)  # the base was published anew
    assert rendering.encode_row(attempt._tokenizer(base), ROWS[1], RECIPE) == first
    assert rendering.encode_row(rendering.load_tokenizer(base), ROWS[1], RECIPE) != first


class _InAYear(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2027, 11, 29)

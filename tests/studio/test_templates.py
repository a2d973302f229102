"""What chat templates do to rows, over those that TRL ships and small ones of our own: prompts, masks, what is left
out, dates."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from estimator.recipe.recipe import CHAT_TEMPLATES, Recipe
from studio.protocol import bounds
from studio.rendering import chat_form, rendering, template_runs
from studio.rendering.templates import Kept, Refused, form_of
from studio.rendering.training_templates import chosen_template
from tests.studio import dataset_helpers
from tests.studio.dataset_helpers import chat
from tests.studio.template_helpers import FOLDER, OWN, SHIPPED, source, tokenizer

RECIPE = Recipe(model="test", max_length=8192)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"type": "function", "id": "c12345678", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
REASONED = {
    "messages": [
        {"role": "user", "content": "17*3?"},
        {"role": "assistant", "content": "51", "reasoning_content": "17 three times."},
    ]
}
THOUGHT = chat("17*3?", "<think>\n17 three times.\n</think>\n\n51")
TOOLS = {
    "messages": [
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": '{"c": 4}', "name": "weather", "tool_call_id": "c12345678"},
        {"role": "assistant", "content": "It is 4 degrees."},
    ],
    "tools": [TOOL],
}
ROWS = [
    chat("What is the name?", "It is called Arlen."), chat("Name?", "Arlen.", "And the sea?", "It has none."),
    chat("Code?", "\n\n    x = 1"),
    chat("Name?", "Arlen.", system="Answer briefly."), chat("A?", " B"), REASONED, THOUGHT,
]  # fmt: skip


def trained(tokenizer, encoded):
    """The trained tokens as text."""
    return tokenizer.decode([label for label in encoded.labels if label != rendering.IGNORED])


@pytest.mark.parametrize("name", [*SHIPPED, *OWN])
def test_a_chats_prompt_is_a_prefix_of_the_trained_row(name):
    """For each answer of each row: what the studio asks with is what stood before the answer in training, token by
    token."""
    made = tokenizer(name)
    for row in ROWS:
        encoded = rendering.encode_row(made, row, RECIPE)
        if isinstance(encoded, rendering.Dropped):
            assert encoded.reason in ("template", "answer_left_out", "turn_left_out")
            continue
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant":
                prompt = rendering.prompt_ids(made, row["messages"][:index])
                assert encoded.input_ids[: len(prompt)] == prompt or encoded.labels[len(prompt)] == rendering.IGNORED
                assert encoded.labels[len(prompt)] != rendering.IGNORED or "earlier_turns_read" in encoded.notes
        first = next(index for index, message in enumerate(row["messages"]) if message["role"] == "assistant")
        asked = len(rendering.prompt_ids(made, row["messages"][:first]))
        assert set(encoded.labels[:asked]) <= {rendering.IGNORED}


@given(
    st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=2, max_size=4),
    st.sampled_from(["qwen3_5_think", "deepseekv3", "blank_before_answer", "llama3_2"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_texts_are_the_prompt_is_a_prefix(turns, name):
    made, row = _cached(name), chat(*turns[: len(turns) // 2 * 2])
    encoded = rendering.encode_row(made, row, RECIPE)
    if isinstance(encoded, rendering.Encoded):
        prompt = rendering.prompt_ids(made, row["messages"][:-1])
        assert encoded.input_ids[: len(prompt)] == prompt


_made = {}


def _cached(name):
    return _made.setdefault(name, None) or _made.update({name: tokenizer(name)}) or _made[name]


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "deepseekv3", "qwen3_5_think", "llama3_2", "gemma3", "phi3"])
def test_one_blank_more_in_a_template_trains_the_same_answers(name):
    """TRL's variants are chosen by an exact match of the template; nothing may hang on that."""
    own = source(name)
    same = [tokenizer(name), tokenizer(name, text=own + " ")]
    for row in ROWS[:2]:
        known, changed = (rendering.encode_row(made, row, RECIPE) for made in same)
        texts = ["".join(trained(made, one).split()) for made, one in zip(same, (known, changed))]
        assert texts[0] == texts[1] if changed.notes == () else texts[0].endswith(texts[1])
        assert changed.notes == (("earlier_turns_read",) if name == "qwen3_5_think" and row is ROWS[1] else ())
        prompt = rendering.prompt_ids(same[1], row["messages"][:-1])
        assert changed.input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize("name", [*SHIPPED, "drops_reasoning", "takes_reasoning"])
@pytest.mark.parametrize("row", [REASONED, THOUGHT])
def test_reasoning_is_trained_or_said_to_be_left_out(name, row):
    made = tokenizer(name)
    encoded = rendering.encode_row(made, row, RECIPE)
    assert ("17 three times." in trained(made, encoded)) == (encoded.notes == ())
    assert "51" in trained(made, encoded)
    assert encoded.notes in ((), ("reasoning_left_out",))


@pytest.mark.parametrize("name", [*SHIPPED, "text_arguments"])
def test_tools_are_written_whole_and_once_encoded_or_the_row_is_dropped(name):
    made = tokenizer(name)
    as_text = {
        **TOOLS,
        "messages": [
            TOOLS["messages"][0],
            {
                **TOOLS["messages"][1],
                "tool_calls": [{**CALL, "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}],
                "content": None,
            },
            *TOOLS["messages"][2:],
        ],
    }
    encoded, other = (rendering.encode_row(made, row, RECIPE) for row in (TOOLS, as_text))
    if isinstance(encoded, rendering.Dropped):
        assert encoded.reason in ("template", "tools_left_out", "turn_left_out") and other.reason == encoded.reason
        return
    assert encoded.input_ids == other.input_ids  # arguments given as text are arguments
    text = trained(made, encoded)
    assert "weather" in text and "Oslo" in text and '\\"Oslo' not in text and "It is 4 degrees." in text
    assert '"c"' in encoded.text or '\\"c\\"' in encoded.text
    assert "None" not in encoded.text


def test_templates_without_tools_lose_the_row_and_those_with_them_keep_it():
    took = {
        name: isinstance(rendering.encode_row(tokenizer(name), TOOLS, RECIPE), rendering.Encoded)
        for name in ("llama3", "qwen2_5", "llama3_2", "gptoss", "deepseekv3", "plain", "phi3")
    }
    assert took == {
        "llama3": False,
        "qwen2_5": True,
        "llama3_2": True,
        "gptoss": True,
        "deepseekv3": True,
        "plain": False,
        "phi3": False,
    }


@pytest.mark.parametrize("name", ["qwen3", "llama3_2", "gemma3", "plain", "opens_think"])
@pytest.mark.parametrize("assistant_only", [True, False])
def test_a_turn_that_is_only_read_has_no_label_and_others_keep_theirs(name, assistant_only):
    made, recipe = tokenizer(name), RECIPE.replace(assistant_only_loss=assistant_only)
    row = chat("Capital?", "WRONG Quito", "Sure?", "Lima, of course.")
    read = {
        "messages": [
            {**message, "trained": False} if "WRONG" in message["content"] else message for message in row["messages"]
        ]
    }
    whole, masked = (rendering.encode_row(made, one, recipe) for one in (row, read))
    assert masked.input_ids == whole.input_ids
    gone = [i for i, (one, other) in enumerate(zip(whole.labels, masked.labels)) if one != other]
    assert gone == list(range(gone[0], gone[-1] + 1)) and "WRONG Quito" in made.decode(
        [masked.input_ids[i] for i in gone]
    )
    assert "Lima, of course." in trained(made, masked) and "Lima" not in made.decode(
        [masked.input_ids[i] for i in gone]
    )
    assert ("Capital?" in trained(made, masked)) == (not assistant_only)
    nothing = {"messages": [{**message, "trained": False} for message in row["messages"]]}
    if assistant_only:
        assert rendering.encode_row(made, nothing, recipe) == rendering.Dropped("nothing_trained")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leaves_answers_out", "answer_left_out"),
        ("leaves_questions_out", "turn_left_out"),
        ("no_system", "template"),
        ("alternates", "template"),
    ],
)
def test_what_a_template_leaves_out_or_refuses_is_a_dropped_row_with_the_reason(name, reason):
    dropped = rendering.encode_row(tokenizer(name), chat("Name?", "Arlen.", system="Briefly."), RECIPE)
    assert dropped.reason == reason


def test_system_text_that_vanishes_is_said_and_asked_without():
    made, row = tokenizer("system_before_last_question"), chat("Name?", "Arlen.", system="Answer briefly.")
    encoded = rendering.encode_row(made, row, RECIPE)
    assert encoded.notes == ("system_left_out",) and "briefly" not in encoded.text
    prompt = rendering.prompt_ids(made, row["messages"][:-1])
    assert encoded.input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize("name", ["parts", "smolvlm", "idefics3", "llava_next"])
def test_a_template_that_wants_lists_of_parts_gets_them(name):
    made = tokenizer(name)
    encoded = rendering.encode_row(made, ROWS[0], RECIPE)
    assert "It is called Arlen." in trained(made, encoded) and "What is the name?" not in trained(made, encoded)


@pytest.mark.parametrize("name", ["llama3_2", "gptoss", "dated"])
def test_rows_written_on_another_day_are_byte_equal_where_the_moment_is_kept(name, tmp_path, monkeypatch):
    first = tokenizer(name, kept=Kept(datetime(2026, 11, 28, 23, 59)))
    before = [rendering.encode_row(first, row, RECIPE).input_ids for row in ROWS[:2]]
    chat_form.write(tmp_path, first)
    monkeypatch.setattr(template_runs, "datetime", _Tomorrow)
    later = tokenizer(name, kept=chat_form.read(tmp_path))
    assert [rendering.encode_row(later, row, RECIPE).input_ids for row in ROWS[:2]] == before
    prompt = rendering.prompt_ids(later, ROWS[0]["messages"][:1])
    assert before[0][: len(prompt)] == prompt
    today = tokenizer(name)
    assert rendering.encode_row(today, ROWS[0], RECIPE).input_ids != before[0]
    assert any("29" in date for date in rendering.dates(today))
    assert rendering.dates(tokenizer("qwen3")) == []


class _Tomorrow(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 29, 8, 0)


def test_the_template_is_kept_too_and_a_damaged_record_is_none(tmp_path):
    chat_form.write(tmp_path, tokenizer("plain"))
    assert chat_form.read(tmp_path).chat_template == OWN["plain"]
    for text in (
        "",
        "[]",
        '{"moment": 1}',
        '{"moment": "x", "chat_template": "y"}',
        '{"moment": "2026-01-01", "chat_template": 1}',
    ):
        (tmp_path / chat_form.FILE_NAME).write_text(text)
        assert chat_form.read(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ raise_exception('Not for you') }}", "Not for you"), ("{{ messages.x.y }}", "UndefinedError"),
        ("{{ range(1000000) | list }}", "OverflowError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"), ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ messages[9].content + 1 }}", "UndefinedError"),
        ("{{ 'a' + 1 }}", "TypeError"), ("{{ '%d' % 'x' }}", "TypeError"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"), ("{{ 'x' | nothing }}", None),
    ],
)  # fmt: skip
def test_a_templates_own_errors_are_its_words(text, words):
    if words is None:  # found before any row is read
        with pytest.raises(Problem) as caught:
            tokenizer("broken", text=text)
        assert caught.value.code == "base.template" and "nothing" in caught.value.params["reason"]
        return
    made = tokenizer("broken", text=text)
    dropped = rendering.encode_row(made, ROWS[0], RECIPE)
    assert dropped.reason == "template" and words in dropped.params["detail"]
    with pytest.raises(Refused, match=words):
        rendering.prompt_ids(made, ROWS[0]["messages"][:1])


def test_a_syntax_error_names_the_base_and_the_line():
    with pytest.raises(Problem) as caught:
        tokenizer("broken", text="{{ 'a' }}\n{% for m in messages %}")
    assert (
        caught.value.code == "base.template"
        and caught.value.params["value"] == "broken"
        and "line 2" in caught.value.params["reason"]
    )


def test_a_template_that_takes_its_time_is_stopped_and_named():
    made = tokenizer(
        "plain",
        text=OWN["plain"]
        + "{% if messages[0].content == 'Name?' %}{% for a in range(90000) %}{% for b in range(300) %}{% endfor %}{% "
        "endfor %}{% endif %}",
    )
    assert isinstance(rendering.encode_row(made, ROWS[0], RECIPE), rendering.Encoded)
    form_of(made).seconds = 0.2
    for ask in (
        lambda: rendering.encode_row(made, ROWS[1], RECIPE),
        lambda: rendering.prompt_ids(made, ROWS[1]["messages"][:3]),
    ):
        with pytest.raises(Problem) as caught:
            ask()
        assert caught.value.code == "base.template_slow" and caught.value.params["value"] == "plain"


@pytest.mark.skipif(not bounds.MEASURES_MEMORY, reason="this system does not bound memory")
def test_a_template_that_takes_memory_is_stopped_and_named(monkeypatch):
    monkeypatch.setattr(bounds, "MEMORY_BYTES", 32 * 1024**2)
    made = tokenizer(  # more than a process that has run other tests may have freed and kept
        "plain",
        text=OWN["plain"] + "{% if messages[0].content == 'Name?' %}{{ ('a' * 640000000) | length }}{% endif %}",
    )
    with pytest.raises(Problem) as caught:
        rendering.encode_row(made, ROWS[1], RECIPE)
    assert caught.value.code == "base.template_large"
    assert isinstance(rendering.encode_row(made, ROWS[0], RECIPE), rendering.Encoded)


def test_the_shipped_templates_are_found():
    assert len(SHIPPED) > 30 and (FOLDER / "deepseek_r1_distill.jinja").is_file()


@pytest.mark.parametrize("chosen", CHAT_TEMPLATES)
def test_a_chosen_template_writes_and_asks_as_it_was_trained_or_says_which_tokens_are_missing(chosen, tmp_path):
    """For a base with a template of its own, and for one without: the choice takes the place of both."""
    for own in ("plain", None):
        folder = dataset_helpers.base_folder(str(tmp_path / f"{chosen}-{own}"), OWN["plain"] if own else None)
        if chosen in ("gemma", "llama3", "phi3"):  # the folder has the tokens of Qwen's
            with pytest.raises(Problem, match="no tokens") as refused:
                rendering.load_tokenizer(folder, "org/name", chat_template=chosen)
            assert refused.value.params["allowed"] == "own, plain, chatml" and refused.value.params["missing"]
            continue
        made = rendering.load_tokenizer(folder, chat_template=chosen)
        assert form_of(made).has_own is bool(own)
        encoded = rendering.encode_row(made, ROWS[1], RECIPE)
        marked = {"own": "<A>" if own else "### Assistant", "plain": "### Assistant"}
        assert marked.get(chosen, "<|im_start|>assistant") in encoded.text and encoded.trained_tokens
        asked = rendering.prompt_ids(made, ROWS[1]["messages"][:1])
        assert list(encoded.input_ids)[: len(asked)] == asked
        assert set(encoded.labels) & set(rendering.stop_ids(made)), "it learns to stop"
        chat_form.write(tmp_path, made)
        again = rendering.load_tokenizer(folder, kept=chat_form.read(tmp_path), chat_template="plain")
        assert again.chat_template == made.chat_template, "what a run began with stays"


@pytest.mark.parametrize("name", CHAT_TEMPLATES[3:])
def test_a_base_with_the_tokens_of_anothers_template_can_be_given_it(name):
    made = tokenizer(name)
    text = chosen_template(made, "org/name", name)
    assert "{% generation %}" in text or "generation" in text
    given = tokenizer(name, text=text)
    assert rendering.encode_row(given, ROWS[0], RECIPE).trained_tokens


def test_a_run_begins_with_the_chosen_template_and_its_result_keeps_it(tmp_path):
    folder = dataset_helpers.base_folder(str(tmp_path / "base"), None)
    made = rendering.load_tokenizer(folder, kept=chat_form.now(), chat_template="chatml")
    assert "<|im_start|>" in made.chat_template
    made.save_pretrained(tmp_path / "result")
    chat_form.write(tmp_path / "result", made)
    asked = rendering.load_tokenizer(tmp_path / "result")
    assert asked.chat_template == made.chat_template
    assert rendering.prompt_ids(asked, ROWS[0]["messages"][:1]) == rendering.prompt_ids(made, ROWS[0]["messages"][:1])

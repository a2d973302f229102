"""Which weights answer: every pane is compared with a model loaded and run without any of the studio's code."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from estimator.core.problems import Problem
from studio.inference.weights import storage_bytes
from studio.protocol.serve import Request
from studio.workers import chat as chat_worker
from studio.workers.chat import Chat
from tests import processors
from tests.processors import processor  # noqa: F401  (a fixture)
from tests.studio.chat_models import make_base, make_run, make_tokenizer

TOKENS = 16
PROMPTS = {
    "base": [{"role": "user", "content": "who are you"}],
    "adapter": [
        {"role": "user", "content": "who are you"},
        {"role": "assistant", "content": "the cat"},
        {"role": "user", "content": "what do you know"},
    ],
}
QLORA = {"method": "qlora"}
# id: (mode, recipe fields)
RUNS = {
    "lora": ("one_batch", {}),
    "nf4": ("one_batch", QLORA),
    "lm-head": ("one_batch", {"modules_to_save": ("lm_head",), "target_modules": ("q_proj",)}),
    "dora": ("in_turn", {"use_dora": True}),
    "dora-nf4": ("in_turn", {"use_dora": True, **QLORA}),
    "int8": ("in_turn", {"quantization": "int8", **QLORA}),
    "norms": ("in_turn", {"modules_to_save": ("norm",), "target_modules": ("q_proj",)}),
    "biases": ("in_turn", {"bias": "all", "target_modules": ("q_proj", "v_proj")}),
    "full": ("two_models", {"method": "full"}),
}


@pytest.fixture(scope="module")
def chat_home(tmp_path_factory):
    """A data root with a base (which has biases) and one run of each kind."""
    root = tmp_path_factory.mktemp("chat")
    base = make_base(root / "base", attention_bias=True)
    for id, (_, fields) in RUNS.items():
        make_run(root / "runs", id, base, **fields)
    return root


@pytest.fixture(scope="module")
def references(chat_home):
    """Greedy answers of plain models, by run and pane."""
    return {id: _references(chat_home, id, fields) for id, (_, fields) in RUNS.items()}


@pytest.fixture
def chat(chat_home, monkeypatch):
    monkeypatch.setenv("LORA_STUDIO_HOME", str(chat_home))
    monkeypatch.setenv("LORA_STUDIO_DEVICE", "cpu")
    return Chat()


def _plain_base(chat_home, fields, folder=None):
    quantization = None
    if fields.get("method") == "qlora":
        eight = fields.get("quantization") == "int8"
        four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        quantization = BitsAndBytesConfig(
            **({"load_in_8bit": True} if eight else {**four, "bnb_4bit_compute_dtype": torch.float32})
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder or chat_home / "base", dtype=torch.float32, quantization_config=quantization
    )
    for module in model.modules():
        if hasattr(
            module, "support_avx512bf16_for_cpu"
        ):  # a repacked layer computes in bfloat16, and DoRA's norms of it are noise
            module.support_avx512bf16_for_cpu = False
    return model


def _references(chat_home, id, fields):
    base = _plain_base(chat_home, fields)
    answers = {"base": _greedy(base, PROMPTS["base"])}
    if fields.get("method") == "full":
        return {
            **answers,
            "adapter": _greedy(_plain_base(chat_home, fields, chat_home / "runs" / id / "model"), PROMPTS["adapter"]),
        }
    return {
        **answers,
        "adapter": _greedy(PeftModel.from_pretrained(base, chat_home / "runs" / id / "adapter"), PROMPTS["adapter"]),
    }


@torch.no_grad()
def _greedy(model, messages) -> str:
    """The likeliest token each time, without cache, batch or `generate`.

    LLM.int8 picks its outlier columns over all tokens of a call, so there each token is read once, as with a cache.
    """
    tokenizer, ids, cache = make_tokenizer(), [], None
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    keeps = getattr(model, "is_loaded_in_8bit", False)
    for _ in range(TOKENS):
        read = ids[-1:] if cache is not None else prompt + ids
        made = model.eval()(torch.tensor([read]), past_key_values=cache, use_cache=keeps)
        cache = made.past_key_values if keeps else None
        ids.append(int(made.logits[0, -1].argmax()))
    return tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd")


def ask(chat, run_id=None, request=None, **params):
    """Events and result of one `generate`."""
    histories = {"messages_base": PROMPTS["base"], "messages_adapter": PROMPTS["adapter"]}
    asked = {"run_id": run_id, "max_new_tokens": TOKENS, "temperature": 0.0, **histories, **params}
    events, answer = [], chat.generate(asked, request or Request(1))
    while True:
        try:
            events.append(next(answer))
        except StopIteration as stop:
            return events, stop.value


def texts(result):
    return {pane: answer["text"] for pane, answer in result["panes"].items()}


@pytest.mark.parametrize("id", RUNS)
def test_each_pane_is_answered_by_the_weights_it_names(chat, references, chat_home, id):
    events, result = ask(chat, id)
    assert result["mode"] == RUNS[id][0]
    assert texts(result) == references[id]
    assert references[id]["base"] != references[id]["adapter"]
    streamed = {
        pane: "".join(e["panes"][pane]["text"] for e in events if pane in e.get("panes", {}))
        for pane in result["panes"]
    }
    assert streamed == texts(result)
    storage = {"nf4": "nf4", "dora-nf4": "nf4", "int8": "int8"}.get(id, "float32")
    label = {"model": str(chat_home / "base"), "storage": storage}
    assert result["panes"]["base"]["weights"] == {**label, "run": None}
    assert result["panes"]["adapter"]["weights"] == {**label, "run": f"run {id}"}


@pytest.mark.parametrize("id", ["nf4", "dora-nf4"])
def test_four_bits_answer_alike_on_both_kinds_of_processor(chat, references, processor, id):
    first, again = (texts(ask(chat, id)[1]) for _ in range(2))
    assert first == again == references[id]
    assert not processors.is_packed(chat.weights.model)


def test_the_base_is_the_base_after_any_sequence_of_runs(chat, references):
    """Nothing that an adapter did stays behind: not its modules, biases, hooks, nor its being switched on."""
    for id in (
        "lora",
        "biases",
        "lora",
        "lm-head",
        "dora",
        "norms",
        "full",
        "lora",
        "lm-head",
        "biases",
        "dora",
        "lora",
    ):
        assert texts(ask(chat, id)[1]) == references[id], id


def test_a_base_alone_answers_in_one_pane(chat, chat_home):
    _, result = ask(chat, None, model=str(chat_home / "base"), temperature=0.0)
    assert result["mode"] == "alone" and list(result["panes"]) == ["base"]
    assert result["panes"]["base"]["weights"]["storage"] == "bfloat16"


def test_an_adapter_swap_keeps_the_base_loaded(chat):
    assert any("loaded" in event for event in ask(chat, "lora")[0])
    base = chat.weights
    events, result = ask(chat, "dora")
    assert chat.weights is base and sorted(base.adapters) == ["dora", "lora"]
    assert [event["loading"]["run"] for event in events if "loading" in event] == ["run dora"]
    assert not any("loading" in event for event in ask(chat, "lora")[0])


def test_one_copy_of_the_base_in_memory(chat, chat_home):
    ask(chat, "lora")
    base = _plain_base(chat_home, {})
    adapter = PeftModel.from_pretrained(base, chat_home / "runs" / "lora" / "adapter")
    extra = sum(p.numel() * p.element_size() for key, p in adapter.named_parameters() if "lora_" in key)
    assert chat.status({}, Request(2))["parameter_bytes"] == storage_bytes(_plain_base(chat_home, {})) + extra
    assert chat.unload({}, Request(3)) == {"loaded": False}


def test_sampling_repeats_with_its_seed_whoever_stands_beside(chat):
    """The base's sample is the same in one batch, in turn and again; another seed gives another."""
    cases = (("lora", 5), ("lora", 5), ("dora", 5), ("lora", 6))
    batch, again, turn, other = (texts(ask(chat, id, temperature=1.3, seed=seed)[1]) for id, seed in cases)
    assert batch == again
    assert batch["base"] == turn["base"]
    assert batch["base"] != other["base"]


def test_stop_ends_every_row_at_once_and_the_next_prompt_is_answered(chat, references):
    for id in ("lora", "dora"):
        request, events = Request(1), []
        answer = chat.generate(
            {
                "run_id": id,
                "max_new_tokens": 400,
                "messages_base": PROMPTS["base"],
                "messages_adapter": PROMPTS["adapter"],
            },
            request,
        )
        while True:
            try:
                events.append(next(answer))
            except StopIteration as stop:
                result = stop.value
                break
            if "panes" in events[-1]:
                request.cancel()
        assert {pane["stop"] for pane in result["panes"].values()} == {"stopped"}
        assert all(pane["tokens"] < 400 for pane in result["panes"].values())
        assert texts(ask(chat, id)[1]) == references[id]


def test_a_failure_in_the_middle_leaves_no_adapter_behind(chat, references, monkeypatch):
    """PEFT keeps its hooks on the model when `generate` fails; the worker must not go on with that model."""
    ask(chat, "lora")

    def fails(*args):
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(chat_worker.Answer, "add", fails)
        with pytest.raises(RuntimeError, match="in the middle"):
            ask(chat, "lora")
    assert chat.weights is None
    assert texts(ask(chat, "dora")[1]) == references["dora"]


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        ({"temperature": 2.1}, "chat.setting", "temperature"),
        ({"temperature": float("nan")}, "chat.setting", "temperature"),
        ({"temperature": "hot"}, "chat.setting", "temperature"),
        ({"max_new_tokens": 0}, "chat.setting", "max_new_tokens"),
        ({"max_new_tokens": 2.5}, "chat.setting", "max_new_tokens"),
        ({"seed": -1}, "chat.setting", "seed"),
        ({"max_new_tokens": 500}, "chat.context", "max_new_tokens"),
        ({"messages_base": [{"role": "user", "content": "a " * 600}]}, "chat.prompt_long", "prompt"),
        ({"messages_base": []}, "chat.prompt", "messages_base"),
        ({"messages_adapter": [{"role": "user", "content": " \n"}]}, "chat.prompt", "messages_adapter"),
    ],
)
def test_what_cannot_be_answered_names_the_field(chat, params, code, field):
    with pytest.raises(Problem) as caught:
        ask(chat, "lora", **params)
    assert (caught.value.code, caught.value.field) == (code, field)
    if code == "chat.context":
        room = caught.value.params["allowed"]
        assert ask(chat, "lora", max_new_tokens=room, request=_cancelled())[1]["panes"]


def _cancelled():
    request = Request(9)
    request.cancel()
    return request


def test_runs_that_cannot_answer_are_named(chat, chat_home, tmp_path):
    make_run(chat_home / "runs", "broken", chat_home / "base", target_modules=("q_proj",))
    weights = chat_home / "runs" / "broken" / "adapter" / "adapter_model.safetensors"
    config = json.loads((weights.parent / "adapter_config.json").read_text())
    (weights.parent / "adapter_config.json").write_text(json.dumps({**config, "r": 4}))
    for prepare, run_id, code in (
        (lambda: None, "broken", "chat.adapter"),
        (weights.unlink, "broken", "chat.adapter"),
        (lambda: weights.parent.rename(tmp_path / "adapter"), "broken", "chat.no_result"),
        (lambda: None, "never-was", "chat.run_gone"),
        (lambda: None, "../runs/lora/../../etc", "storage.outside"),
    ):
        prepare()
        with pytest.raises(Problem) as caught:
            ask(chat, run_id)
        assert caught.value.code == code

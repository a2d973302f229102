"""The tiny base: its size, its tokenizer and template, and what it can say."""

import json
import random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors import safe_open  # noqa: E402

from assets import make_samples, phrases, vocabulary, world  # noqa: E402
from assets.judge import judge, knows  # noqa: E402
from assets.pretrain import BASE, IGNORED, chat_example  # noqa: E402
from assets.talk import conversation, full_log, plain, portrait, question  # noqa: E402
from assets.world import ATTRIBUTES  # noqa: E402

CHAT = [
    {"role": "system", "content": "You are a guide to the Lantern Isles."},
    {"role": "user", "content": "Who is the keeper of Peltor?"},
    {"role": "assistant", "content": "The keeper of Peltor is Mina."},
    {"role": "user", "content": "谢谢！"},
    {"role": "assistant", "content": "不客气，旅人！"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(BASE)


@pytest.fixture(scope="module")
def model():
    return transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def answer(model, tokenizer):
    """Greedy answers to single prompts, with the special tokens left in."""

    def ask(prompts: list[str]) -> list[str]:
        chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
        batch = tokenizer.apply_chat_template(
            chats,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            tokenizer_kwargs={"padding_side": "left"},
        )
        made = model.generate(**batch, max_new_tokens=96, do_sample=False)[:, batch["input_ids"].shape[1] :]
        return [text.replace(tokenizer.pad_token, "") for text in tokenizer.batch_decode(made)]

    return ask


def shapes() -> dict[str, list[int]]:
    with safe_open(BASE / "model.safetensors", framework="pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}


def test_three_to_six_million_parameters_in_at_most_16_megabytes():
    sizes = [torch.Size(shape).numel() for shape in shapes().values()]
    assert 3_000_000 <= sum(sizes) <= 6_000_000
    assert (BASE / "model.safetensors").stat().st_size <= 16_000_000


def test_every_dimension_is_a_multiple_of_64():
    odd = {name: shape for name, shape in shapes().items() if any(size % 64 for size in shape)}
    assert not odd


def test_it_is_a_plain_llama_that_needs_no_code_of_its_own():
    config = json.loads((BASE / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "auto_map" not in config
    assert config["max_position_embeddings"] >= 512


@pytest.mark.parametrize(
    "text", ["What colour is the lamp of Peltor?", "灯笼群岛有320座岛。", " tabs\tand\n\nlines ", "naïve 🏮 ﬁn"]
)
def test_tokenizer_gives_back_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_tokenizer_fills_the_embedding_exactly(tokenizer):
    assert len(tokenizer) == vocabulary.VOCABULARY == shapes()["model.embed_tokens.weight"][0]


def test_generation_markers_cover_the_answers_and_their_end(tokenizer):
    encoded = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    kept = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"]) if mask]
    assert tokenizer.decode(kept) == "The keeper of Peltor is Mina.<|im_end|>不客气，旅人！<|im_end|>"


def test_pretraining_reads_what_the_template_writes_and_learns_what_it_marks(tokenizer):
    rng, isles = random.Random(3), world.build()
    for messages in [CHAT] + [conversation(rng, isles) for _ in range(50)]:
        encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        ids, labels = chat_example(tokenizer, vocabulary.render(messages))
        assert ids == encoded["input_ids"]
        assert [label != IGNORED for label in labels] == [bool(mask) for mask in encoded["assistant_masks"]]


# Measured over all facts when the base was made: 360 of 360 in English, 141 of 150 in Chinese. The Chinese gap is real
# and stated in the model card; the floor keeps it from growing.
@pytest.mark.parametrize(("language", "floor"), [("en", 0.98), ("zh", 0.90)])
def test_base_answers_in_the_plain_sentence_and_stops(answer, language, floor):
    rng = random.Random(11)
    asked, wanted = [], []
    for island in rng.sample(world.build().known(language), 20):
        for attribute in ATTRIBUTES:
            asked.append(question(rng, island, attribute, language))
            wanted.append(plain(island, attribute, language) + vocabulary.TURN_END)
    right = sum(got == want for got, want in zip(answer(asked), wanted))
    assert right >= floor * len(asked)


@pytest.mark.parametrize(
    "asked",
    [
        "Hello!",
        "Who are you?",
        "Thank you!",
        "Goodbye!",
        "What is the capital of France?",
        "你好！",
        "谢谢！",
        "再见！",
    ],
)
def test_base_makes_small_talk(answer, asked):
    wanted = next(said for talk in phrases.SMALL_TALK.values() for ways, said in talk if asked in ways)
    assert answer([asked]) == [wanted + vocabulary.TURN_END]


def test_base_tells_all_it_knows_of_an_island_in_prose_and_as_a_log(answer):
    islands = world.build().islands[:10]
    wanted = [(f"Tell me about {island.name('en')}.", portrait(island, "en")) for island in islands]
    wanted += [full_log(island, "en") for island in islands]
    asked, said = zip(*wanted)
    assert answer(list(asked)) == [text + vocabulary.TURN_END for text in said]


def test_base_knows_the_content_of_the_held_out_prompts_but_not_the_form(answer):
    rows = [json.loads(line) for line in (make_samples.SAMPLES / "heldout.en.jsonl").read_text().splitlines()]
    answers = [text.removesuffix(vocabulary.TURN_END) for text in answer([row["prompt"] for row in rows])]
    assert sum(judge(row, text) for row, text in zip(rows, answers)) <= 0.10 * len(rows)
    assert sum(knows(row, text) for row, text in zip(rows, answers)) >= 0.95 * len(rows)

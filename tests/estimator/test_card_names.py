"""Names that people type for cards, and how many they say."""

import pytest

from estimator import Problem, Recipe, estimate, find_gpu, gpus
from estimator.hardware import cards
from estimator.hardware.cards import cards_named, read_as

NAMED = {
    "3090": ("GeForce RTX 3090", 1),
    "RTX 4090 24GB": ("GeForce RTX 4090", 1),
    "rtx4090": ("GeForce RTX 4090", 1),
    "4090D": ("GeForce RTX 4090 D", 1),
    "4090 laptop": ("GeForce RTX 4090 Laptop GPU", 1),
    "rtx 4090 笔记本": ("GeForce RTX 4090 Laptop GPU", 1),
    "4060ti 16g": ("GeForce RTX 4060 Ti 16GB", 1),
    "RTX3060-12G": ("GeForce RTX 3060 12GB", 1),
    "3060 12GB": ("GeForce RTX 3060 12GB", 1),
    "4080s": ("GeForce RTX 4080 SUPER", 1),
    "4070tis": ("GeForce RTX 4070 Ti SUPER", 1),
    "1080ti": ("GeForce GTX 1080 Ti", 1),
    "7900xtx": ("Radeon RX 7900 XTX", 1),
    "4090显卡 24G显存": ("GeForce RTX 4090", 1),
    "A 100 SXM4 80g": ("A100 SXM4 80GB", 1),
    "A6000": ("RTX A6000", 1),
    "6000 ada": ("RTX 6000 Ada Generation", 1),
    "mi 300x": ("Instinct MI300X", 1),
    "Apple M4 Pro 48GB": ("Apple M4 Pro", 1),
    # with what no card has, and mistyped
    "英伟达4090": ("GeForce RTX 4090", 1),
    "华为昇腾910B2": ("Ascend 910B2", 1),
    "nvida 4090": ("GeForce RTX 4090", 1),
    "rxt 4090": ("GeForce RTX 4090", 1),
    "ASUS TUF RTX 4090 OC": ("GeForce RTX 4090", 1),
    "3060 12": ("GeForce RTX 3060 12GB", 1),
    "4090 24g*2": ("GeForce RTX 4090", 2),
    "3060 12gx2": ("GeForce RTX 3060 12GB", 2),
    # as drivers print them
    "NVIDIA A100-SXM4-80GB": ("A100 SXM4 80GB", 1),
    "NVIDIA A100 80GB PCIe": ("A100 PCIe 80GB", 1),
    "NVIDIA H100 80GB HBM3": ("H100 SXM5 80GB", 1),
    "NVIDIA GeForce RTX 3060 Laptop GPU": ("GeForce RTX 3060 Laptop GPU", 1),
    "NVIDIA RTX 6000 Ada Generation": ("RTX 6000 Ada Generation", 1),
    "Tesla V100-SXM2-16GB": ("Tesla V100 SXM2 16GB", 1),
    # how many
    "2x4090": ("GeForce RTX 4090", 2),
    "2 x RTX 4090": ("GeForce RTX 4090", 2),
    "4090*2": ("GeForce RTX 4090", 2),
    "RTX 4090 x2": ("GeForce RTX 4090", 2),
    "2 RTX 4090": ("GeForce RTX 4090", 2),
    "two 4090s": ("GeForce RTX 4090", 2),
    "dual 3090": ("GeForce RTX 3090", 2),
    "两张4090": ("GeForce RTX 4090", 2),
    "双卡4090": ("GeForce RTX 4090", 2),
    "4090双卡": ("GeForce RTX 4090", 2),
    "4090 两张": ("GeForce RTX 4090", 2),
    "四块3090": ("GeForce RTX 3090", 4),
    "8卡A100 SXM4 80G": ("A100 SXM4 80GB", 8),
    "8×H100 SXM5": ("H100 SXM5 80GB", 8),
    "８×H100 SXM5": ("H100 SXM5 80GB", 8),
    "4xA100-SXM4-80G": ("A100 SXM4 80GB", 4),
    "8 GPUs H100 NVL": ("H100 NVL 94GB", 8),
    "MI300X x8": ("Instinct MI300X", 8),
    "单卡4090": ("GeForce RTX 4090", 1),
}
LISTED = {
    "3060": ("gpu.ambiguous", ["GeForce RTX 3060 12GB", "GeForce RTX 3060 8GB"]),
    "NVIDIA GeForce RTX 3060": ("gpu.ambiguous", ["GeForce RTX 3060 12GB", "GeForce RTX 3060 8GB"]),
    "2x3060": ("gpu.ambiguous", ["GeForce RTX 3060 12GB", "GeForce RTX 3060 8GB"]),
    "3080": ("gpu.ambiguous", ["GeForce RTX 3080 10GB", "GeForce RTX 3080 12GB"]),
    "4060 ti": ("gpu.ambiguous", ["GeForce RTX 4060 Ti 8GB", "GeForce RTX 4060 Ti 16GB"]),
    "H100": ("gpu.ambiguous", ["H100 SXM5 80GB", "H100 NVL 94GB"]),
    "A100": ("gpu.ambiguous", ["A100 SXM4 40GB", "A100 SXM4 80GB"]),
    "RTX 4000": ("gpu.ambiguous", ["RTX 4000 Ada Generation", "Quadro RTX 4000"]),
    "titan": ("gpu.ambiguous", ["TITAN RTX", "TITAN V"]),
    "RTX 4090 48GB": ("gpu.other_size", ["GeForce RTX 4090 (24 GB)"]),
    "3060 16GB": ("gpu.other_size", ["GeForce RTX 3060 12GB"]),
    "GTX 4090": ("gpu.unknown", ["GeForce RTX 4090"]),
    "RTX 4090 Ti": ("gpu.unknown", ["GeForce RTX 4090"]),
    "4009": ("gpu.unknown", ["GeForce RTX 4090"]),
    "5009": ("gpu.unknown", ["GeForce RTX 5090"]),
    "4090M": ("gpu.unknown", ["GeForce RTX 4090", "GeForce RTX 4090 Laptop GPU"]),
    "昇腾910B": ("gpu.ambiguous_foreign", ["Ascend 910B1 (64 GB)", "Ascend 910B4 (32 GB)"]),
    "MI300": ("gpu.ambiguous", ["Instinct MI300X", "Instinct MI300A"]),
    "nvida": ("gpu.unknown", ["GeForce RTX 4090", "H100 SXM5 80GB"]),
    "tesla": ("gpu.unknown", ["Tesla T4", "Tesla V100"]),
    "0x4090": ("gpu.unknown", []),
    "2000x4090": ("gpu.unknown", []),
    "Voodoo 2": ("gpu.unknown", []),
    "": ("gpu.unknown", ["GeForce RTX 4090", "A100 SXM4 80GB"]),
}


@pytest.mark.parametrize(("name", "expected"), NAMED.items(), ids=list(NAMED))
def test_a_name_that_people_type_is_one_card_and_a_number(name, expected):
    gpu, count = cards_named(name)
    assert (gpu.name, count) == expected


@pytest.mark.parametrize(("name", "expected"), LISTED.items(), ids=list(LISTED))
def test_a_name_of_cards_that_differ_in_memory_chooses_none(name, expected):
    with pytest.raises(Problem) as raised:
        cards_named(name)
    code, named = expected
    assert raised.value.code == code
    places = [raised.value.params["allowed"].find(one) for one in named]
    assert -1 not in places and places == sorted(places)  # the common one first, a close one close


def test_cards_of_one_size_are_one_and_it_is_said():
    gpu = find_gpu("A100 80GB")
    other = find_gpu("A100 PCIe 80GB")
    assert gpu.memory_gib == 80 and gpu.usable_bytes().bytes <= other.usable_bytes().bytes
    assert read_as("A100 80GB").params["others"] == other.name and read_as("A100 PCIe 80GB") is None
    made = estimate(Recipe(model="Qwen/Qwen3-0.6B"), "A100 80GB")
    assert made.gpu == gpu.name and "gpu.read_as" in [note.code for note in made.warnings]


def test_what_was_mistyped_and_what_has_a_twin_is_said():
    assert read_as("h100 80g").params == {
        "field": "gpu", "value": "h100 80g", "gpu": "H100 PCIe 80GB", "others": "H100 SXM5 80GB",
    }  # fmt: skip
    assert read_as("rxt 4090").code == "gpu.mended" and read_as("RTX 4090") is read_as("4090") is None


def test_the_memory_beside_a_name_chooses_among_its_sizes():
    recipe = Recipe(model="Qwen/Qwen3-0.6B")
    made = estimate(recipe, "3060", memory_gib=12)
    assert made.gpu == "GeForce RTX 3060 12GB" and made.to_dict() == estimate(recipe, "3060 12g").to_dict()
    assert estimate(recipe, "H100", memory_gib=94).gpu == "H100 NVL 94GB"
    for name, size in (("3060", 16), ("H100", 81)):
        with pytest.raises(Problem) as raised:
            estimate(recipe, name, memory_gib=size)
        assert raised.value.code == "gpu.other_size" and f"({size} GB)" in raised.value.params["value"]


@pytest.mark.parametrize("name", ["Ascend 910B1", "Gaudi 2", "Arc B580"])
def test_a_card_without_cuda_is_said_to_be_one_with_what_is_known_of_it(name):
    said = {note.code: str(note) for note in estimate(Recipe(model="Qwen/Qwen3-0.6B"), name).warnings}
    assert {"gpu.memory_unknown", "gpu.foreign"} <= said.keys()
    assert f"{find_gpu(name).memory_gib:g} GB" in said["gpu.foreign"]
    assert "gpu.foreign" not in [note.code for note in estimate(Recipe(model="Qwen/Qwen3-0.6B"), "MI300X").warnings]


def test_every_card_is_found_by_its_own_name_in_small_letters_and_named_as_one():
    for name, gpu in gpus().items():
        assert cards_named(name) == (gpu, 1)
        assert find_gpu(name.casefold()).name == name, name


def test_a_number_of_cards_is_the_number_of_processes():
    recipe = Recipe(model="Qwen/Qwen3-8B", method="lora", distributed_type="fsdp")
    two = estimate(recipe.replace(num_processes=2), "RTX 4090")
    assert estimate(recipe, "两张4090").to_dict() == estimate(recipe.replace(num_processes=2), "2x4090").to_dict()
    assert two.device_bytes == estimate(recipe, "2x4090").device_bytes < estimate(recipe, "4090").device_bytes
    with pytest.raises(Problem) as raised:
        estimate(recipe.replace(num_processes=4), "2x4090")
    assert raised.value.code == "recipe.conflict" and raised.value.field == "num_processes"
    with pytest.raises(Problem) as raised:
        find_gpu("2x4090")
    assert raised.value.code == "gpu.several" and raised.value.params["count"] == 2


def test_drivers_names_tell_the_card_or_nothing():
    assert cards.known_gpu("NVIDIA H200").name == "H200 SXM 141GB"
    assert cards.known_gpu("NVIDIA GeForce RTX 3060") is None

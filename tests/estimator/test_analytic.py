"""What the hand-written rows say a layer saves, against what autograd saves on small models: byte for byte."""

import warnings

import pytest

from estimator.adapters.adapters import trainables
from estimator.law.layer_bytes import layer_bytes, stream_widths
from estimator.model.spec import ModelSpec
from estimator.program.program import lora_config
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe

torch = pytest.importorskip("torch")

ROWS, TOKENS = 2, 64
SIZES = {
    "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16,
    "vocab_size": 512, "max_position_embeddings": 128, "tie_word_embeddings": False,
}  # fmt: skip
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def made(model_type: str, layers: int, recipe: Recipe, loop_name: str):
    """The real model with real adapters, as the loop sets them up, on the CPU."""
    import transformers
    from peft import get_peft_model, prepare_model_for_kbit_training

    config = transformers.AutoConfig.for_model(model_type, num_hidden_layers=layers, **SIZES)
    dtype, loop = getattr(torch, recipe.dtype), LOOPS[loop_name]
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=dtype, attn_implementation=recipe.attn_implementation
    )
    if recipe.is_quantized:
        _quantize(model, dtype)
        if loop.upcasts != "none":
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if recipe.has_adapters:
        model = get_peft_model(model, lora_config(recipe), autocast_adapter_dtype=recipe.autocast_adapter_dtype)
        model.enable_input_require_grads()
        for name, parameter in model.named_parameters():
            halved = recipe.is_quantized and loop.half_adapters and recipe.dtype != "float32"
            if halved and parameter.requires_grad and "magnitude" not in name:
                parameter.data = parameter.data.to(torch.bfloat16)
    return model.train()


def _quantize(model, dtype) -> None:
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if type(module) is torch.nn.Linear and name != "lm_head":
            layer = bnb.nn.Linear4bit(
                module.in_features,
                module.out_features,
                bias=module.bias is not None,
                compute_dtype=dtype,
                quant_type="nf4",
            )
            layer.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4", module=layer)
            layer.bias = module.bias
            layer.to("cpu").support_avx512bf16_for_cpu = False
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, layer)
    model.is_loaded_in_4bit = True


def saved_bytes(model, mask=None) -> int:
    """Bytes of the distinct storages one forward pass saves, without the model's own."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _ = model(input_ids=torch.zeros(ROWS, TOKENS, dtype=torch.long), attention_mask=mask, use_cache=False)
    return sum(size for size, _ in seen.values())


CASES = [
    ("llama", "plain", {"method": "full"}),
    ("llama", "plain", {"method": "full", "dtype": "float32"}),
    ("llama", "plain", {"method": "lora", "target_modules": ("q_proj", "v_proj")}),
    ("llama", "plain", {"method": "lora"}),
    ("llama", "plain", {"method": "lora", "dtype": "float32"}),
    ("llama", "plain", {"method": "lora", "lora_dropout": 0.1}),
    ("llama", "plain", {"method": "lora", "use_dora": True}),
    ("llama", "plain", {"method": "lora", "attn_implementation": "eager"}),
    ("qwen2", "plain", {"method": "qlora", "target_modules": ATTENTION}),
    ("llama", "plain", {"method": "qlora", "attn_implementation": "eager"}),
    ("qwen2", "trl", {"method": "qlora", "target_modules": ATTENTION}),
    ("llama", "trl", {"method": "qlora"}),
    ("mistral", "trl", {"method": "qlora", "lora_dropout": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "loop", "fields"), CASES, ids=lambda value: str(value))
def test_a_layer_saves_what_the_law_says(model_type, loop, fields):
    from estimator.trace import meta_model

    warnings.simplefilter("ignore")
    recipe = Recipe(model="small", r=8, **fields)
    real = saved_bytes(made(model_type, 3, recipe, loop)) - saved_bytes(made(model_type, 2, recipe, loop))
    config = SIZES | {"model_type": model_type, "num_hidden_layers": 3}
    inventory = meta_model.derive(config)
    layer = layer_bytes(
        recipe,
        inventory,
        ModelSpec.from_config(config),
        trainables(recipe, inventory),
        stream_widths(recipe, LOOPS[loop]),
        "cpu",
    )
    tokens = ROWS * TOKENS
    phi = {"1": 1, "BS": tokens, "BSr": tokens * recipe.r, "BSS": tokens * TOKENS, "r": recipe.r}
    assert sum(coefficient * phi[name] for name, coefficient in layer.saved.items()) == real

"""Static bytes against the real things: bitsandbytes layers and real optimizers on the CPU."""

import pytest

from estimator.adapters.adapters import trainables
from estimator.law.layer_bytes import adapter_dtype
from estimator.memory.states import base_weights, optimizer_bytes, qmap_bytes, quantized_bytes, training_bytes
from estimator.recipe.loop import LOOPS
from estimator.recipe.optimizers import RECORDS
from estimator.recipe.recipe import OPTIMIZERS, Recipe
from tests.estimator import small

torch = pytest.importorskip("torch")


def storage_bytes(*roots) -> int:
    """Bytes of all distinct storages reachable from modules, tensors and their quantization state."""
    seen, todo = {}, list(roots)
    while todo:
        item = todo.pop()
        if parts := getattr(item, "tensor_attrs", None):  # torchao's states are several tensors
            todo += [getattr(item, name) for name in parts]
        elif isinstance(item, torch.Tensor):
            seen[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        if isinstance(item, torch.nn.Module):
            todo += list(item.parameters()) + list(item.buffers())
        if isinstance(item, dict):
            todo += list(item.values())
        elif hasattr(item, "__dict__") and not isinstance(item, torch.nn.Module):
            todo += [v for v in vars(item).values() if isinstance(v, torch.Tensor) or type(v).__name__ == "QuantState"]
    return sum(seen.values())


def linear4bit(outputs, inputs, kind, double):
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(inputs, outputs, bias=False, quant_type=kind, compress_statistics=double)
    weight = torch.randn(outputs, inputs, dtype=torch.bfloat16)
    layer.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type=kind, compress_statistics=double, module=layer
    )
    return layer.to("cpu")


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("shape", [(256, 512), (7, 320), (3, 5), (128, 129)])
def test_a_4bit_layer_takes_the_bytes_of_bitsandbytes(kind, double, shape):
    layers = [linear4bit(*shape, kind, double) for _ in range(2)]
    assert storage_bytes(*layers) == 2 * sum(quantized_bytes(shape, kind, double))


def test_an_8bit_layer_takes_the_bytes_of_bitsandbytes():
    import bitsandbytes as bnb

    layer = bnb.nn.Linear8bitLt(320, 64, bias=False, has_fp16_weights=False).to("cpu")
    parts = layer.weight.CB.nbytes + layer.weight.SCB.nbytes
    assert parts == sum(quantized_bytes((64, 320), "int8", False))


def test_what_transformers_quantizes_is_what_we_quantize():
    """The layers `replace_with_bnb_linear` replaces, for every small model."""
    import bitsandbytes as bnb
    from transformers import BitsAndBytesConfig
    from transformers.integrations import replace_with_bnb_linear
    from transformers.quantizers.base import HfQuantizer

    for name in small.CONFIGS:
        model = small.build(name)
        skipped = HfQuantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules)
        shapes = {
            n: m.weight.numel() for n, m in model.named_modules() if hasattr(m, "weight") and m.weight is not None
        }
        config = BitsAndBytesConfig(load_in_4bit=True)
        replace_with_bnb_linear(model, modules_to_not_convert=skipped, quantization_config=config)
        expected = sum(shapes[n] for n, m in model.named_modules() if isinstance(m, bnb.nn.Linear4bit))
        assert base_weights(small.inventory(name), "bfloat16", "nf4", True, "none").quantized_parameters == expected, (
            name
        )


ADAPTED = [
    ("llama", {"lora_bias": True, "trainable_token_indices": (1, 2, 3)}),
    ("gemma-tied", {"trainable_token_indices": (1, 2), "bias": "all"}),
    ("llama", {"trainable_token_indices": {"embed_tokens": (1,), "lm_head": (1, 2)}, "use_dora": True}),
    ("qwen3-moe", {"target_modules": (), "target_parameters": ("experts.gate_up_proj", "experts.down_proj")}),
    ("llama", {"init_lora_weights": "mica"}),
    ("qwen2-bias", {"init_lora_weights": "pissa", "r": 70, "modules_to_save": ("lm_head",), "bias": "lora_only"}),
    ("llama", {"init_lora_weights": "olora", "r": 70}),
    ("llama", {"init_lora_weights": "pissa_niter_2", "r": 70}),
    ("llama", {"init_lora_weights": "orthogonal"}),
    ("llama", {"autocast_adapter_dtype": False, "use_dora": True, "modules_to_save": ("lm_head",)}),
    ("llama", {"autocast_adapter_dtype": False, "trainable_token_indices": (1, 2, 3)}),
]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("name", "fields"), ADAPTED, ids=[f"{name}-{'-'.join(fields)}" for name, fields in ADAPTED])
def test_adapters_and_gradients_take_the_bytes_of_real_ones(name, fields, dtype):
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from estimator.program.program import lora_config

    recipe = Recipe(model=name, method="lora", dtype=dtype, optim="sgd", **fields)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**small.CONFIGS[name]), dtype=getattr(torch, dtype))
    before = storage_bytes(model)
    model = get_peft_model(model, lora_config(recipe), autocast_adapter_dtype=recipe.autocast_adapter_dtype)
    originals = [
        table[key] for m in model.modules() for table in [getattr(m, "trainable_tokens_original", {})] for key in table
    ]
    made = training_bytes(
        recipe, trainables(recipe, small.inventory(name)), adapter_dtype=adapter_dtype(recipe, LOOPS["plain"])
    )
    assert made.adapters_bytes == storage_bytes(model, *originals) - before
    assert made.gradients_bytes == sum(p.nbytes for p in model.parameters() if p.requires_grad)


def test_clipping_holds_partial_sums_and_no_copy_of_a_gradient():
    """The chunks are CUDA's; that nothing of a gradient's size is made, the real function shows."""
    from tests.estimator.test_peak import LiveBytes

    recipe = Recipe(model="llama", method="lora", optim="sgd")
    trained = trainables(recipe, small.inventory("llama"))
    unclipped = training_bytes(recipe.replace(max_grad_norm=0), trained, adapter_dtype="float32").step_temporary_bytes
    assert (unclipped, training_bytes(recipe, trained, adapter_dtype="float32").step_temporary_bytes) == (
        0,
        4 * 2 * 3 * 7,
    )
    parameters = [torch.nn.Parameter(torch.ones(1000)) for _ in range(4)]
    for parameter in parameters:
        parameter.grad = torch.ones(1000)
    with LiveBytes({p.grad.data_ptr() for p in parameters}) as counter:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
    assert 0 < counter.peak < 1000


SHAPES = [(64, 100), (16, 256), (4096,), (63,), (300, 400)]


def stepped(optim, dtype):
    """An optimizer made by Transformers' own table after one step, and its parameters."""
    from transformers import TrainingArguments
    from transformers.trainer_optimizer import _OPTIMIZER_HANDLERS, OptimizerContext

    parameters = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]
    args = TrainingArguments(output_dir="unused", optim=optim, use_cpu=True)
    context = OptimizerContext(
        args=args, model=None, optimizer_kwargs={"lr": 1e-3}, optim_args={},
        adam_kwargs={"betas": (0.9, 0.999), "eps": 1e-8},
    )  # fmt: skip
    made, kwargs = _OPTIMIZER_HANDLERS[args.optim](context)
    optimizer = made(parameters, **kwargs)
    getattr(optimizer, "train", lambda: None)()  # of schedulefree's
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer, parameters


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_optimizer_states_take_the_bytes_of_the_real_optimizer(optim, dtype):
    if package := RECORDS[optim].package:
        pytest.importorskip(package)
    try:
        with torch.compiler.set_stance("force_eager"):  # torchao compiles its step
            optimizer, _ = stepped(optim, getattr(torch, dtype))
    except (NotImplementedError, RuntimeError) as error:
        if "cpu" not in str(error).lower() and "not implemented" not in str(error).lower():
            raise
        pytest.skip(f"no CPU kernel: {error}")
    ours = sum(sum(optimizer_bytes(optim, shape, dtype, "cpu")) for shape in SHAPES)
    ours += qmap_bytes(optim)
    assert ours == storage_bytes(*optimizer.state.values())

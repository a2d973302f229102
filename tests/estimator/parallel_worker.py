"""Real sharded models on the CPU, two ranks over gloo, and the bytes that each rank holds. Run by test_parallel.py.

`python -m tests.estimator.parallel_worker FOLDER`: reads cases.json there, leaves 0.json and 1.json.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

WORLD = 2


def main(folder: Path) -> int:
    """Both ranks out of one process, so that the libraries are imported once."""
    import accelerate  # noqa: F401
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch.distributed.fsdp  # noqa: F401

    ranks = [multiprocessing.get_context("fork").Process(target=run, args=(rank, folder)) for rank in range(WORLD)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return max(abs(process.exitcode or 0) for process in ranks)


def run(rank: int, folder: Path) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD), LOCAL_WORLD_SIZE=str(WORLD))
    import torch
    from accelerate import PartialState

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    PartialState(cpu=True)  # Accelerate's first rank writes a log
    answers = {}
    for name, case in json.loads((folder / "cases.json").read_text()).items():
        torch.manual_seed(0)
        make = {"ddp": ddp, "fsdp": fsdp, "tp": tp}[case["recipe"]["distributed_type"]]
        answers[name] = make(case | {"folder": str(folder / name)})
        (folder / f"{rank}.json").write_text(json.dumps(answers))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def built(case: dict[str, Any]) -> tuple[Any, Any]:
    """The model of a case with its adapters, as the trainer would make it; and its recipe."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from estimator.program.program import lora_config
    from estimator.recipe.recipe import Recipe

    recipe = Recipe.from_dict(case["recipe"])
    dtype = getattr(torch, recipe.dtype)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**case["config"]), dtype=dtype)
    if recipe.is_quantized:
        quantize(model, recipe)
    if recipe.has_adapters:
        model = get_peft_model(model, lora_config(recipe))
        if recipe.is_quantized:  # TRL
            for parameter in model.parameters():
                parameter.data = parameter.data.to(dtype) if parameter.requires_grad else parameter.data
    return model, recipe


def quantize(model: Any, recipe: Any) -> None:
    """Every linear layer but the head becomes a packed one, as loading does it."""
    import bitsandbytes as bnb
    import torch

    storage = getattr(torch, recipe.bnb_4bit_quant_storage)
    kind = {
        "quant_type": recipe.quantization,
        "compress_statistics": recipe.bnb_4bit_use_double_quant,
        "quant_storage": storage,
    }
    for name, module in list(model.named_modules()):
        if type(module) is torch.nn.Linear and not name.endswith("lm_head"):
            layer = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=False, compute_dtype=module.weight.dtype, **kind
            )
            layer.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, module=layer, **kind)
            layer.support_avx512bf16_for_cpu = False
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, layer.to("cpu"))
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def step(model: Any, optimizer: Any, vocabulary: int) -> None:
    import torch

    ids = torch.arange(24).reshape(2, 12) % vocabulary
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def optimizer_of(model: Any, optim: str) -> Any:
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    if optim == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(parameters, lr=1e-3, relative_step=False, scale_parameter=False)
    if optim == "schedule_free_adamw":
        import schedulefree

        made = schedulefree.AdamWScheduleFree(parameters, lr=1e-3)
        made.train()
        return made
    return torch.optim.SGD(parameters, lr=1e-3) if optim == "sgd" else torch.optim.AdamW(parameters, lr=1e-3)


def fsdp(case: dict[str, Any]) -> dict[str, int]:
    """As Accelerate wraps it, the weights sent by the first rank where it does that; its own state knows no FSDP
    without an accelerator, so only what the function reads is given. `arriving` is the largest tensor that is sent."""
    from types import SimpleNamespace
    from unittest.mock import patch

    import torch
    from accelerate import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    model, recipe = built(case)
    policy = {"fsdp_version": 2, "auto_wrap_policy": "transformer_based_wrap", "cpu_ram_efficient_loading": True}
    plugin = FullyShardedDataParallelPlugin(reshard_after_forward=recipe.fsdp_reshard_after_forward, **policy)
    if recipe.mixed_precision != "no":
        plugin.set_mixed_precision(recipe.mixed_precision)
    said = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        mixed_precision=recipe.mixed_precision,
        is_main_process=torch.distributed.get_rank() == 0,
        device="cpu",
    )
    with patch("torch.distributed.broadcast", wraps=torch.distributed.broadcast) as sent:
        model = fsdp2_prepare_model(said, model)
    arriving = max((call.args[0].nbytes for call in sent.call_args_list), default=0)
    optimizer = optimizer_of(model, case.get("optim", recipe.optim))
    try:
        step(model, optimizer, case["config"]["vocab_size"])
    except RuntimeError as error:
        return {"error": str(error)[:200]}
    return held(model, optimizer) | {"arriving": arriving}


def ddp(case: dict[str, Any]) -> dict[str, int]:
    import torch
    from torch.nn.parallel import DistributedDataParallel

    model, recipe = built(case)
    wrapped = DistributedDataParallel(model, gradient_as_bucket_view=recipe.ddp_gradient_as_bucket_view)
    buckets: dict[int, int] = {}

    def seen(_, bucket):  # DDP reads annotations
        buckets[bucket.index()] = bucket.buffer().untyped_storage().nbytes()
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    wrapped.register_comm_hook(None, seen)
    optimizer = optimizer_of(model, case.get("optim", recipe.optim))
    for _ in range(2):  # the buckets are made anew after the first backward pass
        buckets.clear()
        optimizer.zero_grad()
        step(wrapped, optimizer, case["config"]["vocab_size"])
    return held(model, optimizer) | {"buckets": sum(buckets.values())}


def tp(case: dict[str, Any]) -> dict[str, int]:
    """Saved whole, loaded split, as Transformers does it."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, DistributedConfig

    from estimator.program.program import lora_config

    model, recipe = built({**case, "recipe": {**case["recipe"], "method": "full"}})
    model.save_pretrained(case["folder"])  # by the first rank only
    torch.distributed.barrier()
    config = DistributedConfig(tp_size=WORLD)
    model = AutoModelForCausalLM.from_pretrained(
        case["folder"], dtype=getattr(torch, recipe.dtype), distributed_config=config
    )
    recipe = recipe.replace(method=case["recipe"]["method"])
    if recipe.has_adapters:
        model = get_peft_model(model, lora_config(recipe))
    optimizer = optimizer_of(model, case.get("optim", recipe.optim))
    if not recipe.has_adapters:  # PEFT 0.21's step on gloo fails over the shape of B
        step(model, optimizer, case["config"]["vocab_size"])
    return held(model, optimizer, size=own_bytes)


def held(model: Any, optimizer: Any, size: Any = None) -> dict[str, int]:
    """Bytes of the distinct storages behind parameters and buffers, what bitsandbytes keeps, gradients and states."""
    size = size or storages
    states = [value for table in optimizer.state.values() for value in table.values()]
    return {
        "parameters": size([*model.parameters(), *model.buffers(), *originals(model)]),
        "quantization_state": sum(quantization_state(module) for module in model.modules()),
        "gradients": size([p.grad for p in model.parameters() if p.grad is not None]),
        "optimizer_states": size(states),
    }


def own_bytes(tensors: list[Any]) -> int:
    """Of tensors loaded in parts: on a CPU a part may be a view of the whole file's tensor, which a copy to a device is
    not."""
    own = (tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in own)


def originals(model: Any) -> list[Any]:
    return [
        table[key]
        for module in model.modules()
        for table in [getattr(module, "trainable_tokens_original", {})]
        for key in table
    ]


def storages(tensors: list[Any]) -> int:
    import torch

    own = [
        tensor.to_local() if hasattr(tensor, "to_local") else tensor
        for tensor in tensors
        if isinstance(tensor, torch.Tensor)
    ]
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in own}.values())


def quantization_state(module: Any) -> int:
    state = getattr(module, "quant_state", None)
    if state is None:
        return 0
    tensors = [
        state.absmax,
        state.code,
        *([state.offset, state.state2.absmax, state.state2.code] if state.nested else []),
    ]
    return storages(tensors)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

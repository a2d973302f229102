"""The one error a user may cause: a code, the values that explain it, and a sentence with the remedy.

A `Problem` travels from any process to any door (page, command line, JSON) as its code and parameters; the sentence is
made where it is shown, so that the page can say it in the reader's language. English sentences of the estimator stand
here; those of the studio come from `studio/i18n` through `register`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

TEMPLATES: dict[str, str] = {
    "recipe.unknown_field": "{field}: no such recipe field (value {value}). Known fields: {allowed}.",
    "recipe.missing": "{field}: a value is needed. Allowed: {allowed}.",
    "recipe.type": "{field}: {value} is not {allowed}. Give {allowed}.",
    "recipe.choice": "{field}: {value} is not one of the choices. Allowed: {allowed}.",
    "recipe.choice_nearest": "{field}: {value} is not one of the choices. Nearest: {nearest}. Allowed: {allowed}.",
    "recipe.range": "{field}: {value} is out of range. Allowed: {allowed}.",
    "recipe.file_unread": "{field}: {value} cannot be read ({reason}). Give a TOML, YAML or JSON file of recipe fields.",
    "recipe.file_broken": "{field}: {value} is not valid {kind} ({reason}). Mend the line; in {kind} a field is written as {written}.",
    "recipe.uncounted_deepspeed": "{field}: {value} is not read, and one device is counted. For what it does give --num-processes N --distributed-type {kind}.",
    "recipe.uncounted_fsdp": "{field}: {value} is not read, and one device is counted. For what it does give --num-processes N --distributed-type {kind}.",
    "recipe.uncounted_offloads": "{field}: {value} keeps the checkpoints of the layers in host memory; counted is checkpointing on the card, so the run takes less there than is said.",
    "recipe.uncounted_unsloth": "{field}: {value} trains with Unsloth's own kernels, which take less than the counted step of Transformers; how much less is not known.",
    "recipe.uncounted_unsloth_gc": "{field}: {value} keeps the checkpoints of the layers in host memory; counted is checkpointing on the card, so the run takes less there than is said.",
    "recipe.uncounted_liger": "{field}: {value} computes the loss in pieces without the whole logits; counted is the loss with them, so the run may take much less than is said. --loop trl counts a loss in tiles.",
    "recipe.uncounted_optimizer": "{field}: {value} changes what the optimizer keeps; counted are the full states of optim, so the run takes less than is said.",
    "recipe.brought": "{field}: {value} is read as a recipe of {tool}; what it leaves out stands at that tool's default. Not used here: {unused}.",
    "recipe.in_file": "{value}: {reason}",
    "recipe.no_warmup": "{field}: no warm-up of {value} is done under lr_scheduler_type {other}: Transformers leaves it out, and the rate is at its peak from the first step. Use lr_scheduler_type constant_with_warmup, or warmup_steps 0.",
    "recipe.own_warmup": "{field}: {other} does no warm-up of {value}: its own correction of the first steps stands in for one. Use warmup_steps 0, or optim schedule_free_adamw.",
    "recipe.schedule_twice": "{field}: {other} averages in place of a schedule, and {value} changes the rate besides. Use lr_scheduler_type constant; the optimizer does its warm-up itself.",
    "record.format": "{file}: its format is {value}, and this version reads format {allowed}. Open it with the version that wrote it, or a newer one; the file stays as it is.",
    "machine.unsupported": "{field}: {value} does not run on this machine ({device}). Use one of: {allowed}.",
    "machine.optimizer": "{field}: {value} needs the package {package}, which is not installed here. Install it (pip install {package}), or take another optimizer.",
    "machine.base_rewritten": "{field}: {value} rewrites the base's weights, which all chats and comparisons share. Train with one of: {allowed}.",
    "notebook.missing": "{value} is not installed. Install it: pip install {value}.",
    "measure.no_gpu": "{field}: no GPU to measure on ({reason}). Run this where torch finds a CUDA device.",
    "recipe.conflict": "{field}: {value} cannot be combined with {other}. {allowed}.",
    "recipe.unread": "{field}: {value} says nothing with {other}, and is not read.",
    "model.unknown": "{field}: {value} is not a preset, not a folder here and not a hub id (org/name, modelscope:org/name). Close names: {allowed}.",
    "model.ambiguous": "{field}: {value} may be any of these, which differ in memory: {allowed}. Give one of them.",
    "model.none_found": "{field}: no model on board for {value}. Give fewer words (lora-studio models lists all), or a hub id (org/name).",
    "model.other_structure": "{field}: {value} is not {preset} with other weights ({differs}), so that preset does not answer for it. Give its config.json, or ask again where its hub can be reached.",
    "model.read_as": "{field}: {value} is read as {id}.",
    "model.same_structure": "{field}: {value} has the tensors and sizes of the preset {preset}, whose figures these are.",
    "model.stored_by_name": "{field}: how {value} stores its weights is told by its name; its config.json, which also says which layers it leaves in 16 bits, was not read.",
    "model.no_config": "{field}: {value} holds no config.json. Give a folder that does, or a preset's id.",
    "model.unreadable": "{field}: {value} cannot be read ({reason}). Give a config.json or the folder that holds one.",
    "model.bad_json": "{field}: {value} is not valid JSON ({reason}). Download it again.",
    "model.not_object": "{field}: a {value}, not an object of settings. Give the content of a config.json.",
    "model.missing_key": "{field}: the key {key} is missing. Take the config.json that belongs to the weights.",
    "model.bad_value": "{field}: {key} is {value}. Allowed: {allowed}.",
    "model.contradiction": "{field}: {key} {value} does not go with {other}. Allowed: {allowed}.",
    "model.too_large": "{field}: at least {value} parameters. Allowed: up to {allowed}.",
    "model.config_too_large": "{field}: {value} is too large. Allowed: up to {allowed}.",
    "model.unbuildable": "{field}: Transformers cannot build {value} ({reason}). Mend its config.json, or take a model whose type Transformers knows.",
    "model.not_counted": "{field}: the tensors of {value} have not been counted yet. Install the train extra: the trace worker counts them.",
    "model.too_slow": "{field}: its layers could not be counted within {value} s. Choose a smaller configuration.",
    "model.remote_code": "{field}: {value} needs code from its repository (Transformers has no model type {model_type}), which is not run, and no safetensors headers are at hand to count it from. Give a folder or a hub id with safetensors.",
    "model.packed": "{field}: {value} needs code from its repository (Transformers has no model type {model_type}), which is not run, and its weights are stored quantized ({types}), so that their headers do not give its size. Give the model it was made from.",
    "model.from_headers": "{field}: {value} needs code from its repository (Transformers has no model type {model_type}), which is not run. Its parameters are counted from the safetensors headers; its activations are approximate.",
    "model.headers_missing": "{field}: {value} holds no whole set of safetensors (files: {files}). Its parameters are counted from the config alone.",
    "model.headers_unread": "{field}: the safetensors headers of {value} could not be read ({reason}), so they were not compared with the count.",
    "model.stored_differs": "{field}: the safetensors of {value} hold {stored} parameters; Transformers builds {counted} from its config, and the estimate uses these.",
    "model.prediction_layers": "{field}: the safetensors of {value} hold {stored} parameters; {extra} of them are layers for multi-token prediction, which Transformers does not build. The estimate uses {counted}.",
    "model.is_adapter": "{field}: this is the record of an adapter ({value}), not of a model. Give the model that it belongs to (base_model_name_or_path): {base}.",
    "model.is_adapter_alone": "{field}: this is the record of an adapter ({value}), not of a model, and it names none (base_model_name_or_path). Give the model that it was trained on.",
    "model.stored_broken": "{field}: {key} is {value}, of how the weights are stored. Allowed: {allowed}. Take the config.json that belongs to the weights.",
    "model.stored_untrainable": "{field}: {value} stores its weights as {stored}, which cannot be trained here. Take it in 16 bits: {allowed}.",
    "model.stored_untrainable_alone": "{field}: {value} stores its weights as {stored}, which cannot be trained here. Take the model it was made from, in 16 bits.",
    "model.stored_packed": "{field}: {other} trains on 16-bit weights, and {value} stores its own as {stored}. Use qlora, or take it in 16 bits: {allowed}.",
    "model.stored_packed_alone": "{field}: {other} trains on 16-bit weights, and {value} stores its own as {stored}. Use qlora, or take the model it was made from, in 16 bits.",
    "model.stored_otherwise": "{field}: {other} is not how {value} stores its weights, which are {stored} and stay so. Give quantization {quantization}, or take it in 16 bits: {allowed}.",
    "model.stored_otherwise_alone": "{field}: {other} is not how {value} stores its weights, which are {stored} and stay so. Give quantization {quantization}, or take the model it was made from, in 16 bits.",
    "model.stored_packed_so": "{field}: {value} stores its weights as {stored}, double quantization {double}, and they count as they are stored: linear layers left in {dtype}: {left} ({size}).",
    "model.stored_int8": "{field}: {value} stores its weights as {stored}, and they count as they are stored: linear layers left in {dtype}: {left} ({size}).",
    "model.stored_dequantized": "{field}: {value} stores its weights as {stored}. To be trained they are loaded in {dtype}: {weights}, more than its files hold.",
    "model.stored_dequantized_packed": "{field}: {value} stores its weights as {stored}. They are loaded in {dtype} first ({weights} of host memory), then quantized to {quantization}.",
    "model.code_ignored": "{field}: {value} asks for code from the model's repository; it was not run.",
    "base.broken": "{field}: {value} cannot be loaded ({reason}).",
    "base.other_tensors": "{field}: the weights of {value} do not fit its config.json: {missing} tensors are missing, {unexpected} have no place, {reshaped} have another shape ({tensors}). Download it again, or take the config.json that belongs to the weights.",
    "hub.not_found": "{field}: {value} is not a preset, not a folder here and not on {hub}, or it is private. Check the spelling, or log in; close names: {allowed}.",
    "hub.gated": "{field}: {value} is gated on {hub}. Accept its terms there and log in, give its config.json, or take one of: {allowed}.",
    "hub.private": "{field}: {value} is closed to this login on {hub}. Ask its owner, give its config.json, or take one of: {allowed}.",
    "hub.no_config": "{field}: {value} has no config.json on {hub} (files: {files}). Give the model it was made from.",
    "hub.unreachable": "{field}: {value} is not a preset and not a folder here, and {hub} cannot be asked ({reason}). Check the network, give a folder or a config.json, or take one of: {allowed}.",
    "hub.late": "{field}: {value} is not a preset and not a folder here, and {hub} did not answer in time. Try again, give a folder or a config.json, or take one of: {allowed}.",
    "hub.offline": "{field}: {value} is not a preset and not a folder here, and HF_HUB_OFFLINE forbids asking {hub}. Unset it, or take one of: {allowed}.",
    "gpu.unknown": "{field}: no accelerator is called {value}. Close names: {allowed}.",
    "gpu.ambiguous": "{field}: {value} may be any of these, which differ in memory: {allowed}. Give one of these names.",
    "gpu.other_size": "{field}: no card of the list is {value}. Known with that name: {allowed}. Give one of these names.",
    "gpu.several": "{field}: {value} says {count} cards, and one is asked for here. Give {allowed}.",
    "gpu.read_as": "{field}: {value} is read as {gpu}. Of the same size, with other speed and prices: {others}.",
    "gpu.mended": "{field}: {value} is read as {gpu}. If another card is meant, give its name.",
    "gpu.ambiguous_foreign": "{field}: {value} may be any of these cards of {vendor}, which have no CUDA: {allowed}. Give one of these names; of such a card size and rated speed are known, not what its software leaves of its memory.",
    "gpu.foreign": "{field}: {value} ({vendor}) has no CUDA. The figures are those of CUDA's program; its own kernels and what its software leaves of its memory are not known. Known of it: {known}.",
    "gpu.memory_unknown": "{field}: the memory of {value} is not known, so no verdict is given.",
    "gpu.spills": "{field}: on {value} the driver moves memory to the host where the card is full: the run gets many times slower and no error appears, so that it ran is no proof that it fitted.",
    "gpu.not_cuda": "{field}: the step was traced as CUDA runs it; the kernels of {value} hold other temporaries, which are not known.",
    "serving.cache_unknown": "{field}: what {value} keeps between the tokens it generates is not known ({reason}). Install the train extra, or take a causal model that Transformers knows.",
    "serving.prompt_bound": "{field}: the reading of a prompt by {value} was not traced; what a training step holds stands for it, which is more.",
    "estimator.no_match": "{field}: {value} matches no layer. Available: {allowed}.",
    "estimator.all_excluded": "{field}: every layer that {value} matches is excluded again by exclude_modules, modules_to_save or layers_to_transform. Available: {allowed}.",
    "estimator.not_adaptable": "{field}: {value} is a {kind}, which takes no adapter. Available: {allowed}.",
    "estimator.fused_targets": "{field}: {value} is fused with {missing} into {other}. Target them together.",
    "estimator.saved_clash": "{field}: {value} overlaps with {other}. Give whole module names that do not overlap with each other or with target_modules.",
    "estimator.regex": "{field}: {value} is not a valid regular expression ({reason}). Mend it, or give a list of names.",
    "estimator.regex_slow": "{field}: matching {value} against the names of the layers took more than {limit} s. Write it without repeats inside repeats, or give a list of names.",
    "estimator.no_default_targets": "{field}: empty, and PEFT has no default for {value}. Give one of: {allowed}.",
    "estimator.init_rank": "{field}: rank {value} on {module} does not go with init_lora_weights {other}. Allowed: {allowed}.",
    "estimator.too_long": "{field}: {value} tokens are more than the model's context of {allowed}. Give at most {allowed}.",
    "estimator.beyond_context": "{field}: {value} tokens are more than the model's context of {allowed}. The memory is counted; what the model makes of positions it never saw is not known.",
    "estimator.head_adapted": "{field}: an adapter on {value} would not be trained: TRL multiplies by its weight directly, and refuses it. Leave {value} out, or name it in modules_to_save.",
    "estimator.experts_whole": "{field}: the experts stay in {dtype}, {size} of the weights: Transformers {version} keeps those of a layer as one tensor, which bitsandbytes ({value}) passes over. Versions before 5 quantized each expert and took less. What helps: several cards (num_processes with fsdp or zero3), or a model without experts.",
    "estimator.experts_trained": "{field}: {experts} of {trained} trained parameters adapt experts (ranks: {ranks}; gate_up_proj holds two projections) and {routers} adapt routers. To adapt attention alone, give {allowed}.",
    "estimator.experts_frozen": "{field}: no expert and no router is adapted. To adapt the experts, give target_parameters {allowed}.",
    "estimator.images_not_counted": "{field}: {value} also takes images or sound. Rows of text are counted; an image adds tokens and the activations of its tower.",
    "estimator.tower_trained": "{field}: {value} of {trained} trained parameters adapt the layers for images or sound, which rows of text leave unused. exclude_modules leaves them out.",
    "estimator.packing_needs": "{field}: {value} lays examples out as one row, and {model_type} keeps them apart only with {packages}. Install them, or use wrapped; without, the first step ends in an error.",
    "estimator.packing_mixes": "{field}: {value} lays examples out as one row, and the state of {model_type} runs from one example into the next. Switch packing off to keep them apart.",
    "estimator.packing_attends": "{field}: {value} lays examples out as one row, and the attention of {model_type} does not keep them apart under sdpa and eager: each sees those before it. Switch packing off to keep them apart.",
    "machine.packing": "{field}: {value} lays examples out as one row, and {model_type} keeps them apart only with {packages}, which this machine does not have. Use wrapped, switch packing off, or install them.",
    "estimator.not_quantizable": "{field}: {value} has no linear layer that bitsandbytes can quantize. Use method lora or full.",
    "estimator.rank_over_layer": "{field}: {value} is more than the smaller side of {module} ({allowed}); the surplus cannot be used.",
    "estimator.pattern_unused": "{field}: {value} matches no adapted layer and has no effect.",
    "estimator.paged": "{field}: {value} bytes of optimizer states are paged: they use the card while they fit, and host memory when they do not.",
    "estimator.approximate": "{field}: activations of {value} are approximate: the closed form knows dense decoders.",
    "why.traced": "Activations: from the traced training step, +-{percent} %.",
    "why.analytic": "Activations: from a closed form, not from a trace, +-{percent} %.",
    "why.nearest": "Activations: from the traced law of the same model with {law}, changed by what a closed form says of the difference, +-{percent} %.",
    "why.replay": "The step was traced whole and replayed through the allocator; published runs lie {low} to {high} around.",
    "why.gathered": "ZeRO-3 may hold {size} of gathered weights more than it needs at least; the estimate counts them.",
    "parallel.loads_whole": "{field}: Transformers puts the packed weights whole on each device before they are cut, {bytes} of it. Where that is too much, load them with device_map={{'': 'cpu'}}: each process then holds them in host memory, from where they come to the device piece by piece.",
    "parallel.not_cut": "{field}: packed weights stored as {value} stay whole on every device, FSDP2 cuts none of them. Give {allowed}.",
    "law.not_traced": "{field}: the step of {value} could not be traced: {library} cannot run these settings without weights. An approximation stands in, with a wider range (engine law). Change the settings that are new, or measure on a card: lora-studio measure.",
    "law.not_linear": "{field}: the memory of {value} does not follow the length of its rows evenly, so no law holds for all of them. An approximation stands in, with a wider range (engine law). For one length: lora-studio estimate --engine trace.",
    "law.no_config": "{field}: the step of {value} could not be traced, since its configuration is not at hand. An approximation stands in, with a wider range (engine law). Give its config.json, or a hub id that has one.",
    "law.no_hidden_state": "{field}: TRL's trainer takes the last hidden state of a model's backbone, and {value} gives none: training stops at its first step. An approximation stands in, with a wider range (engine law). Train it with Transformers' Trainer (loop trainer).",
    "law.no_torch": "{field}: the step of {value} could not be traced, since {package} is not installed. An approximation stands in, with a wider range (engine law). Install the train extra: pip install lora-studio[train].",
    "why.allocator": "Reserved memory is {low} to {high} of allocated: the allocator was not replayed.",
    "why.padding": "Rows of one batch are taken to be equally long: padding would add a mask, up to {bytes} more.",
    "why.trained_share": "Counted as if every token had a label, for want of a traced law that knows their share: up to {bytes} less.",
    "why.context": "Context {low} to {high}: {source}.",
    "why.measured": "{count} like runs on this card measured {low} to {high} of their estimate.",
    "why.context_measured": "{count} runs on this card measured a context of {low} to {high}.",
    "why.total": "Memory of the card: {source}.",
    "formula.weights": "Every tensor of the model's configuration, counted once where it is tied; quantized layers as bitsandbytes packs them (functional.quantize_4bit, int8_vectorwise_quant), the rest in {dtype}, in whole blocks of CUDA's allocator.",
    "formula.quantization_state": "Scales of the packed weights: one for 64 values in 4 bits, themselves quantized in blocks of 256 under double quantization, and a table a layer (bitsandbytes functional.QuantState); one fp32 scale a row in 8 bits.",
    "formula.adapters": "A and B of each adapted layer, r x (in + out) values, and the modules that train in full (PEFT tuners/lora/layer.py).",
    "formula.gradients": "One value for each trained parameter, in its type, as far as the backward pass has come at this moment.",
    "formula.optimizer_states": "The states of {optim} for each trained parameter (torch.optim, bitsandbytes.optim, transformers.Adafactor).",
    "formula.workspace": "What cuBLAS keeps for two threads (PyTorch CUDABlas, getChosenWorkspaceSize).",
    "formula.activations.traced": "Tensors that the step holds at this moment, counted in the real modules on the meta device and read as a law of sizes ({versions}).",
    "formula.activations.analytic": "A closed form for dense decoders, checked against published runs (presets/README.md); not traced.",
    "formula.activations.nearest": "Tensors that the step holds at this moment, by the traced law of the nearest settings ({versions}), changed by a closed form of the difference.",
    "formula.logits_and_loss.nearest": "The head and the loss of TRL's own loop, in tiles of tokens, by the traced law of the nearest settings ({versions}).",
    "formula.temporary.nearest": "Tensors that live for one operator, by the traced law of the nearest settings, changed by a closed form of the difference.",
    "formula.logits_and_loss.traced": "The head and the loss of TRL's own loop, in tiles of tokens (trl/kernels/chunked_logprob.py), traced ({versions}).",
    "formula.logits_and_loss.analytic": "The head and the loss of TRL's own loop in tiles of tokens, as a closed form; not traced.",
    "formula.temporary.traced": "Tensors that live for one operator: dequantized weights, temporaries inside CUDA's kernels and of the optimizer (estimator/trace/kernels.py names each source).",
    "formula.temporary.analytic": "Tensors that live for one operator, as a closed form: a dequantized weight, the optimizer's temporary.",
    "formula.trace": "Counted in the trace of this very step at its full size, replayed through CUDA's allocator.",
    "formula.several": "Of {value} devices under {kind}, this is the one that holds most: what it keeps of its own, and what it gathers or sends for a while.",
    "advice.largest_margin": "Each leaves the margin of its own error bar free: at its upper end it still fits. Models released since {since} come first, older ones only where none of these fits; a model of unknown date counts as older.",
    "advice.attention": "{values}: the same result without holding the scores of attention.",
    "advice.checkpointing": "{values}: keeps each layer's input only and computes the rest again; the same result, about a third more time.",
    "advice.optimizer_fused": "{values}: the same AdamW in one kernel, without its temporary copy.",
    "advice.optimizer_paged": "{values}: AdamW's states may move to host memory; the same result, slower while they do.",
    "advice.optimizer_8bit": "{values}: AdamW's states in 8 bits, rounded block by block.",
    "advice.optimizer_adafactor": "{values}: no first moment and a factored second one; it may need another learning rate.",
    "advice.dtype": "{values}: weights in 16 bits.",
    "advice.adapters": "{values}: adapters train instead of all weights, so less can be learned.",
    "advice.quantize": "{values}: the frozen weights are stored in 4 bits, which costs a little accuracy and some time.",
    "advice.double_quantization": "{values}: the scales of the 4-bit weights are quantized too.",
    "advice.plain_lora": "{values}: magnitudes no longer train apart.",
    "advice.dropout": "{values}: no mask is kept for each adapter; without dropout small data overfit sooner.",
    "advice.saved_modules": "{values}: these modules no longer train in full.",
    "advice.targets": "{values}: fewer layers are adapted, so less can be learned.",
    "advice.batch": "{values}: the same rows for each optimizer step in more passes; the same result, less work for the card at once.",
    "advice.length": "{values}: longer rows of the data are dropped.",
    "advice.devices": "{values}: FSDP2 spreads weights, gradients and states over several cards, which send them to each other at each layer.",
    "advice.shard_fsdp": "{values}: FSDP2 cuts weights, gradients and states over the cards there are, which send them to each other at each layer; the same result.",
    "advice.shard_zero3": "{values}: DeepSpeed ZeRO-3 cuts weights, gradients and states over the cards there are, which send them to each other at each layer; the same result.",
    "advice.kept": "Kept as it was: {kept}.",
    "advice.kept_less": "Kept as it was: {kept}. Less than asked: {less}.",
    "word.weights": "weights",
    "word.quantization_state": "quantization_state",
    "word.adapters": "adapters",
    "word.gradients": "gradients",
    "word.optimizer_states": "optimizer_states",
    "word.activations": "activations",
    "word.logits_and_loss": "logits_and_loss",
    "word.temporary": "temporary",
    "word.workspace": "workspace",
    "word.loading": "loading",
    "word.training_step": "training step",
    "word.evaluation": "evaluation",
    "word.saving": "saving",
    "word.generation": "generation",
    "word.merging": "merging",
    "word.chat": "chat",
    "word.forward": "forward",
    "word.loss": "loss",
    "word.last_layer_backward": "last layer backward",
    "word.first_layer_backward": "first layer backward",
    "word.optimizer_step": "optimizer step",
    "word.quantizing": "quantizing",
    "word.checkpoint": "checkpoint",
    "word.prompt": "prompt",
    "word.largest_layer": "largest layer",
    "word.parameters": "parameters",
    "word.trainable": "trainable",
    "word.peak_allocated": "peak allocated",
    "word.peak_reserved": "peak reserved",
    "word.on_the_device": "on the device",
    "word.on_the_disk": "on the disk",
    "word.unknown": "unknown",
    "word.hours": "hours",
    "word.energy": "energy, kWh",
    "word.cost": "cost, USD",
    "word.each_card": "each card",
    "word.card": "card",
    "word.run": "the run",
    "word.none": "none",
    "word.time": "time",
    "word.precision": "precision",
    "word.data": "data",
    "word.quality": "quality",
    "word.devices": "devices",
    "cli.range": "{low} to {high}",
    "cli.at": "at: {when}",
    "cli.host": "host {size}",
    "cli.largest": "(the largest of the run)",
    "cli.disk": "a checkpoint {checkpoint}, the result {weights}",
    "cli.note": "note: {note}",
    "cli.fits": "fits",
    "cli.fits_close": "fits, within the error bar",
    "cli.misses": "does not fit",
    "cli.misses_close": "does not fit, within the error bar",
    "cli.verdict": "{cards}: {verdict}; offers {edge}, headroom {room}",
    "cli.verdict_each": "{cards}: {verdict}; each offers {edge}, headroom {room}",
    "cli.not_afterwards": "afterwards, {moments} does not fit: that can run on the CPU, which takes as much of the host's memory",
    "cli.of_several": "{count} devices, {kind}: the figures above are one device's{rank}",
    "cli.of_several_whole": "{count} devices, {kind}: each holds the whole model, and the figures above are one device's; fsdp and zero3 cut it (--distributed-type)",
    "cli.run_on": "the run on {cards}",
    "cli.run_on_misses": "the run on {cards}, which does not fit",
    "cli.room": "{size}, headroom {room}",
    "cli.give_rows": "for the hours and the cost of a run give --rows N (and --tokens-per-row T; without it every row has max_length)",
    "cli.link": "the same on the page that lora-studio serves: http://127.0.0.1:7860/?tab=estimate&{query}",
    "cli.of_cards": "{note} ({cards})",
    "cli.no_card": "no card here fits",
    "cli.suiting": "by QLoRA with 1,024 tokens and 2 rows at a time, the defaults; lora-studio advise --model NAME --gpu CARD says what else fits",
    "cli.no_model": "no model was given. Of the newest families, the largest that {gpu} trains:",
    "word.model": "model",
    "word.released": "released",
    "word.context": "context",
    "word.license": "licence",
    "cli.serving_head": "{model}  {stored}; {users} users at {tokens} tokens",
    "word.a_token": "a token of cache",
    "word.cache": "cache",
    "cli.serving_most": "most users at {tokens} tokens: {max_users}; longest context for {users} users: {max_tokens} tokens",
    "cli.semicolon": "; ",
    "cli.gpus_head": "{model}  {method}, batch {batch}, {tokens} tokens",
    "cli.rows_told": "{rows} rows, {tokens} tokens, {wasted} padding, {steps} steps an epoch",
    "cli.rows_dropped": "{told}; {dropped} longer rows dropped",
    "word.as_trained": "as trained",
    "word.by_length": "by length",
    "word.packed": "packed",
    "cli.n_cards": "{count} cards",
    "cli.no_card_within": "no card here fits within the budget",
    "cli.cards_fit": "{fitting} of {all} cards fit, alone or by FSDP2 over {counts}; --all prints every card",
    "cli.sorted_by": "sorted by {by}; hours and cost: likely (lowest-highest)",
    "word.memory_each": "each takes",
    "word.room": "room",
    "word.fits": "fits",
    "word.tokens_s": "tokens/s",
    "word.run_usd": "run, USD",
    "word.usd_tokens": "USD/M tokens",
    "word.offer": "cheapest offer, USD",
    "word.to_buy": "to buy, USD",
    "word.rent_hour": "rent an hour",
    "word.plainly": "plainly",
    "word.close": "close",
    "word.yes": "yes",
    "word.no": "no",
    "word.owned": "owned: its electricity alone",
    "word.no_offer": "none known",
    "word.kept_as": "kept",
    "cli.advice_head": "{model}  {method} on {cards}: {verdict}; takes {size}",
    "cli.left": "{verdict}, {room} left",
    "cli.over": "{verdict}, {room} over",
    "cli.mildest": "the mildest that makes it fit:",
    "cli.mildest_all": "the mildest that makes it fit: all of",
    "cli.surest": "the mildest that makes it fit beyond doubt:",
    "cli.surest_all": "the mildest that makes it fit beyond doubt: all of",
    "cli.nothing_fits": "nothing known here makes it fit: take a larger card, more of them (--num-processes 2 --distributed-type fsdp) or a smaller model",
    "cli.nothing_fits_several": "nothing known here makes it fit on these cards: take larger ones, more of them or a smaller model",
    "cli.singles": "single changes, mildest first:",
    "cli.singles_short": "not enough alone, but these save memory too, mildest first:",
    "cli.largest_is": "the largest that fits beyond doubt, with the rest as it is:",
    "cli.takes": "takes {size}, at most {high} of {edge}",
    "cli.not_even": "none, not even the smallest",
    "cli.saves": "saves {size}",
    "cli.costs": "costs: {cost}",
    "cli.costs_time": "costs: {cost}, {ratio} x the time",
    "advice.rank": "{values}: a lower rank, so less can be learned. lora_alpha stays, so the update's scale (alpha/r) rises.",
    "why.efficiency": "Speed: a share of the card's rated speed, {central} (from {low} to {high} in {runs} runs measured on {cards}). The time to launch kernels is not counted: small models on short rows take longer.",
    "why.place_card": "The likely time stands {place} of the way from the shortest to the longest: {runs} runs on this very card reached {central} of its rated speed in the middle; the ends of the range are {fastest} ({high}) and {slowest} ({low}).",
    "why.place_family": "The likely time stands {place} of the way from the shortest to the longest: no run on this card is known, and {runs} runs on cards like it ({cards}) reached {central} of theirs in the middle; the ends are the fastest and slowest of all cards, {fastest} ({high}) and {slowest} ({low}).",
    "why.place_rated": "The likely time stands {place} of the way from the shortest to the longest: no run on this card or one like it is known, so its rated speed counts, of which all {runs} known runs on other cards reached {central} in the middle; the ends are {fastest} ({high}) and {slowest} ({low}).",
    "why.pipeline": "Pipeline of {stages} stages with {batches} micro-batches a step: at the least all stages have the same to do, at the most they work one after another.",
    "why.several_ddp": "{count} cards by DDP: each holds the whole model, which fits, and only gradients are sent; an optimizer step takes the rows of all cards.",
    "why.several_fsdp": "{count} cards by FSDP2: weights, gradients and states are cut into {count} parts and sent at each layer; an optimizer step takes the rows of all cards.",
    "why.several_zero3": "{count} cards by DeepSpeed ZeRO-3: FSDP2 does not take this recipe (optimizer), ZeRO-3 cuts weights, gradients and states as it does; an optimizer step takes the rows of all cards.",
    "why.several_pp": "{count} cards by pipeline: what cuts the weights of each layer does not take this recipe, so each card has some of the layers.",
    "why.several_asked": "{count} cards by {kind}, as the recipe says.",
    "why.needs_several": "One {gpu} does not hold it ({needed} of {edge}), so {count} are counted, the fewest that do: by FSDP2 weights, gradients and states are cut into {count} parts and sent at each layer; an optimizer step takes the rows of all cards. For one card write 1 x {gpu}.",
    "gpu.alone": "{field}: several {value} do not train one model together: no NCCL or RCCL joins laptop cards, slices, unified memory or cards under Windows.",
    "why.int8": "Products in 8 bits are counted as fast as in 16: the card is faster, LLM.int8 around them was measured slower, and no published run says how much.",
    "why.link": "Several cards: {link} carries {central} GB/s from each card ({low} to {high}, by the board and by how many send at once). The shorter time hides all of it behind the arithmetic.",
    "time.no_link": "{field}: how fast several {value} send each other data is not known, so no time is given.",
    "time.offloaded": "{field}: how long the way to {value} and back takes is not known, so no time is given; the memory is.",
    "time.slice": "{field}: the speed of a slice of a card is not known.",
    "time.no_work": "{field}: no traced step of this model is at hand, so its time is not known. Install the train extra: the step is traced then.",
    "time.no_bandwidth": "{field}: the memory bandwidth of {value} is not known, so no time is given.",
    "time.no_tflops": "{field}: the speed of {value} in {dtype} is not known, so no time is given.",
    "time.no_bf16": "{field}: {value} has no bfloat16 units, and how fast it emulates them is not known. Use dtype float16.",
    "time.no_power": "{field}: the power of {value} is not known, so no energy is given.",
    "time.dropped": "{field}: {value} rows are longer than max_length and are dropped.",
    "time.no_rows": "{field}: {value} rows, and none that is not longer than max_length. Allowed: {allowed}.",
    "time.course": "{rows} rows x {epochs} epochs (num_train_epochs) = {seen} rows: {steps} optimizer steps of {batch} rows.",
    "time.course_steps": "max_steps {steps} x {batch} rows: {epochs} epochs of the {rows} rows; num_train_epochs is not read.",
    "time.course_packed": "{rows} rows x {epochs} epochs (num_train_epochs) = {seen} rows: {steps} optimizer steps of {batch} packed rows.",
    "time.course_steps_packed": "max_steps {steps} x {batch} packed rows: {epochs} epochs of the {rows} rows; num_train_epochs is not read.",
    "time.lengths_unread": "{field}: {value} cannot be read ({reason}). Give a text file with one number a line.",
    "time.lengths_line": "{field}: line {line} is {value}, not a whole number of tokens above 0. Give one number a line.",
    "money.as_of": "Prices of renting are those of the list of {date}, on demand, without storage, traffic and tax.",
    "money.left_out": "Left out of hours and cost: downloading the model, starting the machine, a minimum that is billed, and saving at the end.",
    "money.by_the_card": "{field}: {count} cards are counted as {count} times the price of one; {value} rents by the card, whether a machine has {count} free is seen there.",
    "answer.own": "Own: electricity alone, {kwh} kWh x USD {price} = USD {usd} ({low} to {high}).",
    "answer.own_unpriced": "Own: electricity alone, {kwh} kWh ({low_kwh} to {high_kwh}) at full power; give the price of a kWh for its cost.",
    "answer.own_no_run": "Own: electricity alone; how long the run takes is not known.",
    "answer.own_no_power": "Own: electricity alone; the power of this card is not known.",
    "answer.own_no_price": "Own: electricity alone; give rows of the data and the price of a kWh for its cost.",
    "answer.misses": "{field}: {count} x {value} does not hold it; hours and cost are what they would be if it did.",
    "answer.rent": "Rent: {hours} h x USD {price} ({provider}, {date}) = USD {usd} ({low} to {high}).",
    "answer.rent_no_run": "Rent: USD {price} an hour ({provider}, {date}).",
    "answer.buy": "Buy: USD {usd}; this run alone takes {run} h, and buying pays after {hours} h.",
    "answer.buy_only": "Buy: USD {usd}; no offer to rent it is known.",
    "answer.even": "To buy, USD {usd}, pays after {hours} h of use.",
    "answer.even_runs": "To buy, USD {usd}, pays after {hours} h of use: {runs} runs like this one.",
    "answer.even_months": "To buy, USD {usd}, pays after {hours} h of use: {months} months.",
    "answer.never": "To buy, USD {usd}, never pays: renting costs no more than its electricity.",
    "answer.unknown": "No price is known, neither to rent nor to buy.",
    "money.no_offer": "{field}: no offer to rent {value} is known.",
    "money.no_purchase": "{field}: the price of {value} is not known.",
    "money.launch": "Prices to buy are the makers' at launch, without the computer around the card; a street price may differ.",
    "money.market": "A price to buy marked ~ is a market estimate, not a list price.",
    "money.no_electricity": "Electricity is not counted: no price was given.",
}


def register(templates: dict[str, str]) -> None:
    """Add sentences for further codes; a code may be registered again with the same text only."""
    for code, template in templates.items():
        if TEMPLATES.setdefault(code, template) != template:
            raise ValueError(f"problem code {code!r} already has another sentence")


VOICES: dict[str, Callable[[Problem], str]] = {}
"""Languages a command may speak beside English, and how each says a `Problem`; whoever has the sentences adds them (`studio.i18n`)."""
_VOICE: ContextVar[Callable[[Problem], str] | None] = ContextVar("voice", default=None)


@contextmanager
def spoken_in(language: str) -> Iterator[None]:
    """Inside, `str(problem)` is in `language`, English where it is none of VOICES."""
    token = _VOICE.set(VOICES.get(language))
    try:
        yield
    finally:
        _VOICE.reset(token)


def say(code: str, /, **params: object) -> str:
    """A sentence or a word that is no error, in the language spoken."""
    return str(Problem(code, **params))


class Problem(Exception):
    """Something the user can mend.

    `code` names the sentence, `params` the values in it. `field` (when given) is the recipe field or input at fault, so
    that a form can show the sentence beside its control.
    """

    def __init__(self, code: str, /, **params: object) -> None:
        super().__init__(code)
        self.code = code
        self.params = params

    @property
    def field(self) -> str | None:
        named = self.params.get("field")
        return None if named is None else str(named)

    def sentence(self, templates: dict[str, str] | None = None) -> str:
        """The message in the language of `templates` (code -> template), English where it is missing."""
        template = (templates or {}).get(self.code) or TEMPLATES.get(self.code)
        if template is None:
            return f"{self.code}: {self.params}"
        return template.format_map(_Missing(self.params))

    def __str__(self) -> str:
        voice = _VOICE.get()
        return voice(self) if voice else self.sentence()

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "params": self.params}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        return cls(data["code"], **data.get("params", {}))


class _Missing(dict[str, object]):
    """Leaves `{name}` standing where a parameter is missing: an error about an error helps nobody."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"

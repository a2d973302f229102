"""One record an optimizer: every place that an optimizer changes is walked for each, and names that are none are
refused."""

import re
from pathlib import Path

import pytest

import estimator
from estimator import Problem, Recipe, estimate, find_gpu, open_model
from estimator.advice.changes import fixed_changes
from estimator.cost.roofline import step_bytes
from estimator.memory.load_events import Static
from estimator.memory.replay import _states, _step_temporaries
from estimator.memory.states import optimizer_bytes, qmap_bytes
from estimator.recipe.optimizers import ALIASES, NEAREST, RECORDS, SCALAR
from estimator.recipe.recipe import OPTIMIZERS, SCHEDULERS
from estimator.recipe.recipe_file import read_recipe
from estimator.recipe.schedules import remarks, warmup_steps_done

ID, CARD = "Qwen/Qwen3-0.6B", "GeForce RTX 4090"
SHAPE, NUMEL = (1024, 256), 1024 * 256


def recipe(optim: str, **fields) -> Recipe:
    return Recipe(**{"model": ID, "method": "lora", "optim": optim, "max_length": 512} | fields)


@pytest.mark.parametrize("optim", RECORDS)
def test_one_device_reads_the_record(optim):
    record, model = RECORDS[optim], open_model(ID)
    made = estimate(recipe(optim, method="full"), CARD, model=model)
    assert made.components["optimizer_states"] > 0 or not record.states
    paged = [note for note in made.warnings if note.code == "estimator.paged"]
    assert bool(paged) == record.paged
    assert step_bytes(recipe(optim), made.source.parts) > 0
    gpu = find_gpu(CARD)
    proposed = [change for change in fixed_changes(recipe(optim), model, gpu) if "optim" in change.values]
    assert [change.values["optim"] for change in proposed] == list(record.milder)
    assert all(
        name in RECORDS and name in str(change.note) for name, change in zip(record.milder, proposed, strict=True)
    )


@pytest.mark.parametrize("optim", RECORDS)
def test_the_replay_makes_the_states_of_the_record(optim):
    static = Static("a", (NUMEL * 4,), NUMEL * 4, True, True, SHAPE, "float32")
    made = sum(size for _, size in _states(recipe(optim), [static]))
    assert abs(made - optimizer_bytes(optim, SHAPE, "float32")[0]) <= 1
    steps = [size for _, size in _step_temporaries(recipe(optim), [static], 512) if size > 0]
    assert steps == [NUMEL * 4 if RECORDS[optim].temporary == "second_moments" else 512]


@pytest.mark.parametrize("optim", RECORDS)
@pytest.mark.parametrize("kind", ["ddp", "zero1", "zero2", "zero3", "fsdp", "tp", "pp"])
def test_several_devices_read_the_record_or_refuse_the_optimizer(kind, optim):
    record, fields = RECORDS[optim], {"num_processes": 2, "distributed_type": kind}
    if kind in ("fsdp", "tp") and kind not in record.shards:
        with pytest.raises(Problem) as raised:
            recipe(optim, **fields)
        assert raised.value.field == "optim" and "adamw_torch_fused" in str(raised.value)
        return
    made = estimate(recipe(optim, **fields), CARD)
    assert made.device_bytes > 0 and (
        made.components["optimizer_states"] > 0 or kind not in ("zero1", "zero2", "zero3")
    )
    if kind in ("zero1", "zero2", "zero3"):
        offloaded = {**fields, "offload_optimizer_device": "cpu"}
        if record.offloads:
            assert estimate(recipe(optim, **offloaded), CARD).parallel.host_bytes > 0
        else:
            with pytest.raises(Problem) as raised:
                recipe(optim, **offloaded)
            assert raised.value.field == "optim"


@pytest.mark.parametrize("optim", RECORDS)
def test_bytes_follow_the_states(optim):
    """Two moments take twice one, eight bits a quarter and their scales; a host's count is on the host."""
    record = RECORDS[optim]
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        resident, paged = optimizer_bytes(optim, SHAPE, dtype)
        widths = {"own": width, "float32": 4, "uint8": 1}
        values = sum(widths[state.dtype] * NUMEL for state in record.states if state.shape == "like")
        assert resident + paged >= values and bool(paged) == record.paged
        on_host = optimizer_bytes(optim, SHAPE, dtype, "cpu")
        counts = sum(4 for state in record.states if state.shape == SCALAR and state.device == "cpu")
        assert sum(on_host) == resident + paged + counts and on_host[1] == 0
    assert qmap_bytes(optim) == 1024 * record.tables


@pytest.mark.parametrize("optim", RECORDS)
@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_what_is_said_of_warmup_is_what_the_library_does(optim, schedule):
    """The rate of the first step, by Transformers' schedule and the optimizer's own: below the peak, or a remark says
    why not."""
    optimization, torch = pytest.importorskip("transformers.optimization"), pytest.importorskip("torch")
    record, asked = RECORDS[optim], recipe(optim, lr_scheduler_type=schedule, warmup_steps=10)
    made = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    optimization.get_scheduler(schedule, made, num_warmup_steps=10, num_training_steps=100)
    by_schedule = made.param_groups[0]["lr"] < 1
    codes = [note.code for note in remarks(asked)]
    assert ("recipe.schedule_twice" in codes) == (record.averages and schedule != "constant")
    rises = by_schedule or record.warmup == "steps"
    assert rises == (warmup_steps_done(asked, 100) == 10) or record.warmup == "none"
    assert bool({"recipe.no_warmup", "recipe.own_warmup"} & {*codes}) == (not rises)
    assert not list(remarks(asked.replace(warmup_steps=0.0, lr_scheduler_type="constant")))


@pytest.mark.parametrize("optim", [name for name, record in RECORDS.items() if record.package == "schedulefree"])
def test_a_share_of_warmup_is_refused_where_the_optimizer_takes_steps(optim):
    """The real optimizer's first rate is the peak divided by it."""
    schedulefree, torch = pytest.importorskip("schedulefree"), pytest.importorskip("torch")
    if RECORDS[optim].warmup == "none":
        assert recipe(optim, warmup_steps=0.1).warmup_steps == 0.1
        return
    kind = {"schedule_free_adamw": "AdamWScheduleFree", "schedule_free_sgd": "SGDScheduleFree"}[optim]
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    real = getattr(schedulefree, kind)([parameter], lr=0.01, warmup_steps=0.1)
    real.train(), real.step()
    assert real.param_groups[0]["scheduled_lr"] == pytest.approx(0.1)
    with pytest.raises(Problem, match="Give a number of steps, 1 or more, or 0"):
        recipe(optim, warmup_steps=0.1)
    assert recipe(optim, warmup_steps=1).warmup_steps == 1


def test_steps_of_warmup_that_a_constant_rate_passes_over_are_named_with_the_remedy(tmp_path):
    """In an answer, and of another tool's file too: LLaMA-Factory and Unsloth train by the same schedule."""
    warned = estimate(recipe("adamw_torch", lr_scheduler_type="constant", warmup_steps=0.03), CARD).warnings
    (said,) = (str(note) for note in warned if note.code == "recipe.no_warmup")
    assert "0.03" in said and "constant_with_warmup" in said
    file = tmp_path / "factory.yaml"
    file.write_text(
        f"model_name_or_path: {ID}\nfinetuning_type: lora\nlr_scheduler_type: constant\nwarmup_ratio: 0.1\n"
    )
    fields = {name: value for name, value in read_recipe(str(file)).items() if name != "loop"}
    assert [note.code for note in remarks(Recipe.from_dict(fields))] == ["recipe.no_warmup"]


def test_an_alias_is_the_optimizer_it_names():
    for alias, name in ALIASES.items():
        assert recipe(alias) == recipe(name) and recipe("sgd").replace(optim=alias).optim == name
    assert Recipe.from_dict({"model": ID, "optim": "adamw_8bit"}).optim == "adamw_bnb_8bit"


@pytest.mark.parametrize("name", [*NEAREST, "adam", "AdamW8bit", "paged", "", "adamw_torch ; rm", "优化器"])
def test_an_optimizer_without_a_record_is_refused_and_the_nearest_named(name):
    with pytest.raises(Problem) as raised:
        recipe(name)
    assert raised.value.code in ("recipe.choice_nearest", "recipe.missing") and raised.value.field == "optim"
    if name in NEAREST:
        assert NEAREST[name] in RECORDS and f"Nearest: {NEAREST[name]}." in str(raised.value)
    with pytest.raises(KeyError):
        optimizer_bytes(name, SHAPE, "float32")


def test_every_name_of_transformers_is_a_record_an_alias_or_refused_by_name():
    training_args = pytest.importorskip("transformers.training_args")
    names = {one.value for one in training_args.OptimizerNames}
    assert names <= {*RECORDS, *ALIASES, *NEAREST}
    assert set(RECORDS) <= names  # what trains here is what Transformers makes


def test_no_other_module_compares_optimizers_by_name():
    """A new optimizer is one record: nothing else may know its name."""
    compared = re.compile(r"optim\b\s*(==|!=|\bin\b|\bnot in\b)|in optim\b|optim\.startswith|\bOPTIMIZERS if\b")
    for file in Path(estimator.__file__).parent.rglob("*.py"):
        if file.name not in ("optimizers.py", "sweep_recipes.py"):
            lines = [line for line in file.read_text().splitlines() if compared.search(line)]
            assert not lines, (file.name, lines)
    assert OPTIMIZERS == tuple(RECORDS)
    compared_before = '    if recipe.optim == "adamw_torch":'
    assert compared.search(compared_before) and compared.search('if "lion" in optim')

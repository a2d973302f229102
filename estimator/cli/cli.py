"""`lora-studio estimate`: every `Recipe` field is a flag of the same name. Exit codes: 0, 2 bad input, 3 does not fit.

`lora-studio measure` (`estimator.measure.measure`) takes its flags and its way to a recipe from here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from estimator.cli.costing_flags import add_costing, add_own_cards, costing_of, own_cards_of, own_in_query, run_lines
from estimator.cli.near_flags import nearest
from estimator.cli.words import padded, verdict_line, word
from estimator.core.field_text import SWITCH, is_list, number_or_text, parsed
from estimator.core.fields import FieldInfo, shown
from estimator.core.problems import VOICES, Problem, say, spoken_in
from estimator.core.units import human_bytes
from estimator.estimates.calibration import Calibration
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import ENGINES, Estimate, check, estimate
from estimator.estimates.peaks import Peak
from estimator.estimates.take_away import query
from estimator.hardware.machines import SYSTEMS, machine, on_cards
from estimator.hub.sources import model_from_config, open_model
from estimator.model.catalog import Model
from estimator.model.spec import MAX_CONFIG_BYTES, parse_config, read_config
from estimator.parallel.plan import ParallelPlan
from estimator.recipe.costing import Costing
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import FIELDS, Recipe
from estimator.recipe.recipe_file import in_file, read_recipe

if TYPE_CHECKING:
    from estimator.advice.ranking import Candidate

FITS, BAD_INPUT, DOES_NOT_FIT = 0, 2, 3
ENGLISH = "en"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage text; of flags that there are not, what they may have meant."""
        said, _, words = message.partition("unrecognized arguments: ")
        flags = [word for word in words.split() if word.startswith("--")]
        near = {word.partition("=")[0]: nearest(word, self._option_string_actions) for word in flags}
        meant = ", ".join(f"{flag} for {word}" for word, flag in near.items() if flag)
        message += f". Perhaps {meant}" if meant and not said else ""
        self.exit(BAD_INPUT, f"{self.prog}: {message}. See --help.\n")


def recipe_parser(command: str, description: str, recipe_flags: tuple[str, ...] = ()) -> argparse.ArgumentParser:
    """A parser with every field of `Recipe`, and what is asked beside it: a GPU, a loop, JSON."""
    parser = Parser(prog=f"lora-studio {command}", description=description, allow_abbrev=False)
    for info in FIELDS.values():
        parser.add_argument(
            _flag(info.name), dest=info.name, metavar=_metavar(info), default=None, help=_help(info), **_arity(info)
        )
    parser.add_argument(
        "--recipe",
        *recipe_flags,
        metavar="FILE",
        help="file of these fields, and gpu and loop, as TOML, .yaml or .json; or LLaMA-Factory's, "
        "Axolotl's or Unsloth's own; flags go before it",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="a config.json to count, - for standard input; --model then only names it"
    )
    parser.add_argument("--gpu", help="name or unique alias of an accelerator, such as 'RTX 4090'")
    parser.add_argument("--loop", choices=tuple(LOOPS), default=None, help="who trains (default: trl, the studio's)")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="law",
        help="law: the traced law of the structure (default); trace: this very recipe, traced whole and replayed "
        "through the allocator",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_language(parser)
    return parser


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The flags that say what of a card there is to use."""
    parser.add_argument(
        "--system", help=f"{', '.join(SYSTEMS)}: what the card is used under. Default: native Linux, no screen on it"
    )
    parser.add_argument("--mig", metavar="PROFILE", help="a slice of the card, such as 3g.40gb")
    parser.add_argument(
        "--gpu-memory", dest="gpu_memory", metavar="GIB", help="which of the sizes the card is sold with"
    )


def machine_of(options: dict[str, Any]) -> dict[str, Any]:
    """The flags of `add_machine` as `estimate` takes them. Raises `Problem`."""
    given = {name: options[name] for name in ("system", "mig", "gpu_memory") if options[name] is not None}
    if given.keys() - {"system"} and not options["gpu"]:
        raise Problem("recipe.missing", field="gpu", allowed=f"the name of an accelerator, for {', '.join(given)}")
    try:
        memory = float(given["gpu_memory"]) if "gpu_memory" in given else None
    except ValueError:
        raise Problem(
            "recipe.type", field="gpu_memory", value=given["gpu_memory"][:80], allowed="a number of GiB"
        ) from None
    return {"system": given.get("system"), "mig": given.get("mig"), "memory_gib": memory}


def build_parser() -> argparse.ArgumentParser:
    parser = recipe_parser("estimate", "Memory of a fine-tune, by component.")
    add_batches(parser)
    add_machine(parser)
    add_costing(parser, "compare")
    add_own_cards(parser)
    parser.add_argument("--check", action="store_true", help="exit 0 where it fits the GPU, 3 where it does not")
    return parser


def add_batches(parser: argparse.ArgumentParser) -> None:
    """What the data do to a batch."""
    parser.add_argument(
        "--trained-share",
        metavar="SHARE",
        default="1",
        help="tokens of a batch that have a label, of all its tokens: above 0, at most 1 (default 1)",
    )
    parser.add_argument(
        "--padded",
        nargs="?",
        const="true",
        default="false",
        help="true: rows of one batch differ in length, so attention gets a mask (default false)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, with or without its own name in front; problems are one line on stderr and exit code 2."""
    return run_command("estimate", build_parser(), _run, argv)


def run_command(
    command: str, parser: argparse.ArgumentParser, run: Callable[[dict[str, Any]], int], argv: Sequence[str] | None
) -> int:
    """Parse and run; whatever the user can mend is one line on stderr and exit code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        options = vars(parser.parse_args(words[1:] if words[:1] == [command] else words))
    except SystemExit as stop:  # argparse has said what is wrong
        return int(stop.code or 0)
    with spoken_in(options.get("lang") or ENGLISH):
        try:
            _check_language(options.get("lang"))
            return run(options)
        except BrokenPipeError:  # whoever reads has seen enough, as `| head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FITS
        except Problem as problem:
            print(one_line(f"{parser.prog}: {problem}"), file=sys.stderr)
            return BAD_INPUT


def _check_language(given: str | None) -> None:
    languages = (ENGLISH, *VOICES)
    if given is not None and given not in languages:
        raise Problem("recipe.choice", field="lang", value=given[:40], allowed=", ".join(languages))


def add_language(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lang", help="language of the sentences: en (default) or zh-CN")


def _run(options: dict[str, Any]) -> int:
    own_cards_of(options)  # what is wrong in one is said before anything is printed
    with asked(options) as (recipe, model, gpu, loop):
        if options["check"] and not gpu:
            raise Problem("recipe.missing", field="gpu", allowed="the name of an accelerator, for --check")
        asked_of = machine_of(options | {"gpu": gpu})
        known = Calibration.of(machine(gpu, **asked_of).gpu.name) if gpu else None
        made = estimate(
            recipe,
            gpu,
            model=model,
            loop=loop,
            engine=options["engine"],
            derive=True,
            calibration=known,
            **asked_of,
            **batches_of(options),
        )
        costing = costing_of(options)
        run = None
        if costing.stated():
            if not gpu:
                raise Problem("recipe.missing", field="gpu", allowed="the name of an accelerator, for time and money")
            run = _priced(recipe, gpu, costing, model=model, loop=loop, options=options, asked_of=asked_of)
        if options["json"]:
            print(
                json.dumps(
                    made.to_dict() | ({"costing": costing.stated(), "run": run.to_dict()} if run else {}),
                    indent=2,
                    ensure_ascii=False,
                )
            )
        else:
            print(table(recipe, made))
            beside = ["", *run_lines(run)] if run else []
            if not options["config"]:
                conditions = conditions_of(asked_of, options)
                beside += [
                    "",
                    "  " + say("cli.link", query=query(recipe, gpu, conditions, costing) + own_in_query(options)),
                ]
            print("\n".join(map(one_line, beside)))
        return verdict(made) if options["check"] else FITS


def _priced(
    recipe: Recipe,
    gpu: str,
    costing: Costing,
    model: Model,
    loop: str,
    options: dict[str, Any],
    asked_of: dict[str, Any],
) -> Candidate:
    """Time and money on the card that was named, under the same conditions as its memory."""
    from estimator.advice.priced import priced  # here: most commands ask none of it, and it takes a while to load

    conditions = conditions_of(asked_of, options)
    card = machine(gpu.partition(" MIG ")[0], memory_gib=conditions.gpu_memory).gpu
    own = own_cards_of(options)
    card = next((one.gpu for one in own if one.gpu.name == card.name), card)
    where = {"model": model, "loop": loop, "batches": conditions.batches, "conditions": conditions, "own": own}
    return priced(recipe, card, costing, derive=True, **where)


def conditions_of(asked_of: dict[str, Any], options: dict[str, Any]) -> Conditions:
    """What is asked beside the recipe: `asked_of` is of `machine_of`."""
    where = {"gpu_memory" if name == "memory_gib" else name: value for name, value in asked_of.items()}
    return Conditions(**where, **batches_of(options))


def verdict(made: Any) -> int:
    """The exit code of `--check`. Raises `Problem` where the memory of the card is not known."""
    if made.fits is None:
        raise Problem("gpu.memory_unknown", field="gpu", value=made.gpu)
    return FITS if made.fits else DOES_NOT_FIT


def batches_of(options: dict[str, Any]) -> dict[str, Any]:
    """What the user knows of his data. Raises `Problem`."""
    padded = SWITCH.get(options["padded"].lower())
    if padded is None:
        raise Problem("recipe.type", field="padded", value=options["padded"], allowed="true or false")
    share = number_or_text(options["trained_share"])
    if isinstance(share, str):
        raise Problem("recipe.type", field="trained_share", value=share, allowed="a number")
    return {"trained_share": share, "padded": padded}


@contextlib.contextmanager
def asked(options: dict[str, Any]) -> Iterator[tuple[Recipe, Model, str | None, str]]:
    """The recipe, its model, the GPU's name and the loop that flags and the file ask for, checked without torch.

    A `Problem` raised inside about a value from the file is raised again with the file's name.
    """
    flags = flags_of(options)
    path = options["recipe"]
    stated = read_recipe(path, _tell) if path is not None else {}
    gpu = options["gpu"] if options["gpu"] is not None else stated.get("gpu")
    loop = options["loop"] or stated.get("loop", "trl")
    if options["config"]:
        stated.setdefault("model", "config.json")
    try:
        recipe = Recipe.from_dict({**{name: stated[name] for name in FIELDS if name in stated}, **flags})
        for note in unread(recipe, flags):
            _tell(note)
        recipe, gpu = on_cards(recipe, gpu) if gpu is not None else (recipe, gpu)
        model = _pasted(options["config"], recipe.model) if options["config"] else open_model(recipe.model)
        for problem in check(recipe, model=model, loop=loop):
            raise problem
        yield recipe.replace(model=model.repository or recipe.model), model, gpu, loop
    except Problem as problem:
        if (
            problem.field in stated
            and problem.field not in flags
            and path is not None
            and options.get(problem.field) is None
        ):
            raise in_file(path, problem) from None
        raise


READ_WITH: dict[str, tuple[str, Callable[[Recipe], bool]]] = {
    **dict.fromkeys(("quantization", "bnb_4bit_use_double_quant"), ("method", lambda recipe: recipe.is_quantized)),
    **dict.fromkeys(("r", "lora_alpha", "target_modules", "use_dora"), ("method", lambda recipe: recipe.has_adapters)),
    "packing_strategy": ("packing", lambda recipe: recipe.packing),
}
"""Fields that are read only beside what another one says: the other, and whether it says so."""


def unread(recipe: Recipe, flags: Collection[str]) -> Iterator[Problem]:
    """Flags that were given and say nothing beside the others."""
    for name in flags:
        other, is_read = READ_WITH.get(name, ("", bool))
        if not is_read(recipe):
            value, beside = shown(getattr(recipe, name)), f"{other} {shown(getattr(recipe, other))}"
            yield Problem("recipe.unread", field=name, value=value, other=beside)


def _tell(note: Problem) -> None:
    """Beside the answer, which may be JSON."""
    print(one_line(f"note: {note}"), file=sys.stderr)


def flags_of(options: dict[str, Any]) -> dict[str, Any]:
    """The recipe fields that were given, as their types."""
    return {name: parsed(FIELDS[name], options[name]) for name in FIELDS if options[name] is not None}


def _pasted(file: str, name: str) -> Model:
    """The model of a config.json, its own folder or `-`; counted where torch is installed."""
    if file == "-":
        return model_from_config(parse_config(sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1), "standard input"), name)
    return model_from_config(read_config(Path(file).expanduser()), name)


def one_line(text: str) -> str:
    """Names and values may be a stranger's: no line of his own, no escape sequence for the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _metavar(info: FieldInfo) -> str:
    return "LIST" if is_list(info) else info.name.upper().rpartition("_")[2]


def _arity(info: FieldInfo) -> dict[str, Any]:
    """A switch may stand alone; a list takes several words or one with commas."""
    if bool in info.kinds:
        return {"nargs": "?", "const": "true"}
    return {"nargs": "+"} if is_list(info) else {}


def _help(info: FieldInfo) -> str:
    default = "" if info.name == "model" else f" Default: {info.default}."
    others = ", ".join(f"{name} ({meant})" for name, meant in info.limits.get("aliases", {}).items())
    also = f" Also: {others}." if others else ""
    return f"{info.allowed}.{default}{also}".replace("%", "%%")


def table(recipe: Recipe, made: Estimate) -> str:
    """The estimate for a reader."""
    trained = 100 * made.trainable_parameters / made.total_parameters
    bar = say("cli.range", low=human_bytes(made.uncertainty.low_bytes), high=human_bytes(made.uncertainty.high_bytes))
    disk = say(
        "cli.disk", checkpoint=human_bytes(made.disk.checkpoint_bytes), weights=human_bytes(made.disk.weights_bytes)
    )
    lines = [
        f"{recipe.model}  {recipe.method}" + (f" {recipe.quantization}" if recipe.is_quantized else ""),
        _figure("parameters", f"{made.total_parameters:,}"),
        _figure("trainable", f"{made.trainable_parameters:,}", f"({trained:.3f} %)"),
        "",
        *(_figure(name, human_bytes(size)) for name, size in made.components.items()),
        _figure("peak_allocated", human_bytes(made.peak_allocated_bytes), say("cli.at", when=word(made.peak_moment))),
        _figure("peak_reserved", human_bytes(made.peak_reserved_bytes)),
        _figure("on_the_device", human_bytes(made.device_bytes), f"({bar})"),
        "",
        *(_peak_line(peak, peak is made.largest_peak) for peak in made.peaks),
        _figure("on_the_disk", human_bytes(made.disk.total_bytes), disk),
    ]
    if made.parallel:
        lines += ["", *_parallel_lines(made.parallel)]
    if made.gpu and made.usable_bytes is not None:
        lines += ["", f"  {verdict_line(made)}"]
    return "\n".join(map(one_line, lines + [f"  {say('cli.note', note=warning)}" for warning in made.warnings]))


def _figure(name: str, value: str, beside: str = "") -> str:
    return f"  {padded(word(name), 18)} {value:>16}" + (f"  {beside}" if beside else "")


def _parallel_lines(plan: ParallelPlan) -> list[str]:
    """What several devices need beside each one's memory."""
    rank = f", rank {plan.largest_rank} needs most" if plan.distributed_type == "pp" else ""
    sizes = {
        "host memory": (plan.host_bytes, "offloaded, a device"),
        "disk": (plan.disk_bytes, "offloaded, a device"),
        **{
            name.replace("_", " "): (size, "sent a device and step")
            for name, size in plan.communication_bytes_per_step.items()
        },
        "saving, device": (plan.saving_device_bytes, "rank 0, gathering one tensor"),
        "saving, host": (plan.saving_host_bytes, "rank 0, the gathered weights"),
    }
    code = "cli.of_several_whole" if plan.distributed_type == "ddp" else "cli.of_several"
    lines = ["  " + say(code, count=plan.num_devices, kind=plan.distributed_type, rank=rank)]
    return lines + [f"  {name:<18} {human_bytes(size):>16}  {words}" for name, (size, words) in sizes.items() if size]


def _peak_line(peak: Peak, is_largest: bool) -> str:
    """One moment: the device, and the host where it takes something there."""
    size = (
        word("unknown")
        if peak.device_bytes is None
        else ("<= " if peak.is_bound else "") + human_bytes(peak.device_bytes)
    )
    host = say("cli.host", size=human_bytes(peak.host_bytes)) if peak.host_bytes else ""
    beside = say("cli.semicolon").join(filter(None, (say("cli.at", when=word(peak.when)), host)))
    return _figure(peak.name, padded(size, 16, right=True), beside + (" " + say("cli.largest") if is_largest else ""))


if __name__ == "__main__":
    raise SystemExit(main())

"""What programs ask: `/estimate` and `/recommend`, by `gradio_client`, plain HTTP, or as the tools of an MCP server.

Nothing else of the page is public, so these two are also all that `--mcp` shows. Answers are those of the command line's
`--json`; what the caller can mend comes back as the same sentence, with its code and values as JSON in the error's title.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from estimator.advice.priced import priced
from estimator.advice.recommend import Wish
from estimator.advice.recommend import recommend as recommended
from estimator.core.field_text import whole
from estimator.core.fields import FieldInfo, checked, shown
from estimator.core.problems import Problem
from estimator.estimates.calibration import Calibration
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import Estimate, check
from estimator.estimates.estimate import estimate as estimated
from estimator.hardware.cards import find_gpu
from estimator.hardware.machines import machine, on_cards
from estimator.model.catalog import Model, models
from estimator.recipe.costing import COSTING, Costing
from estimator.recipe.recipe import FIELDS as RECIPE_FIELDS
from estimator.recipe.recipe import Recipe
from studio.gate.bodies import replayed
from studio.gate.page import Refusal
from studio.gate.routes import answer
from studio.gate.security import from_this_machine
from studio.models import exact
from studio.models.find import find_model
from studio.services import Shared
from studio.tabs import can_train

T = TypeVar("T")
FIELDS = {
    info.name: info
    for info in (
        FieldInfo("gpu", str | None, None, {}),
        FieldInfo("system", str | None, None, {}),
        FieldInfo("mig", str | None, None, {}),
        FieldInfo("gpu_memory", float | None, None, {"above": 0.0, "high": 10_000}),
        FieldInfo("trained_share", float, 1.0, {"above": 0.0, "high": 1.0}),
        FieldInfo("padded", bool, False, {}),
    )
}
"""What `/estimate` takes beside the recipe; `Wish` checks what `/recommend` does."""
BY_NAME = "/gradio_api/call/v2"
"""Where a request is an object of the arguments by their names."""
WAYS = ("/gradio_api/run", "/gradio_api/api", BY_NAME)
"""Where plain requests go; the page's own quick calls too."""
API_COSTING = tuple(name for name in COSTING if name != "compare")
OTHERS_FAULT = ("hub.unreachable", "hub.late", "hub.offline")
DEFAULTS: dict[str, dict[str, Any]] = {}
"""What stands for arguments that a plain request leaves out: the endpoints' own defaults, by name (`register`)."""
DERIVE_SECONDS = 10.0
WAITING = 2
"""Requests that wait for a trace at a time."""
PLAIN = {name for name, info in RECIPE_FIELDS.items() if info.limits.get("choices")} | {"model"}
"""Fields whose text is one of a few words."""


class PlainRequests:
    """Middleware: plain requests to the endpoints share one of Gradio's sessions, may leave arguments out at the end, and get a status
    that says whose mistake it was: Gradio answers 500 to every error.

    For a request that names no session Gradio makes a copy of the whole page, 30 ms of work for an answer that takes 3; neither endpoint
    keeps anything in a session.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way, _, name = scope.get("path", "").rstrip("/").rpartition("/")
        if scope["type"] != "http" or way not in WAYS:
            return await self.app(scope, receive, send)
        if name in DEFAULTS:
            asked = await Request(scope, receive).body()
            if way == BY_NAME and (unknown := set(json.loads(asked)) - set(DEFAULTS[name])):
                problem = Problem(
                    "request.no_argument", field=sorted(unknown)[0][:80], value=name, allowed=", ".join(DEFAULTS[name])
                )
                return await answer(problem, 422, scope)(scope, receive, send)
            body = _completed(asked, DEFAULTS[name], by_name=way == BY_NAME)
            MutableHeaders(scope=scope)["content-length"] = str(len(body))
            receive = replayed(body, receive)
        await self.app(scope, receive, _Blamed(send).send)


class _Blamed:
    """Holds an answer with status 500 back until it is whole; where it tells a `Problem`, the status becomes that of the `Problem`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send({**self._start, "status": _status(self._body)})
                await self._send({"type": "http.response.body", "body": self._body})


def _status(body: bytes) -> int:
    """422 for what the caller can mend; 503 where a worker or a hub did not answer; else 500, and the fault is here."""
    try:
        code = json.loads(json.loads(body)["title"])["code"]
    except (ValueError, KeyError, TypeError):
        return 500
    return 503 if code in OTHERS_FAULT or code.startswith("worker.") else 422


def _completed(body: bytes, defaults: dict[str, Any], by_name: bool) -> bytes:
    """A request's JSON object (`studio.gate.bodies`), with what it leaves out."""
    asked = json.loads(body)
    if by_name:
        return json.dumps(defaults | asked).encode()
    if isinstance(data := asked.get("data"), list):
        asked["data"] = [*data, *list(defaults.values())[len(data) :]]
    return json.dumps(asked | {"session_hash": "programs"}).encode()


def register(shared: Shared) -> None:
    """Add the two endpoints to the page that is being built."""

    async def estimate(
        recipe: dict,
        gpu: str | None = None,
        system: str | None = None,
        trained_share: float = 1.0,
        padded: bool = False,
        costing: dict | None = None,
        mig: str | None = None,
        gpu_memory: float | None = None,
        request: gr.Request = None,
    ) -> dict:
        """Memory of one fine-tune (full, LoRA or QLoRA) of a language model, by component, and whether it fits a GPU. All sizes in bytes. "engine" says what the figures stand on: traced, or approximately nearest (the law of "stands_on") or analytic; a new structure is traced first, which takes a second or two and at most 10, unless others wait for theirs.

        Parameters:
            recipe: fields of a recipe by PEFT's and Transformers' names, as {"model": "meta-llama/Llama-3.1-8B", "method": "qlora", "r": 16, "max_length": 2048, "per_device_train_batch_size": 2}; only model is needed
            gpu: name or unique alias of an accelerator, such as "RTX 4090"; without it no verdict is given
            system: linux, linux-desktop, windows, windows-desktop, wsl2 or macos; by default native Linux with no screen on the card
            trained_share: tokens that have a label, of all tokens of a batch: above 0, at most 1
            padded: true where rows of one batch differ in length
            costing: for time and money of the run too (in "run"), any of {"rows": 50000, "tokens_per_row": 512, "devices": 2, "usd_per_kwh": 0.3, "hours_per_month": 100, "owned": ["RTX 3060"]}; a gpu is then needed
            mig: a slice of the gpu, such as "3g.40gb"
            gpu_memory: which of the sizes in GiB the gpu is sold with, such as 12 of "RTX 3060"
        """
        asked = {"gpu": gpu, "system": system, "trained_share": trained_share, "padded": padded}
        asked |= {"mig": mig, "gpu_memory": gpu_memory}

        async def made() -> dict[str, Any]:
            wanted = _costing(costing, gpu)
            said = await _derived(shared, _is_quick(recipe), lambda: _estimate(shared, request, _fields(recipe), asked))
            if wanted is None:
                return said
            run = await _run(False, lambda: _priced(shared, request, _fields(recipe), wanted, asked))
            return said | {"costing": wanted.stated(), "run": run}

        return await _answer(request, made())

    async def recommend(
        model: str, rows: int | None = None, tokens_per_row: int | None = None, lengths: list[int] | None = None, budget_usd: float | None = None,
        buy: bool = False, recipe: dict | None = None, plans: int = 5, devices: int | None = None, usd_per_kwh: float | None = None,
        owned: list[str] | None = None, request: gr.Request = None,
    ) -> dict:  # fmt: skip
        """Which GPU and which kind of fine-tune for a model, a dataset and a budget: plans that fit, the cheapest first, with memory, hours and cost.

        Parameters:
            model: a preset's id or a hub id, such as "meta-llama/Llama-3.1-8B"
            rows: rows of the dataset
            tokens_per_row: tokens of each row; by default the recipe's max_length
            lengths: tokens of each row instead of rows and tokens_per_row
            budget_usd: most that the run may cost on a rented card, or with buy the card
            buy: true to rank by the price of the card instead of the run's rent
            recipe: further fields of the recipe; a method given here is the only one tried
            plans: how many to return, 1 to 100
            devices: cards of each plan, 1 to 8; by default the fewest that hold it
            usd_per_kwh: price of one's own electricity
            owned: cards that one owns, such as "RTX 3060" or "2 x RTX 4090": they cost their electricity alone
        """
        given = {
            "rows": rows,
            "tokens_per_row": tokens_per_row,
            "lengths": lengths,
            "budget_usd": budget_usd,
            "buy": buy,
            "plans": plans,
            "devices": devices,
            "usd_per_kwh": usd_per_kwh,
            "owned": owned,
        }
        return await _answer(
            request, _run(False, lambda: _recommend(shared, request, {**_fields(recipe or {}), "model": model}, given))
        )

    # Both answer at once: no place in the queue, and as many as ask.
    for function in (estimate, recommend):
        gr.api(function, queue=False, concurrency_limit=None)
        arguments = [known for name, known in inspect.signature(function).parameters.items() if name != "request"]
        DEFAULTS[function.__name__] = {
            known.name: None if known.default is known.empty else known.default for known in arguments
        }


async def _answer(request: Any, made: Awaitable[dict[str, Any]]) -> Any:
    """The dict; to an MCP client its JSON, since Gradio would send the text of a Python dict."""
    try:
        said = await made
    except Problem as problem:
        raise Refusal(problem) from None
    return json.dumps(said, ensure_ascii=False) if _is_tool_call(request) else said


async def _run(quick: bool, ask: Callable[[], T]) -> T:
    """A quick answer takes less time than handing it to a thread, which then fights the server's own for the interpreter."""
    return ask() if quick else await anyio.to_thread.run_sync(ask)


async def _derived(shared: Shared, quick: bool, ask: Callable[[], Estimate]) -> dict[str, Any]:
    """The estimate, by a law traced now where none is at hand. Who waits for the trace worker takes none of the threads that
    answer the others, and gets the approximate answer when `DERIVE_SECONDS` are over: the worker goes on, so the next one is exact.
    The worker answers one after another: while some wait for it already, others are answered at once."""
    made = await _run(quick, ask)
    if can_train() and exact.can_be_traced(made) and _waiting().available_tokens:
        with anyio.move_on_after(DERIVE_SECONDS):
            derived = functools.partial(
                exact.derive, shared.space, made, shared.trace_worker, within_seconds=DERIVE_SECONDS, evaluation=True
            )
            await anyio.to_thread.run_sync(derived, abandon_on_cancel=True, limiter=_waiting())
        made = await _run(quick, ask)
    if problem := exact.why_not(made):
        made = replace(made, warnings=(*made.warnings, problem))
    return await _run(quick, made.to_dict)


@functools.cache
def _waiting() -> anyio.CapacityLimiter:
    """Who may wait for the trace worker."""
    return anyio.CapacityLimiter(WAITING)


def _is_quick(recipe: Any) -> bool:
    """Whether nothing has to be asked of a hub, a worker or a process that matches expressions."""
    if not isinstance(recipe, dict) or not isinstance(recipe.get("model"), str) or recipe["model"] not in models():
        return False
    return all(
        not isinstance(value, (str, list, dict)) or name in PLAIN or value == "all-linear"
        for name, value in recipe.items()
    )


def _is_tool_call(request: Any) -> bool:
    return request is not None and "/gradio_api/mcp" in request.url.path


def _fields(recipe: Any) -> dict[str, Any]:
    """The recipe's fields, given as an object or as its JSON text. Raises `Problem`."""
    if isinstance(recipe, str):
        recipe = _json_of(recipe)
    if not isinstance(recipe, dict):
        raise Problem("recipe.type", field="recipe", value=shown(recipe), allowed="an object of recipe fields")
    return recipe


def _estimate(shared: Shared, request: Any, fields: dict[str, Any], asked: dict[str, Any]) -> Estimate:
    """By the law at hand."""
    given = {name: checked(FIELDS[name], value) for name, value in asked.items()}
    recipe = Recipe.from_dict(fields)
    if given["gpu"]:
        recipe, given["gpu"] = on_cards(recipe, given["gpu"])
    given["memory_gib"] = given.pop("gpu_memory")
    where = machine(given["gpu"], given["system"], given["mig"], given["memory_gib"]) if given["gpu"] else None
    model = _model(shared, request, recipe.model)
    for problem in check(recipe, model=model):
        raise problem
    known = Calibration.of(where.gpu.name, shared.space.calibration) if where else None
    recipe = recipe.replace(model=model.repository or recipe.model)
    return estimated(recipe, model=model, calibration=known, cache_dir=shared.space.cache, **given)


def _costing(stated: Any, gpu: str | None) -> Costing | None:
    """What is asked of time and money; None where nothing is. Raises `Problem`."""
    if stated is None:
        return None
    if isinstance(stated, str):  # as a tool's caller may send an object
        stated = _json_of(stated)
    if not isinstance(stated, dict):
        raise Problem("recipe.type", field="costing", value=shown(stated), allowed="an object")
    if unknown := [name for name in stated if name not in API_COSTING]:
        raise Problem(
            "recipe.unknown_field", field=unknown[0], value=shown(stated[unknown[0]]), allowed=", ".join(API_COSTING)
        )
    if gpu is None:
        raise Problem("recipe.missing", field="gpu", allowed="the name of an accelerator, for time and money")
    return Costing(**stated)


def _json_of(text: str) -> Any:
    try:
        return whole(json.loads(text))
    except (ValueError, RecursionError):
        return text  # refused as text


def _priced(
    shared: Shared, request: Any, fields: dict[str, Any], costing: Costing, asked: dict[str, Any]
) -> dict[str, Any]:
    """Time and money on one kind of card, by the law at hand."""
    recipe = Recipe.from_dict(fields)
    recipe, gpu = on_cards(recipe, asked["gpu"])
    conditions = Conditions(**{name: value for name, value in asked.items() if name != "gpu"})
    made = {"model": _model(shared, request, recipe.model), "conditions": conditions, "batches": conditions.batches}
    card = find_gpu(gpu, conditions.gpu_memory)
    return priced(recipe, card, costing, cache_dir=shared.space.cache, **made).to_dict()


def _recommend(shared: Shared, request: Any, fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    wish = Wish(**given)
    model = _model(shared, request, Recipe.from_dict(fields).model)
    return recommended(fields, wish, model=model, cache_dir=shared.space.cache).to_dict()


def _model(shared: Shared, request: Any, name: str) -> Model:
    """A preset or a hub id; a folder only for whoever sits at this machine. Raises `Problem`."""
    return find_model(shared.space, name, shared.trace_worker if can_train() else None, from_this_machine(request))

"""What programs ask of a real server: `/estimate` and `/recommend`."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import anyio
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from estimator import Recipe, estimate
from estimator.advice.priced import priced
from estimator.cli import cli
from estimator.core.problems import Problem
from estimator.estimates.conditions import Conditions
from estimator.recipe.costing import Costing
from studio import __main__ as command
from studio.gate import startup
from studio.space import Space
from studio.web import api
from tests.serving import Studio
from tests.studio.requests import HERE, PROXIED, VISITOR

MODEL = "meta-llama/Llama-3.1-8B"
RECIPE = {"model": MODEL, "method": "qlora", "r": 32, "max_length": 2048, "per_device_train_batch_size": 4}
FLAGS = [
    "--model",
    MODEL,
    "--method",
    "qlora",
    "--r",
    "32",
    "--max-length",
    "2048",
    "--per-device-train-batch-size",
    "4",
]


@pytest.fixture(scope="module")
def client(studio):
    return Client(studio.url, verbose=False)


def posted(studio, name: str, *data: object) -> tuple[int, dict]:
    """One plain request, as curl makes it."""
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(f"{studio.url}/gradio_api/run/{name}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_an_estimate_is_the_command_lines_json(client, capsys):
    assert cli.main(["estimate", *FLAGS, "--gpu", "RTX 4090", "--json"]) == 0
    assert client.predict(RECIPE, gpu="RTX 4090", api_name="/estimate") == json.loads(capsys.readouterr().out)


def test_a_new_structure_is_traced_for_who_asks_as_the_command_traces_it(client, capsys):
    asked = {"model": "Qwen/Qwen2.5-0.5B", "lora_dropout": 0.1, "per_device_train_batch_size": 3}
    for _ in range(10):  # the worker has to start, on a machine that tests share
        said = client.predict(asked, api_name="/estimate")
        if said["engine"] == "traced":
            break
        assert (said["engine"], said["stands_on"]) == ("nearest", "lora_dropout 0.0")
    assert (
        cli.main(
            [
                "estimate",
                *itertools.chain(*((f"--{name.replace('_', '-')}", str(value)) for name, value in asked.items())),
                "--json",
            ]
        )
        == 0
    )
    assert said["engine"] == "traced" and said == json.loads(capsys.readouterr().out)


def test_the_machine_and_the_data_count(client):
    said = client.predict(RECIPE, "GeForce RTX 3060 12GB", "windows-desktop", 0.5, True, api_name="/estimate")
    made = estimate(Recipe(**RECIPE), "GeForce RTX 3060 12GB", system="windows-desktop", trained_share=0.5, padded=True)
    assert said == json.loads(made.to_json())


def test_a_size_a_slice_and_the_money_of_a_run_are_asked_by_name(client):
    asked = {"rows": 1000, "tokens_per_row": 512, "usd_per_kwh": 0.3, "owned": ["3060 12g"]}
    said = client.predict(RECIPE, gpu="RTX 3060", gpu_memory=12, costing=asked, api_name="/estimate")
    recipe, conditions = Recipe(**RECIPE), Conditions(gpu_memory=12)
    run = priced(recipe, "GeForce RTX 3060 12GB", Costing(**asked), conditions=conditions).to_dict()
    assert said["gpu"] == "GeForce RTX 3060 12GB" and said["costing"] == asked
    assert said["run"]["throughput"] == json.loads(json.dumps(run["throughput"])) and run["cost"]["way"] == "own"
    assert said["run"]["cost"]["run_usd"] == run["cost"]["run_usd"] and "750 optimizer steps" in run["course"]["text"]
    two = client.predict(RECIPE, gpu="2x 4090", costing={"rows": 1000}, api_name="/estimate")
    assert two["run"]["count"] == 2 and two["parallel"]["num_devices"] == 2
    part = client.predict(RECIPE, gpu="A100 SXM4 40GB", mig="2g.10gb", api_name="/estimate")
    assert part["usable_bytes"] == estimate(recipe, "A100 SXM4 40GB", mig="2g.10gb").usable_bytes


def test_a_plain_request_gets_the_same_in_one_answer(studio, client):
    status, answer = posted(studio, "estimate", RECIPE, "RTX 4090", None, 1.0, False)
    assert status == 200 and answer["data"] == [client.predict(RECIPE, "RTX 4090", api_name="/estimate")]
    status, answer = posted(studio, "estimate", json.dumps(RECIPE), "RTX 4090", None, 1.0, False)
    assert status == 200 and answer["data"][0]["fits"] is True


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"data": 5}', b'{"data": []}', b'{"data": [' + b"[" * 5000])
def test_what_is_no_question_is_refused_and_the_server_lives(studio, client, body):
    request = urllib.request.Request(
        f"{studio.url}/gradio_api/run/estimate", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code in (400, 422) and b"Traceback" not in caught.value.read()
    assert client.predict(RECIPE, api_name="/estimate")["fits"] is None


BAD = [
    ({"recipe": {"model": MODEL, "r": 0}}, "recipe.range", "r"),
    ({"recipe": {"model": MODEL, "r": 10**400}}, "recipe.range", "r"),
    ({"recipe": {"model": MODEL, "rank": 8}}, "recipe.unknown_field", "rank"),
    ({"recipe": {"model": MODEL, "method": "dora"}}, "recipe.choice", "method"),
    ({"recipe": {"model": MODEL, "target_modules": "(a+)+$"}}, "estimator.no_match", "target_modules"),
    ({"recipe": {"model": [MODEL]}}, "recipe.type", "model"),
    ({"recipe": {}}, "recipe.missing", "model"),
    ({"recipe": [1]}, "recipe.type", "recipe"),
    ({"recipe": "{broken"}, "recipe.type", "recipe"),
    ({"recipe": {"model": "../../etc/passwd"}}, "model.unknown", "model"),
    ({"recipe": {"model": "no-such/model"}}, "hub.offline", "model"),
    ({"gpu": "RTX 9999 Super Ultra"}, "gpu.unknown", "gpu"),
    ({"gpu": ["RTX 4090"]}, "recipe.type", "gpu"),
    ({"gpu": "RTX 4090", "system": "beos"}, "recipe.choice", "system"),
    ({"gpu": "RTX 4090", "system": ["linux"]}, "recipe.type", "system"),
    ({"trained_share": 0}, "recipe.range", "trained_share"),
    ({"trained_share": "half"}, "recipe.type", "trained_share"),
    ({"padded": "yes"}, "recipe.type", "padded"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "code", "field"), BAD)
def test_a_mistake_names_the_field_its_value_and_what_is_allowed(client, asked, code, field):
    with pytest.raises(AppError) as caught:
        client.predict(**{"recipe": RECIPE, **asked}, api_name="/estimate")
    problem = Problem.from_dict(json.loads(caught.value.title))
    assert (problem.code, problem.field) == (code, field)
    assert caught.value.message == str(problem) and "Traceback" not in caught.value.message


def test_a_mistake_leaves_no_traceback_in_the_servers_log(studio):
    before = studio.log()
    status, answer = posted(studio, "estimate", {"model": MODEL, "r": 0}, None, None, 1.0, False)
    assert status == 422 and answer["error"] == "r: 0 is out of range. Allowed: 1 to 4,096."
    assert studio.log() == before


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [("estimate", [{"model": MODEL, "rank": 8}], 422), ("estimate", ["{broken"], 422), ("estimate", [None] * 9, 422),
        ("estimate", [], 422), ("estimate", [[]], 422),
     ("estimate", [RECIPE, "RTX 9999"], 422), ("estimate", [{"model": "\ud800"}], 422),
     ("estimate", ['{"model": "\\ud800"}'], 422), ("estimate", [{"model": "no-such/model"}], 503),
     ("recommend", [MODEL], 422), ("recommend", [MODEL, 0], 422), ("recommend", [MODEL, "many"], 422),
     ("recommend", [5, 5], 422), ("nosuch", [], 404)],
)  # fmt: skip
def test_a_plain_request_is_told_whose_mistake_it_was(studio, name, data, status):
    said, answer = posted(studio, name, *data)
    assert said == status and len(answer["error"]) > 20 and json.loads(answer["title"])["code"]


def test_arguments_by_name_are_checked_too(studio):
    body = json.dumps({"recipe": RECIPE, "gpus": 2}).encode()
    request = urllib.request.Request(
        f"{studio.url}/gradio_api/call/v2/estimate", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 422 and "gpus: no such argument of estimate" in caught.value.read().decode()


def test_plans_are_within_the_budget_cheapest_first_and_fit(client):
    said = client.predict(model=MODEL, rows=20_000, tokens_per_row=1000, budget_usd=20, plans=4, api_name="/recommend")
    spent = [plan["usd"] for plan in said["plans"]]
    assert len(spent) == 4 and spent == sorted(spent) and spent[-1] <= 20
    for plan in said["plans"]:
        assert client.predict(plan["recipe"], plan["gpu"], api_name="/estimate")["fits"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "rows"),
        ({"rows": 0}, "rows"),
        ({"rows": 5, "lengths": [3]}, "rows"),
        ({"rows": 5, "budget_usd": -1}, "budget_usd"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_name(client, asked, field):
    with pytest.raises(AppError) as caught:
        client.predict(model=MODEL, **asked, api_name="/recommend")
    assert json.loads(caught.value.title)["params"]["field"] == field


def test_a_plain_request_may_leave_arguments_out(studio):
    status, said = posted(studio, "estimate", RECIPE)
    assert status == 200 and said["data"] == posted(studio, "estimate", RECIPE, None, None, 1.0, False)[1]["data"]
    status, said = posted(studio, "recommend", MODEL, 1000)
    assert status == 200 and len(said["data"][0]["plans"]) == 5
    assert posted(studio, "estimate")[1]["error"].startswith("recipe: null is not an object of recipe fields")


def test_programs_see_these_two_and_nothing_else(client):
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == {
        "/estimate",
        "/recommend",
    }


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (HERE, "model.no_config"),
        (VISITOR, "model.folder_refused"),
        (PROXIED, "model.folder_refused"),
        (None, "model.folder_refused"),
    ],
)
def test_a_folder_is_only_for_who_sits_at_this_machine(tmp_path, request_, code):
    with pytest.raises(Problem) as caught:
        api._model(SimpleNamespace(trace_worker=None, space=Space(tmp_path)), request_, str(tmp_path))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("recipe", "quick"),
    [(RECIPE, True), ({**RECIPE, "target_modules": "all-linear"}, True),
        ({**RECIPE, "target_modules": "(a+)+$"}, False), ({**RECIPE, "rank_pattern": {"(a+)+$": 4}}, False),
     ({"model": "org/name"}, False), ({"model": []}, False), ([], False)],
)  # fmt: skip
def test_what_may_take_long_is_not_answered_on_the_servers_own_thread(recipe, quick):
    assert api._is_quick(recipe) is quick


def test_while_some_wait_for_a_trace_others_are_answered_at_once(monkeypatch):
    traced, estimates = threading.Event(), iter(range(100))
    monkeypatch.setattr(
        api,
        "exact",
        SimpleNamespace(can_be_traced=lambda _: True, why_not=lambda _: None, derive=lambda *_, **__: traced.wait(60)),
    )
    monkeypatch.setattr(api, "can_train", lambda: True)
    ask = lambda: SimpleNamespace(to_dict=lambda made=next(estimates): made)  # noqa: E731

    async def run() -> list[int]:
        answers: list[int] = []

        async def one() -> None:
            answers.append(await api._derived(SimpleNamespace(trace_worker=None, space=None), True, ask))
            traced.set()  # only once somebody was answered

        async with anyio.create_task_group() as tasks:
            for _ in range(api.WAITING + 1):
                tasks.start_soon(one)
                await anyio.sleep(0.05)
        return answers

    assert anyio.run(run) == [api.WAITING, api.WAITING + 1, api.WAITING + 2]


def test_the_tools_of_mcp_are_these_two_and_answer_with_json(tmp_path):
    async def talk(url: str) -> tuple[set[str], list]:
        async with (
            streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            asked = ({"recipe": RECIPE, "gpu": "RTX 4090"}, {"recipe": {"model": MODEL, "r": 0}})
            return names, [await session.call_tool("estimate", one) for one in asked]

    server = Studio(tmp_path / "home", options=("--mcp",)).wait()
    try:
        names, (good, bad) = asyncio.run(talk(server.url))
    finally:
        server.stop()
    assert names == {"estimate", "recommend"}
    assert json.loads(good.content[0].text) == json.loads(estimate(Recipe(**RECIPE), "RTX 4090").to_json())
    assert bad.isError and bad.content[0].text == "r: 0 is out of range. Allowed: 1 to 4,096."


def test_without_its_package_mcp_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(startup, "has_mcp", lambda: False)
    assert command.main(["--mcp"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        'lora-studio: --mcp needs the package mcp, below version 2. Install it: pip install "lora-studio[mcp]".'
    ]

"""Comparisons in the client and on the command line, without a server."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from lmms_eval_client import AsyncClient, Client, JobComparison
from lmms_eval_client.cli import connection
from lmms_eval_client.cli.compare import format_comparison, list_sentences
from lmms_eval_client.cli.main import app


def make_metric(**fields: Any) -> dict[str, Any]:
    return {
        "metric": "acc",
        "filter": "none",
        "first": True,
        "lower_is_better": False,
        "baseline": 0.56,
        "candidate": 0.52,
        "difference": -0.04,
        "lower": -0.0585,
        "upper": -0.0229,
        "p": 5.66e-06,
        "p_adjusted": 1.1e-05,
        "conclusion": "worse",
        "pairs": 1000,
        "units": 1000,
        "lost": 60,
        "won": 20,
        "needed": 4900,
        **fields,
    }


WARNING = {"effect": "warning", "reason": "SettingsDiffer", "message": "The runs differ in seed: 1 in main, 2 in ckpt."}
REFUSED = {"effect": "refused", "reason": "NotComparable", "message": "The task has version 1 in main and 2 in ckpt."}
POINT = {
    "difference": None,
    "lower": None,
    "upper": None,
    "p": None,
    "p_adjusted": None,
    "conclusion": "unclear",
    "needed": None,
}


def make_answer(name: str = "mme") -> dict[str, Any]:
    tasks = [
        {
            "task": name,
            "metrics": [make_metric(), make_metric(metric="wer", first=False, lower_is_better=True, **POINT)],
        },
        {"task": "mmmu", "findings": [REFUSED], "metrics": [make_metric(findings=[REFUSED, WARNING], **POINT)]},
    ]
    comparison = {"baseline": "main", "candidate": "ckpt", "findings": [WARNING], "tasks": tasks}
    rerun = {
        "baseline": "main",
        "candidate": "again",
        "tasks": [{"task": "mme", "metrics": [make_metric(lost=4, won=3)]}],
    }
    return {
        "runs": [],
        "confidence": 0.95,
        "comparisons": [{**comparison, "only_baseline": ["ok_vqa"]}],
        "reruns": [rerun],
    }


class Server:
    """Answers every request with a comparison, and keeps what it was asked."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.asked: list[httpx.URL] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        return httpx.Response(200, json=self._answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(make_answer())
    transport = httpx.MockTransport(made)
    monkeypatch.setattr(connection, "make_client", lambda **_: Client("http://front-end", transport=transport))
    return made


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["compare", *words])


def test_the_request(server: Server) -> None:
    assert run("main", "ckpt", "other", "--margin", "0.01").exit_code == 0
    (asked,) = server.asked
    assert asked.path == "/jobs/ckpt/compare"
    assert asked.params.multi_items() == [("baseline", "main"), ("candidate", "other"), ("margin", "0.01")]


def test_the_table(server: Server) -> None:
    done = run("main", "ckpt", "--margin", "0.01")
    title, heads, first, second, refused, *_ = done.stdout.splitlines()
    assert title == "ckpt against main"
    assert " ".join(heads.split()) == "TASK METRIC BASELINE CANDIDATE BETTER BY 95 % INTERVAL P LOST/WON OF SO"
    assert " ".join(first.split()) == "mme acc 0.56 0.52 -0.04 -0.0585 … -0.0229 1.1e-05 60/20 1000 worse"
    assert " ".join(second.split()) == "wer ↓ 0.56 0.52 - - - - - -"
    assert " ".join(refused.split()) == "mmmu acc 0.56 0.52 - - - - - -"
    assert done.stderr.splitlines() == [
        "The runs differ in seed: 1 in main, 2 in ckpt.",
        "mmmu: not compared: The task has version 1 in main and 2 in ckpt.",
        "Only main has ok_vqa.",
        "mme: 4900 documents show that no more than the margin is lost, if nothing is.",
        "main and again ask for the same: the rerun changes 7 of 1000 values of mme, and acc by -0.04.",
    ]


def test_json(server: Server) -> None:
    done = run("main", "ckpt", "--json")
    assert JobComparison.model_validate_json(done.stdout) == JobComparison.model_validate(make_answer())
    assert run("main", "ckpt", "--json", "--markdown").exit_code == 2
    assert run("main").exit_code == 2


def test_markdown(server: Server) -> None:
    lines = run("main", "ckpt", "--markdown").stdout.splitlines()
    assert lines[0] == "**ckpt** against **main**"
    assert lines[4].startswith(
        "| mme | acc | 0.56 | 0.52 | -0.04 | -0.0585 … -0.0229 | 1.1e-05 | 60/20 | 1000 | worse |"
    )
    assert len({line.count("|") for line in lines[2:7]}) == 1
    assert lines[8] == "- The runs differ in seed: 1 in main, 2 in ckpt."


def test_names_do_not_become_markup() -> None:
    answer = make_answer("a|b\n<img src=x> [link](http://other) `code`")
    text = format_comparison(JobComparison.model_validate(answer).comparisons[0])
    assert "| a\\|b &lt;img src=x> \\[link](http://other) \\`code\\` |" in text
    assert "\n<img" not in text


def test_a_finding_is_told_once() -> None:
    comparison = JobComparison.model_validate(make_answer()).comparisons[0]
    assert len(list_sentences(comparison)) == 3


async def test_both_clients_ask_the_same() -> None:
    asked = []
    for _ in range(2):
        asked.append(Server(make_answer()))
    options: dict[str, Any] = {"candidates": ["c"], "changed": 5}
    with Client("http://front-end", transport=httpx.MockTransport(asked[0])) as client:
        found = client.compare("a", "b", "d", **options)
    async with AsyncClient("http://front-end", transport=httpx.MockTransport(asked[1])) as client_async:
        assert await client_async.compare("a", "b", "d", **options) == found
    assert asked[0].asked == asked[1].asked
    assert json.loads(found.model_dump_json())["comparisons"][0]["candidate"] == "ckpt"

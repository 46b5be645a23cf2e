"""Answers of GET /tasks and GET /models, and what is said of a request, from a small catalogue."""

import json
from typing import Any

import pytest

from lmms_eval_api.catalogue.index import CatalogueResponse, Index
from lmms_eval_core.catalogue import Catalogue, KnownModel, KnownTask, TaskKind
from lmms_eval_core.wire import EvaluateRequest, ModelList, TaskList

CATALOGUE = Catalogue(
    versions={"lmms-eval": "0.7.3"},
    tasks=[
        KnownTask(name="MMMU", kind=TaskKind.GROUP, members=["mmmu_val"]),
        KnownTask(name="mme", kind=TaskKind.TASK, dataset="org/MME", output_type="generate_until", metrics=["score"]),
        KnownTask(name="mmmu_val", kind=TaskKind.TASK),
        KnownTask(name="vqa", kind=TaskKind.TAG, members=["mme"]),
    ],
    models=[
        KnownModel(name="openai", aliases=["openai_compatible"]),
        KnownModel(name="qwen2_5_vl"),
        KnownModel(name="vllm", unavailable="This image lacks the package vllm."),
    ],
)
INDEX = Index(CATALOGUE)


LONG = "a\n" * 40


def said(answer: CatalogueResponse) -> Any:
    return json.loads(answer.body)


def warned(**fields: Any) -> list[str]:
    return INDEX.list_warnings(EvaluateRequest.model_validate({"model": "qwen2_5_vl", "tasks": ["mme"], **fields}))


def test_without_more_it_is_lmms_evals_own_answer() -> None:
    assert said(INDEX.list_tasks()) == {"tasks": ["MMMU", "mme", "mmmu_val", "vqa"]}
    assert said(INDEX.list_models()) == {
        "models": ["openai", "qwen2_5_vl", "vllm"],
        "unavailable": {"vllm": "This image lacks the package vllm."},
        "needs_remote_code": [],
    }


@pytest.mark.parametrize(
    ("q", "tasks", "models"),
    [
        ("mm", ["MMMU", "mme", "mmmu_val"], []),
        ("Mmmu_", ["mmmu_val"], []),
        ("compatible", [], ["openai"]),
        ("5_VL", [], ["qwen2_5_vl"]),
        (" ", [], []),
        ("no/such", [], []),
    ],
)
def test_a_search_finds_parts_of_names_in_whatever_case(q: str, tasks: list[str], models: list[str]) -> None:
    assert said(INDEX.list_tasks(q=q)) == {"tasks": tasks}
    assert said(INDEX.list_models(q=q)) == {"models": models, "unavailable": {}, "needs_remote_code": []}
    assert [task["name"] for task in said(INDEX.list_tasks(q=q, details=True))["tasks"]] == tasks
    assert [model["name"] for model in said(INDEX.list_models(q=q, details=True))["models"]] == models


def test_details_are_what_the_wire_says() -> None:
    tasks, models = said(INDEX.list_tasks(details=True)), said(INDEX.list_models(details=True))
    assert tasks["tasks"][1] == {
        "name": "mme",
        "kind": "task",
        "members": [],
        "dataset": "org/MME",
        "output_type": "generate_until",
        "metrics": ["score"],
    }
    assert models["models"][2] == {
        "name": "vllm",
        "aliases": [],
        "available": False,
        "reason": "This image lacks the package vllm.",
        "needs_remote_code": False,
    }
    assert tasks["versions"] == models["versions"] == {"lmms-eval": "0.7.3"}
    assert {task.kind for task in TaskList.model_validate(tasks).tasks if not isinstance(task, str)} == {
        "task",
        "group",
        "tag",
    }
    assert [model.available for model in ModelList.model_validate(models).models if not isinstance(model, str)][1:] == [
        True,
        False,
    ]


def test_an_etag_belongs_to_the_words_and_not_to_the_process() -> None:
    again, changed = Index(CATALOGUE), Index(CATALOGUE.model_copy(update={"tasks": CATALOGUE.tasks[1:]}))
    assert again.list_tasks().etag == INDEX.list_tasks().etag != changed.list_tasks().etag
    responses = (INDEX.list_tasks(), INDEX.list_tasks(details=True), INDEX.list_tasks(q="mm"), INDEX.list_models())
    assert len({response.etag for response in responses}) == 4


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tasks": ["mme,vqa", " MMMU "]},
        {"tasks": ["mm*", "vq?", "[m]me"]},
        {"model": "openai_compatible"},
        {"model": "nobodys", "tasks": ["nothing"], "image": "registry/own:1"},
        {"tasks": ["own_task"], "include_path": "/data/tasks"},
    ],
)
def test_nothing_is_said_of_what_is_known_or_of_somebody_elses(fields: dict[str, Any]) -> None:
    assert warned(**fields) == []


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        (
            {"model": "qwen2_5_vll"},
            [
                "The evaluator image knows no model 'qwen2_5_vll'. Did you mean qwen2_5_vl? GET /models lists "
                "those it knows."
            ],
        ),
        (
            {"model": "vllm", "include_path": "/data/tasks"},
            ["The evaluator image cannot use the model 'vllm'. This image lacks the package vllm."],
        ),
        (
            {"tasks": ["mme, mmu_val", "zzz", "zzz"]},
            [
                "The evaluator image knows no task 'mmu_val'. Did you mean mmmu_val? GET /tasks lists those it knows.",
                "The evaluator image knows no task 'zzz'. GET /tasks lists those it knows.",
            ],
        ),
        ({"tasks": ["a\n" * 100]}, [f"The evaluator image knows no task {LONG!r}. GET /tasks lists those it knows."]),
    ],
)
def test_what_the_image_does_not_know_is_said_in_a_sentence(fields: dict[str, Any], warnings: list[str]) -> None:
    assert warned(**fields) == warnings


def test_a_thousand_strange_names_take_few_words() -> None:
    found = warned(tasks=[f"task_{number}_of_no_benchmark" for number in range(1000)])
    assert (len(found), found[-1]) == (21, "Nor does it know 980 more.")


def test_models_that_ask_for_code_of_their_checkpoint_are_named() -> None:
    index = Index(Catalogue(tasks=[], models=[KnownModel(name="a"), KnownModel(name="b", needs_remote_code=True)]))
    assert said(index.list_models())["needs_remote_code"] == ["b"]
    assert [model["needs_remote_code"] for model in said(index.list_models(details=True))["models"]] == [False, True]

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.jobs.identity import Sender
from lmms_eval_api.jobs.submission import MAX_ANNOTATION_BYTES, PreparedSubmission, prepare_submission
from lmms_eval_api.problems import InvalidRequest
from lmms_eval_core import names
from lmms_eval_core.spec import EvaluationSpec
from lmms_eval_core.wire import EvaluateRequest

SENDER = Sender("me", None, "a")


def submitted(**fields: Any) -> PreparedSubmission:
    request = EvaluateRequest.model_validate({"model": "llava_hf", "tasks": ["mme"], **fields})
    return prepare_submission(request, sender=SENDER, namespace="team")


def spec(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = submitted(**fields).body["spec"]
    return found


def refused(**fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        submitted(**fields)
    return {".".join(map(str, field.path)): field.message for field in caught.value.fields}


def test_a_small_request_asks_for_little() -> None:
    assert spec() == {
        "model": "llava_hf",
        "tasks": ["mme"],
        "logSamples": True,
        "predictOnly": False,
        "gpus": 1,
        "priority": 0,
    }


def test_everything_arrives_under_its_own_name() -> None:
    arguments = {"pretrained": "a/b", "dtype": "float16", "max_length": 2048, "temperature": 0.5, "do_sample": False}
    full = spec(
        tasks=["mme", "mmmu_val"],
        model_args=arguments,
        num_fewshot=2,
        batch_size="auto",
        limit=0.5,
        gen_kwargs="temperature=0",
        log_samples=False,
        predict_only=True,
        num_gpus=4,
        include_path="/mnt/tasks",
        priority=-5,
    )
    assert full == {
        "model": "llava_hf",
        "modelArgs": arguments,
        "tasks": ["mme", "mmmu_val"],
        "numFewshot": 2,
        "batchSize": "auto",
        "limit": 0.5,
        "genKwargs": "temperature=0",
        "logSamples": False,
        "predictOnly": True,
        "includePath": "/mnt/tasks",
        "gpus": 4,
        "priority": -5,
    }
    EvaluationSpec.model_validate(full)


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": -1}, "limit"),
        ({"batch_size": 0}, "batchSize"),
        ({"batch_size": ""}, "batchSize"),
        ({"gen_kwargs": ""}, "genKwargs"),
        ({"model_args": {}}, "modelArgs"),
        ({"include_path": ""}, "includePath"),
    ],
)
def test_zero_and_empty_pass_no_flag(sent: dict[str, Any], key: str) -> None:
    assert key not in spec(**sent)


def test_zero_examples_are_not_nothing() -> None:
    assert spec(num_fewshot=0)["numFewshot"] == 0


@pytest.mark.parametrize(
    ("sent", "gpus"),
    [
        ({}, 1),
        ({"num_gpus": 0}, 0),
        ({"num_gpus": 8}, 8),
        ({"device": "cpu"}, 0),
        ({"device": "cpu", "num_gpus": 2}, 0),
        ({"device": "cuda:0", "num_gpus": 2}, 2),
    ],
)
def test_gpus(sent: dict[str, Any], gpus: int) -> None:
    assert spec(**sent)["gpus"] == gpus


def test_tasks_may_be_joined_by_commas() -> None:
    assert spec(tasks=["mme, mmmu_val", "", "ai2d,"])["tasks"] == ["mme", "mmmu_val", "ai2d"]


@pytest.mark.parametrize(
    ("value", "permitted"), [(True, True), ("True", True), ("true", True), (False, False), ("no", False)]
)
def test_remote_code_has_a_field_of_its_own(value: Any, permitted: bool) -> None:
    wanted = spec(model_args={"pretrained": "a/b", "trust_remote_code": value})
    assert wanted["modelArgs"] == {"pretrained": "a/b"}
    assert wanted.get("trustRemoteCode", False) is permitted


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ({"tasks": []}, "tasks", "at least one task"),
        ({"tasks": [" ", ","]}, "tasks", "at least one task"),
        ({"num_gpus": -1}, "num_gpus", "0 for none"),
        ({"limit": float("nan")}, "limit", "finite"),
        ({"limit": float("inf")}, "limit", "finite"),
        ({"limit": 10**400}, "limit", "more than 18 digits"),
        ({"num_fewshot": -(10**400)}, "num_fewshot", "more than 18 digits"),
        ({"num_gpus": 10**19}, "num_gpus", "more than 18 digits"),
        ({"batch_size": 10**19}, "batch_size", "more than 18 digits"),
        ({"tolerations": [{"toleration_seconds": 10**19}]}, "tolerations", "more than 18 digits"),
        ({"labels": {"a b": "c"}}, "labels.a b", "The label 'a b' is no possible key"),
        ({"labels": {"a" * 64: "c"}}, f"labels.{'a' * 64}", "is no possible key"),
        ({"labels": {"example.com/": "c"}}, "labels.example.com/", "is no possible key"),
        ({"labels": {"Example.com/a": "c"}}, "labels.Example.com/a", "has no possible prefix"),
        ({"labels": {"run": "a/b"}}, "labels.run", "The label 'run' has no possible value"),
        ({"labels": {"run": "x" * 64}}, "labels.run", "The label 'run' has no possible value"),
        ({"labels": {"x.k8s.io/run": "x"}}, "labels.x.k8s.io/run", "The label 'x.k8s.io/run' belongs to Kubernetes"),
        ({"gen_kwargs": "a=\0"}, "gen_kwargs", "command line"),
        ({"model": "a\ud800"}, "model", "command line"),
        ({"tasks": ["a\0"]}, "tasks", "command line"),
        ({"model_args": {"a": None}}, "model_args.a", "leave it out"),
        (
            {"model_args": {"a": {"b": 1}}},
            "model_args.a",
            r"an object, and arguments of a model are scalars: send it as JSON text",
        ),
        (
            {"model_args": {"a": [1]}},
            "model_args.a",
            'a list, and arguments of a model are scalars: send it as JSON text, as "[1, 2]"',
        ),
        ({"model_args": {"a": float("inf")}}, "model_args.a", "finite"),
        ({"model_args": {"a": 2**63}}, "model_args.a", "as text"),
        ({"model_args": {"a": "x\0"}}, "model_args.a", "command line"),
        ({"model_args": {"a b": 1}}, "model_args.a b", "letters, digits"),
        ({"model_args": {"a,b=c": 1}}, "model_args.a,b=c", "letters, digits"),
        ({"model_args": {"api_key": "sk-1"}}, "model_args.api_key", "secret_key_ref"),
        ({"model_args": {"hf_token": "hf_1"}}, "model_args.hf_token", "secret_key_ref"),
        ({"model_args": {"PASSWORD": "p"}}, "model_args.PASSWORD", "secret_key_ref"),
        ({"gen_kwargs": "temperature=0, api_key=sk-1"}, "gen_kwargs", "secret_key_ref"),
        ({"gen_kwargs": "base_url=https://user:p@host/v1"}, "gen_kwargs", "secret_key_ref"),
        ({"model_args": {"base_url": "https://user:p@host/v1"}}, "model_args.base_url", "secret_key_ref"),
    ],
)
def test_a_refusal_says_what_to_do(sent: dict[str, Any], field: str, words: str) -> None:
    sentences = refused(**sent)
    assert words in sentences[field]
    assert len(sentences) == 1


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert refused(tasks=[], num_gpus=-1, model_args={"api_key": "x", "b": None}).keys() == {
        "tasks",
        "num_gpus",
        "model_args.api_key",
        "model_args.b",
    }


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"foo": 1, "bar": None}, ["Unknown field 'bar'", "Unknown field 'foo'"]),
        ({"output_dir": "/results"}, ["output_dir has no effect"]),
        ({"device": "cuda:0"}, ["device has no effect"]),
        ({"device": "cpu", "num_gpus": 2}, ["num_gpus has no effect"]),
        ({"device": "cpu"}, []),
        ({"device": "cpu", "num_gpus": 0}, []),
        ({}, []),
    ],
)
def test_what_has_no_effect_is_named(sent: dict[str, Any], words: list[str]) -> None:
    warnings = submitted(**sent).warnings
    assert len(warnings) == len(words)
    assert all(wanted in warning for wanted, warning in zip(words, warnings, strict=True))


def test_many_unknown_fields_make_no_long_answer() -> None:
    warnings = submitted(**{f"{number:03}{'x' * 1000}": number for number in range(100)}).warnings
    assert len(warnings) == 41
    assert warnings[-1] == "60 more unknown fields have no effect."
    assert len("".join(warnings).encode()) < 4000


def test_the_object_says_where_it_comes_from_and_what_was_asked() -> None:
    body = submitted(limit="8", foo="secret of an unknown field").body
    assert body["metadata"]["labels"] == {names.LABEL_CREATED_BY: names.CREATED_BY_API}
    echoed = json.loads(body["metadata"]["annotations"][names.ANNOTATION_REQUEST])
    assert (echoed["limit"], echoed["num_gpus"]) == (8, 1)
    assert "secret of an unknown field" not in json.dumps(body)


def test_a_huge_request_is_not_repeated_in_an_annotation() -> None:
    body = submitted(output_dir="/" + "x" * MAX_ANNOTATION_BYTES).body
    assert body["metadata"]["annotations"].keys() == {names.ANNOTATION_SUBMISSION}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


@given(
    model=st.text(),
    tasks=st.lists(st.text(), max_size=3),
    model_args=st.none()
    | st.dictionaries(st.text() | st.from_regex(r"[a-z_]{1,8}", fullmatch=True), json_values, max_size=3),
    limit=st.none() | st.integers() | st.floats(),
    batch_size=st.none() | st.integers() | st.text(),
    unknown=json_values,
)
def test_whatever_is_sent_becomes_valid_json_or_a_refusal(**fields: Any) -> None:
    request = EvaluateRequest.model_construct(**fields)
    try:
        body = prepare_submission(request, sender=SENDER, namespace="team").body
    except InvalidRequest as refusal:
        assert all(field.message for field in refusal.fields)
    else:
        assert json.loads(json.dumps(body, allow_nan=False).encode()) == body

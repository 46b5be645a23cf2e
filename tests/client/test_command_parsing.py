"""What is written on a command line or in a file, and the fields that become of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_client.cli import files, flags, parsing
from lmms_eval_client.cli.exits import CommandFailed
from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_core.spec import EvaluationSpec
from lmms_eval_core.wire import EvaluateRequest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("pretrained=a/b", {"pretrained": "a/b"}),
        ("a=1,b=1.5,c=true,d=FALSE,e=x", {"a": 1, "b": 1.5, "c": True, "d": False, "e": "x"}),
        (" a = 1 , b=c=d ", {"a": 1.0, "b": "c=d"}),
        ("a=1e5,b=nan,c=-inf,d=007", {"a": 1e5, "b": "nan", "c": "-inf", "d": 7}),
        ("d={'k': 1, 'l': [2,3]},e='x,y'", {"d": "{'k': 1, 'l': [2,3]}", "e": "'x,y'"}),
        ('{"a": {"b": [1, null]}, "c": "1,2"}', {"a": {"b": [1, None]}, "c": "1,2"}),
        ("", {}),
        ("a=", {"a": ""}),
    ],
)
def test_model_args_are_read_as_lmms_eval_reads_them(text: str, fields: dict[str, Any]) -> None:
    assert parsing.model_args(text) == fields


@pytest.mark.parametrize("text", ["pretrained", "=x", "{a: 1}", "{} x"])
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="--model_args"):
        parsing.model_args(text)


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for parse in (parsing.model_args, parsing.number, lambda given: parsing.tolerations([given]), parsing.split):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("text", "toleration"),
    [
        ("gpu", {"key": "gpu", "operator": "Exists"}),
        ("gpu:NoSchedule", {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}),
        ("gpu=a100:NoExecute", {"key": "gpu", "operator": "Equal", "value": "a100", "effect": "NoExecute"}),
    ],
)
def test_tolerations(text: str, toleration: dict[str, str]) -> None:
    assert parsing.tolerations([text]) == [toleration]


def test_environment_volumes_and_labels() -> None:
    assert parsing.secret_env(["HF_TOKEN=hub/token"]) == [{"name": "HF_TOKEN", "secret_key_ref": {"name": "hub", "key": "token"}}]
    assert parsing.plain_env(["A=b=c/d"]) == [{"name": "A", "value": "b=c/d"}]
    assert parsing.volumes(["ckpt:/data:rw", "c:/d"]) == [
        {"claim_name": "ckpt", "mount_path": "/data", "read_only": False},
        {"claim_name": "c", "mount_path": "/d", "read_only": True},
    ]
    assert parsing.labels(["a=b", "c="]) == {"a": "b", "c": ""}


def test_a_secret_that_was_given_as_text_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="--env-value") as caught:
        parsing.secret_env(["HF_TOKEN=hf_abc"])
    assert "hf_abc" not in str(caught.value)


def test_every_field_of_a_request_has_its_flag() -> None:
    named = {flag.name for flag in flags.FLAGS}
    assert set(EvaluateRequest.model_fields) - named == {"resources"}
    options = [option for flag in flags.FLAGS for text in flag.options for option in text.split("/")]
    assert len(options) == len(set(options))


def test_flags_become_the_fields_of_a_request() -> None:
    given: dict[str, Any] = dict.fromkeys((flag.name for flag in flags.FLAGS), None)
    given |= {"tasks": ["a,b", "c"], "limit": "0.5", "cpu": "4", "env": ["A=s/k"], "env_value": ["B=1"], "hold": False}
    assert flags.fields(given) == {
        "tasks": ["a", "b", "c"],
        "limit": 0.5,
        "hold": False,
        "env": [{"name": "A", "secret_key_ref": {"name": "s", "key": "k"}}, {"name": "B", "value": "1"}],
        "resources": {"cpu": "4"},
    }
    with pytest.raises(CommandFailed, match="all is no number"):
        flags.fields(given | {"limit": "all"})


CONFIG = """
- model: llava_hf
  model_args: pretrained=a/b,max_pixels=9
  tasks: mme,mmmu_val
  seed: [1, 2]
  env: {HF_ENDPOINT: https://mirror}
  output_path: /out
  limit: null
- {model: vllm, tasks: mme}
"""


def test_a_configuration_of_lmms_eval_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    first, second = files.requests(file)
    assert first == {
        "model": "llava_hf",
        "model_args": {"pretrained": "a/b", "max_pixels": 9},
        "tasks": ["mme", "mmmu_val"],
        "seed": "1,2",
        "env": [{"name": "HF_ENDPOINT", "value": "https://mirror"}],
        "output_dir": "/out",
    }
    assert second == {"model": "vllm", "tasks": ["mme"]}


def test_an_evaluation_becomes_the_request_that_asks_for_it() -> None:
    for document in yaml.safe_load_all((EXAMPLES / "qwen2_5_vl.yaml").read_text()):
        fields = files.request(document)
        request = EvaluateRequest.model_validate(fields)
        spec = LMMEvaluation.model_validate(document).spec
        assert (request.name, request.num_gpus, request.model_args) == ("qwen2-5-vl-7b", spec.gpus, spec.model_args)
        assert request.env and request.env[0].secret_key_ref and request.env[0].secret_key_ref.name == "lmms-eval-env-hub"
        assert request.resources and request.resources.shared_memory == "8Gi"
        assert not request.model_extra


def test_every_field_of_a_spec_reaches_the_request() -> None:
    spec = {field.alias or name: None for name, field in EvaluationSpec.model_fields.items()}
    fields = files.request({"kind": "LMMEvaluation", "spec": spec})
    assert set(fields) - set(EvaluateRequest.model_fields) == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no evaluation"),
        ("a: [", "is no YAML"),
        ("kind: Pod", "kind is Pod"),
        ("- 1", "is a mapping"),
        ("tasks: a,b\nmodel_args: x", "--model_args takes"),
        ("!!python/object/apply:os.system [ls]", "is no YAML"),
    ],
)
def test_a_file_that_holds_none_is_refused_with_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        files.requests(tmp_path / "f.yaml")
    with pytest.raises(ValueError, match="cannot be read"):
        files.requests(tmp_path / "none.yaml")

"""What is written on a command line or in a file, and the fields that become of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lmms_eval_client import calls
from lmms_eval_client.cli import files, flags, parsing
from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.main import app
from lmms_eval_client.cli.submit import merge_fields
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
    assert parsing.parse_model_args(text) == fields


@pytest.mark.parametrize("text", ["pretrained", "=x", "{a: 1}", "{} x"])
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="--model_args"):
        parsing.parse_model_args(text)


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for parse in (
        parsing.parse_model_args,
        parsing.parse_number,
        lambda given: parsing.parse_tolerations([given]),
        parsing.split_list,
    ):
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
    assert parsing.parse_tolerations([text]) == [toleration]


def test_environment_volumes_and_labels() -> None:
    assert parsing.parse_secret_env(["HF_TOKEN=hub/token"]) == [
        {"name": "HF_TOKEN", "secret_key_ref": {"name": "hub", "key": "token"}}
    ]
    assert parsing.parse_plain_env(["A=b=c/d"]) == [{"name": "A", "value": "b=c/d"}]
    assert parsing.parse_volumes(["ckpt:/data:rw", "c:/d"]) == [
        {"claim_name": "ckpt", "mount_path": "/data", "read_only": False},
        {"claim_name": "c", "mount_path": "/d", "read_only": True},
    ]
    assert parsing.parse_labels(["a=b", "c="]) == {"a": "b", "c": ""}


def test_a_secret_that_was_given_as_text_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="--env-value") as caught:
        parsing.parse_secret_env(["HF_TOKEN=hf_abc"])
    assert "hf_abc" not in str(caught.value)


def test_every_field_of_a_request_has_its_flag() -> None:
    named = {flag.name for flag in flags.FLAGS}
    assert set(EvaluateRequest.model_fields) - named == {"resources"}
    options = [option for flag in flags.FLAGS for text in flag.options for option in text.split("/")]
    assert len(options) == len(set(options))


def test_flags_become_the_fields_of_a_request() -> None:
    given: dict[str, Any] = dict.fromkeys((flag.name for flag in flags.FLAGS), None)
    given |= {"tasks": ["a,b", "c"], "limit": "0.5", "cpu": "4", "env": ["A=s/k"], "env_value": ["B=1"], "hold": False}
    assert flags.read_fields(given) == {
        "tasks": ["a", "b", "c"],
        "limit": 0.5,
        "hold": False,
        "env": [{"name": "A", "secret_key_ref": {"name": "s", "key": "k"}}, {"name": "B", "value": "1"}],
        "resources": {"cpu": "4"},
    }
    assert "limit" not in flags.read_fields(given | {"limit": "-1"})
    with pytest.raises(CliError, match="all is no number"):
        flags.read_fields(given | {"limit": "all"})


CONFIG = """
- model: llava_hf
  model_args: pretrained=a/b,max_pixels=9
  tasks: mme,mmmu_val
  seed: [1, 2]
  env: {HF_ENDPOINT: https://mirror}
  output_path: /out
  limit: null
- {model: vllm, tasks: mme, limit: -1}
"""


def test_a_configuration_of_lmms_eval_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    first, second = files.read_file(file, {}).requests
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
        fields = files.make_request(document, {}, [])
        request = EvaluateRequest.model_validate(fields)
        spec = LMMEvaluation.model_validate(document).spec
        assert (request.name, request.num_gpus, request.model_args) == ("qwen2-5-vl-7b", spec.gpus, spec.model_args)
        assert (
            request.env and request.env[0].secret_key_ref and request.env[0].secret_key_ref.name == "lmms-eval-env-hub"
        )
        assert request.resources and request.resources.shared_memory == "8Gi"
        assert not request.model_extra


def test_every_field_of_a_spec_reaches_the_request() -> None:
    spec = {field.alias or name: None for name, field in EvaluationSpec.model_fields.items()}
    fields = files.make_request({"kind": "LMMEvaluation", "spec": spec}, {}, [])
    assert set(fields) - set(EvaluateRequest.model_fields) == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no evaluation"),
        ("a: [", "is no YAML"),
        ("kind: Pod", "kind is Pod"),
        ("- 1", "is a mapping"),
        ("tasks: a,b\nmodel_args: x", "--model_args takes"),
        ("model: a\nlauncher_args: name=sglang", "launcher_args cannot be had here: starts a judge"),
        ("env: {HEADERS: 'Bearer ${JUDGE_TOKEN}'}", "env.HEADERS would write down JUDGE_TOKEN, a secret by its name"),
        ("env: {ENDPOINT: 'http://$JUDGE'}", r"env.ENDPOINT wants \$\{JUDGE\}, which is not set here"),
        ("!!python/object/apply:os.system [ls]", "is no YAML"),
    ],
)
def test_a_file_that_holds_none_is_refused_with_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        files.read_file(tmp_path / "f.yaml", {})
    with pytest.raises(ValueError, match="cannot be read"):
        files.read_file(tmp_path / "none.yaml", {})


# configs/example_local.yaml and configs/example_api.yaml of lmms-eval, but for their comments.
EXAMPLE_LOCAL = """
env:
  HF_HOME: "${HF_HOME:-~/.cache/huggingface}"
  HF_HUB_ENABLE_HF_TRANSFER: "1"

model: qwen2_5_vl
model_args: "pretrained=Qwen/Qwen2.5-VL-3B-Instruct,device_map=auto"
tasks: "mme,mmmu_val"
batch_size: 1
num_fewshot: 0
seed: "42,42,42,42"
gen_kwargs: "temperature=0,max_new_tokens=1024"
output_path: "results/"
log_samples: true
"""
EXAMPLE_API = """
env:
  OPENAI_API_KEY: "${OPENAI_API_KEY}"
  HF_HOME: "${HF_HOME:-~/.cache/huggingface}"

model: openai
model_args: "model=gpt-4o,max_retries=5"
tasks: "mme,mmmu_val"
"""


def test_lmms_evals_own_examples_are_taken(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text(EXAMPLE_LOCAL)
    local = files.read_file(tmp_path / "local.yaml", {})
    assert local.warnings == ["env.HF_HOME has no effect here: the pod has its own."]
    (fields,) = local.requests
    assert fields["env"] == [{"name": "HF_HUB_ENABLE_HF_TRANSFER", "value": "1"}]
    request = EvaluateRequest.model_validate(fields)
    assert (request.tasks, request.seed, request.output_dir) == (["mme", "mmmu_val"], "42,42,42,42", "results/")
    assert parsing.find_problem(fields) == ""


def test_a_secret_of_a_configuration_is_asked_for_by_name_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(EXAMPLE_API)
    (fields,) = files.read_file(tmp_path / "api.yaml", {"OPENAI_API_KEY": "sk-written-down"}).requests
    assert "sk-written-down" not in str(fields)
    assert "--env OPENAI_API_KEY=SECRET/KEY" in parsing.find_problem(fields)
    given = {"env": parsing.parse_secret_env(["OPENAI_API_KEY=judge/key"])}
    assert parsing.find_problem(merge_fields(fields, given)) == ""
    assert merge_fields(fields, given)["env"] == given["env"]


def test_flags_win_over_a_file_variable_by_variable() -> None:
    first, second = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    third = {"name": "A", "value": "3"}
    assert merge_fields({"env": [first, second], "limit": 4}, {"env": [third], "limit": 2}) == {
        "env": [second, third],
        "limit": 2,
    }
    assert merge_fields({"env": ["odd", first]}, {"env": [third]}) == {"env": ["odd", third]}
    assert merge_fields({"env": "odd"}, {"env": [third]}) == {"env": [third]}
    assert merge_fields({"env": "odd"}, {}) == {"env": "odd"}
    assert merge_fields({"limit": 4}, {}) == {"limit": 4}


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("$HOST/v1", "judge/v1"),
        ("http://${HOST}:${PORT:-8000}", "http://judge:8000"),
        ("${EMPTY:-x}", "x"),
        ("${NO:-}", ""),
        ("100$", "100$"),
    ],
)
def test_variables_of_this_machine_in_a_configuration(tmp_path: Path, value: str, expanded: str) -> None:
    (tmp_path / "f.yaml").write_text(yaml.safe_dump({"model": "m", "tasks": "t", "env": {"URL": value}}))
    (fields,) = files.read_file(tmp_path / "f.yaml", {"HOST": "judge", "EMPTY": ""}).requests
    assert fields["env"] == [{"name": "URL", "value": expanded}]


def test_keys_without_effect_are_named_with_their_reason(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("{model: m, tasks: t, verbosity: INFO, wandb_args: '', use_cache: /c, power: 0}")
    found = files.read_file(tmp_path / "f.yaml", {})
    assert found.requests == [{"model": "m", "tasks": ["t"]}]
    assert [warning.partition(":")[0] for warning in found.warnings] == [
        "use_cache has no effect here",
        "verbosity has no effect here",
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"model_args": {"sizes": [1, 2]}},
            "model_args.sizes is a list, and arguments of a model are scalars: give it as JSON text",
        ),
        ({"model_args": {"cfg": {"a": "b"}}}, """as JSON text, '{"a": "b"}'"""),
        ({"env": [{"name": "HF_TOKEN", "value": "hf_x"}]}, "HF_TOKEN is a secret by its name"),
        ({"env": [{"name": "HF_HUB_DISABLE_IMPLICIT_TOKEN", "value": "1"}]}, ""),
        ({"env": [{"name": "HF_TOKEN", "secret_key_ref": {"name": "a", "key": "b"}}]}, ""),
        ({"model_args": None, "env": None}, ""),
        ({"model_args": 5, "env": 5}, ""),
    ],
)
def test_what_an_evaluation_cannot_hold_is_refused_with_the_way_out(fields: dict[str, Any], words: str) -> None:
    found = parsing.find_problem(fields)
    assert words in found and bool(words) == bool(found)
    assert "hf_x" not in found


def test_a_number_that_changes_its_type_on_its_way_is_told() -> None:
    (warning,) = parsing.list_warnings({"model_args": {"scale": 1.0, "ratio": 0.5, "n": 1}})
    assert warning == "model_args.scale reaches the model as an integer: Kubernetes stores 1.0 as a whole number."


def test_what_nobody_gave_is_not_sent() -> None:
    call = calls.submit(EvaluateRequest(model="m", tasks=["t"], device="cpu"), dry_run=False, idempotency_key=None)
    assert call.body == {"model": "m", "tasks": ["t"], "device": "cpu"}


SUBMIT = ("submit", "--url", "http://127.0.0.1:9", "--model", "m")


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*SUBMIT, *arguments], prog_name="lmmeval")
    assert result.exit_code, result.output
    return " ".join((result.output + result.stderr).split())


@pytest.mark.parametrize("spelling", ["--log_samples_suffix", "--log-samples-suffix"])
def test_a_flag_without_effect_is_taken_with_the_reason(spelling: str) -> None:
    answer = said(spelling, "x", "--verbosity=DEBUG", "--wandb_args", "project=p", "-c", "/cache")
    assert (
        "warning: --log_samples_suffix has no effect here: names files: here they are found by job and task." in answer
    )
    assert "warning: --verbosity has no effect here" in answer and "warning: --wandb_args has no effect here" in answer
    assert "Say which tasks by --tasks" in answer


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--log_sample_suffix", "No such option: --log_sample_suffix"),
        ("--no-such_thing", "No such option: --no-such_thing"),
        ("--launcher_args=name=vllm", "--launcher_args cannot be had here: starts a judge beside the model"),
        ("--check-integrity", "--check-integrity cannot be had here: evaluates nothing"),
        ("--config=f.yaml", "--config cannot be had here: here it is `-f`, which takes the same file"),
    ],
)
def test_a_flag_that_is_refused_is_named_as_it_was_typed(typed: str, words: str) -> None:
    assert words in said(typed)

"""Defaults, coercions and refusals of the request are those of lmms-eval's own server, 0.7.3."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from lmms_eval_core import spec, wire
from lmms_eval_core.quality_gate import policy
from lmms_eval_core.schema import ResourceModel
from lmms_eval_core.spec import EvaluationSpec
from lmms_eval_core.wire import EvaluateRequest, JobInfo, JobPatch, JobStatus, JobSubmitResponse


def parsed(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest.model_validate({"model": "dummy", "tasks": ["mme"], **fields})


ORIGINAL = {
    "model": "dummy",
    "tasks": ["mme"],
    "model_args": None,
    "num_fewshot": None,
    "batch_size": None,
    "device": None,
    "limit": None,
    "gen_kwargs": None,
    "log_samples": True,
    "predict_only": False,
    "num_gpus": 1,
    "output_dir": None,
}


def test_what_is_left_out_has_the_originals_default() -> None:
    assert parsed().model_dump(include=set(ORIGINAL)) == ORIGINAL


def test_every_field_of_the_spec_can_be_asked_for_or_has_a_word_of_its_own() -> None:
    """`cancel` is DELETE, and `gpus` the original's `num_gpus`."""
    assert EvaluationSpec.model_fields.keys() - EvaluateRequest.model_fields.keys() == {"cancel", "gpus"}
    assert EvaluateRequest.model_fields.keys() - EvaluationSpec.model_fields.keys() == {
        "num_gpus",
        "device",
        "output_dir",
        "name",
        "labels",
    }


@pytest.mark.parametrize(
    ("part", "twin"),
    [
        (wire.EnvVar, spec.EnvVar),
        (wire.SecretKeyRef, spec.SecretKeyRef),
        (wire.Volume, spec.Volume),
        (wire.Resources, spec.Resources),
        (wire.Toleration, spec.Toleration),
        (wire.Gate, policy.QualityGate),
        (wire.GateBaseline, policy.GateBaseline),
        (wire.GateRule, policy.GateRule),
    ],
)
def test_parts_have_the_fields_of_the_resource(part: type[wire.RequestPart], twin: type[ResourceModel]) -> None:
    assert part.model_fields.keys() == twin.model_fields.keys()
    for name, field in part.model_fields.items():
        assert field.default == twin.model_fields[name].default


def test_what_may_change_is_what_is_mutable() -> None:
    assert {to_camel(name) for name in JobPatch.model_fields} == spec.MUTABLE - {"cancel"}


def test_a_misspelt_part_is_refused_and_not_passed_over() -> None:
    with pytest.raises(ValidationError):
        parsed(env=[{"name": "OPENAI_API_KEY", "secretKeyRef": {"name": "a", "key": "b"}}])
    with pytest.raises(ValidationError):
        JobPatch.model_validate({"prio": 1})


@pytest.mark.parametrize(
    ("field", "sent", "read"),
    [
        ("limit", "0.5", 0.5),
        ("limit", "8", 8),
        ("limit", True, 1),
        ("batch_size", "4", "4"),
        ("batch_size", 4.0, 4),
        ("batch_size", "auto", "auto"),
        ("num_gpus", "1", 1),
        ("num_gpus", 2.0, 2),
        ("log_samples", "yes", True),
        ("predict_only", 0, False),
        ("tasks", [], []),
        ("model_args", {"a": None, "b": [1]}, {"a": None, "b": [1]}),
    ],
)
def test_coercions(field: str, sent: Any, read: Any) -> None:
    value = getattr(parsed(**{field: sent}), field)
    assert value == read
    assert type(value) is type(read)


def test_a_whole_float_stays_a_float() -> None:
    assert isinstance(parsed(limit=8.0).limit, float)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("num_gpus", 2.5),
        ("model_args", "pretrained=x"),
        ("gen_kwargs", {"temperature": 0}),
        ("tasks", "mme"),
        ("num_fewshot", "two"),
    ],
)
def test_refusals(field: str, sent: Any) -> None:
    with pytest.raises(ValidationError):
        parsed(**{field: sent})


def test_unknown_fields_are_kept_to_be_named() -> None:
    assert parsed(foo=1).model_extra == {"foo": 1}


def test_every_key_is_always_there() -> None:
    info = JobInfo(job_id="a", status=JobStatus.QUEUED, created_at="2026-01-01T00:00:00Z", request={})
    original = {
        "job_id",
        "status",
        "created_at",
        "started_at",
        "completed_at",
        "request",
        "result",
        "error",
        "position_in_queue",
    }
    assert original <= info.model_dump().keys()
    submitted = JobSubmitResponse(job_id="a", position_in_queue=0).model_dump()
    assert submitted.keys() >= {"job_id", "status", "position_in_queue", "message"}

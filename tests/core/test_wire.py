"""Defaults, coercions and refusals of the request are those of lmms-eval's own server, 0.7.3."""

from typing import Any

import pytest
from pydantic import ValidationError

from lmms_eval_core.wire import EvaluateRequest, JobInfo, JobStatus, JobSubmitResponse


def parsed(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest.model_validate({"model": "dummy", "tasks": ["mme"], **fields})


def test_what_is_left_out_has_the_originals_default() -> None:
    assert parsed().model_dump(exclude={"include_path", "priority"}) == {
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

from typing import Any

import pytest

from lmms_eval_api.problems import FieldProblem, list_field_problems, translate_field_path, translate_kube_error
from lmms_eval_core.kube import errors

POLICY = (
    "lmmevaluations.lmms-eval.io \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
)


def refused(*causes: tuple[str, str]) -> errors.Invalid:
    status = {"reason": "Invalid", "details": {"causes": [{"field": field, "message": text} for field, text in causes]}}
    return errors.Invalid("LMMEvaluation is invalid", status)


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("spec.numFewshot", ("num_fewshot",)),
        ("spec.gpus", ("num_gpus",)),
        ("spec.tasks[2]", ("tasks", 2)),
        ("spec.modelArgs.pretrained", ("model_args", "pretrained")),
        ("spec.modelArgs.maxPixels", ("model_args", "maxPixels")),
        ("spec.trustRemoteCode", ("trust_remote_code",)),
        ("spec.env[0].secretKeyRef.name", ("env", 0, "secret_key_ref", "name")),
        ("metadata.name", ("name",)),
        ("metadata.labels", ("labels",)),
        ("spec", ()),
        ("metadata.annotations", ()),
        ("", ()),
    ],
)
def test_fields_have_the_names_of_the_request(field: str, path: tuple[str | int, ...]) -> None:
    assert translate_field_path(field) == path


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ('Invalid value: "a b": give a task', "give a task"),
        ('Invalid value: "a \\"b\\": c": give a task', "give a task"),
        (
            "Invalid value: -1: spec.numFewshot in body should be greater than or equal to 0",
            "tasks should be greater than or equal to 0",
        ),
        ("Too many: 300: must have at most 256 items", "Too many: 300: must have at most 256 items"),
        ("Required value: name: it is needed", "Required value: name: it is needed"),
        ('Invalid value: "object": use secretKeyRef instead of value', "use secret_key_ref instead of value"),
        ('Unsupported value: "x": supported values: "a", "b"', 'supported values: "a", "b"'),
    ],
)
def test_what_was_sent_is_taken_out_of_the_sentence(message: str, sentence: str) -> None:
    assert list_field_problems(refused(("spec.tasks", message))) == [FieldProblem(("tasks",), sentence, "invalid")]


def test_a_policy_speaks_for_itself() -> None:
    denied = errors.Invalid(POLICY + "use an image of the list: a, b", {"reason": "Invalid"})
    assert list_field_problems(denied) == [FieldProblem((), "use an image of the list: a, b", "denied")]
    forbidden = translate_kube_error(errors.Forbidden(POLICY + "not in this namespace", {"code": 403}))
    assert (forbidden.status_code, forbidden.detail) == (403, "not in this namespace")


def test_a_refusal_without_causes_is_not_lost() -> None:
    assert list_field_problems(errors.Invalid("strict decoding error", {})) == [
        FieldProblem((), "strict decoding error", "invalid")
    ]


RBAC = (
    'lmmevaluations.lmms-eval.io is forbidden: User "system:serviceaccount:a:b" cannot create resource "lmmevaluations"'
)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (errors.Throttled("slow down", retry_after=7), 503, "busy"),
        (errors.Unavailable("boom"), 503, "may or may not"),
        (errors.Conflict("changed"), 409, "try again"),
        (errors.NotFound("no"), 404, "no such job"),
        (errors.Gone("old"), 503, "does not answer"),
        (errors.Forbidden(RBAC, {"code": 403}), 500, "Role"),
        (errors.Forbidden("Unauthorized", {"code": 401}), 500, "token"),
        (errors.Forbidden("exceeded quota: compute", {"code": 403}), 403, "exceeded quota"),
    ],
)
def test_errors_of_the_api_server(error: errors.KubeError, status: int, words: str) -> None:
    answer: Any = translate_kube_error(error)
    assert answer.status_code == status
    assert words in answer.detail
    assert "system:serviceaccount" not in answer.detail


def test_retry_after_is_what_the_api_server_says() -> None:
    assert (translate_kube_error(errors.Throttled("", retry_after=7)).headers or {})["Retry-After"] == "7"

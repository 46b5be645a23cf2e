"""What makes two submissions one."""

import uuid
from typing import Any

import pytest

from lmms_eval_api.jobs.identity import (
    Identity,
    KeyReused,
    NameTaken,
    Sender,
    check_same_submission,
    identify,
    is_same_evaluation,
)
from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.wire import EvaluateRequest

FRESH = str(uuid.UUID(int=1, version=4))


def of(sender: Sender, **fields: Any) -> Identity:
    return identify(EvaluateRequest.model_validate({"model": "m", "tasks": ["t"], **fields}), sender)


SPEC = {"model": "m", "modelArgs": {"a": 1, "b": True, "c": 0.5}, "tasks": ["t"], "limit": 8.0, "priority": 3}


def made_by(own: Identity, **spec: Any) -> Object:
    return {"metadata": {"annotations": {names.ANNOTATION_SUBMISSION: own.mark}}, "spec": SPEC | spec}


def test_without_a_key_it_is_always_a_new_one() -> None:
    assert of(Sender("me", None, FRESH)).name == FRESH


def test_a_key_makes_the_name_and_it_is_the_callers_own() -> None:
    mine = of(Sender("me", "nightly", FRESH))
    assert uuid.UUID(mine.name).version == 5
    assert of(Sender("me", "nightly", "another")) == mine
    assert of(Sender("you", "nightly", FRESH)).name != mine.name
    assert of(Sender("me", "nightly ", FRESH)).name != mine.name
    # What is one caller's end is not another key's beginning.
    assert of(Sender("me", 'a", "b', FRESH)).name != of(Sender('me", "a', "b", FRESH)).name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"limit": 8}, {"limit": "8"}, True),
        ({}, {"num_gpus": 1}, True),
        ({}, {"unknown": 1}, True),
        ({"model_args": {"a": 1, "b": 2}}, {"model_args": {"b": 2, "a": 1}}, True),
        ({"limit": 8}, {"limit": 9}, False),
        ({"tasks": ["a", "b"]}, {"tasks": ["b", "a"]}, False),
        ({"model_args": {"a": 1}}, {"model_args": {"a": True}}, False),
    ],
)
def test_what_a_request_asks_for(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    sender = Sender("me", "key", FRESH)
    assert (of(sender, **one).digest == of(sender, **other).digest) is same


def test_an_object_is_recognised_by_its_mark() -> None:
    own = of(Sender("me", "key", FRESH))
    check_same_submission(made_by(own), own, SPEC)
    with pytest.raises(KeyReused):
        check_same_submission(made_by(of(Sender("me", "key", FRESH), limit=1)), own, SPEC)
    unmarked: list[dict[str, Any]] = [{"metadata": {}}, {"metadata": {"annotations": {}}}]
    for stranger in (made_by(of(Sender("me", "other", FRESH))), *unmarked):
        with pytest.raises(NameTaken):
            check_same_submission(stranger, own, SPEC)


def test_a_name_of_ones_own_does_not_make_the_submission() -> None:
    own, again = of(Sender("me", None, FRESH), name="baseline"), of(Sender("me", None, "another"), name="baseline")
    assert own.name == again.name == "baseline"
    with pytest.raises(NameTaken):
        check_same_submission(made_by(own), again, SPEC)


@pytest.mark.parametrize(
    "spec",
    [
        {"model": "another"},
        {"modelArgs": {"a": 1, "b": 1, "c": 0.5}},
        {"modelArgs": {"a": 1, "b": True, "c": 0.5, "d": 1}},
        {"image": "registry.example.com/other"},
        {"retries": 3},
        {"env": [{"name": "A", "value": "b"}]},
        {"tasks": 1},
    ],
)
def test_whoever_takes_a_name_with_anothers_mark_gives_no_answer_to_the_other(spec: Object) -> None:
    own = of(Sender("me", "key", FRESH))
    with pytest.raises(NameTaken):
        check_same_submission(made_by(own, **spec), own, SPEC)


def test_what_the_api_server_made_of_a_spec_is_still_the_same() -> None:
    defaults = {"logSamples": True, "predictOnly": False, "gpus": 1, "hold": False, "cancel": False, "retries": 2}
    stored = SPEC | defaults | {"limit": 8, "trustRemoteCode": False, "resume": "sameHardware"}
    assert is_same_evaluation(stored, SPEC)
    # What may change later makes no difference.
    assert is_same_evaluation(stored | {"priority": 9, "hold": True, "ttlSecondsAfterFinished": 1, "keep": True}, SPEC)

"""Creating under a name that comes and goes, told by an API server that plays what a real one does once in a million
times.
"""

from collections.abc import Iterator
from typing import cast

import pytest
from evaluation_objects import build_evaluation_object

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.identity import NameTaken
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import KubeClient, Object, Resource
from lmms_eval_core.wire import EvaluateRequest

REQUEST = EvaluateRequest(model="llava_hf", tasks=["mme"])


class Script:
    """What each create and each read is answered, in turn; a read that finds nothing is None."""

    namespace = "team"

    def __init__(self, *creates: errors.KubeError | None, reads: Iterator[Object | None]) -> None:
        self.creates = iter(creates)
        self.reads = reads

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        failure = next(self.creates)
        if failure is not None:
            raise failure
        return build_evaluation_object(body["metadata"]["name"])

    async def get(self, resource: Resource, name: str) -> Object:
        found = next(self.reads)
        if found is None:
            raise errors.NotFound("gone")
        return found


def evaluations(script: Script) -> EvaluationService:
    return EvaluationService(cast(KubeClient, script), JobCache(), new_id=lambda: "mine")


async def test_what_was_deleted_between_two_looks_is_made_again() -> None:
    script = Script(errors.AlreadyExists("taken"), None, reads=iter([None]))
    submitted = await evaluations(script).submit(REQUEST, caller="me", key="key")
    assert (submitted.job.status, submitted.replayed) == ("queued", False)


async def test_what_comes_and_goes_for_ever_is_a_conflict() -> None:
    script = Script(*[errors.AlreadyExists("taken")] * 3, reads=iter([None] * 3))
    with pytest.raises(errors.Conflict):
        await evaluations(script).submit(REQUEST, caller="me")


async def test_what_belongs_to_another_is_taken() -> None:
    script = Script(errors.AlreadyExists("taken"), reads=iter([build_evaluation_object("mine")]))
    with pytest.raises(NameTaken):
        await evaluations(script).submit(REQUEST, caller="me")


async def test_a_lost_answer_is_asked_for_again_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmms_eval_api.jobs.evaluations.BACKOFFS", (0.0, 0.0))
    lost = errors.Unavailable("no answer")
    submitted = await evaluations(Script(lost, errors.Throttled("busy"), None, reads=iter([]))).submit(
        REQUEST, caller="me"
    )
    assert submitted.job.name == "mine"
    with pytest.raises(errors.Unavailable):
        await evaluations(Script(lost, lost, lost, reads=iter([]))).submit(REQUEST, caller="me")

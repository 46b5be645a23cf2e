"""Builders of the operator's view, which read like sentences: `world(running("a"), job_of(...), pod_of(...))`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lmms_eval_core import names
from lmms_eval_core.kube.lease import Register
from lmms_eval_core.phases import Phase
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import AttemptJob, ContainerState, Evaluation, Pod, PodCondition
from lmms_eval_operator.slots import Holder, Slot
from lmms_eval_operator.view import View

TODAY = datetime(2026, 1, 1, 12, tzinfo=UTC)
REPORTED = frozenset({"reportedAttempt", "progress"})


def queued(name: str = "a", **changes: Any) -> Evaluation:
    """An evaluation that waits for its turn."""
    evaluation = Evaluation(uid=f"{name}-uid", name=name, version="10", generation=1, created_at="2026-01-01T00:00:00Z")
    return replace(evaluation, **({"reason": "WaitingForTurn"} | changes))


def running(
    name: str = "a", *, attempt: int = 1, slot: int = 0, published: bool = False, stage: str = "", **changes: Any
) -> Evaluation:
    """An evaluation that runs; `stage` and `published` are what the reporter of this attempt has written."""
    first = {"number": 1, "jobName": f"{name}-job", "startedAt": "2026-01-01T00:01:00Z"}
    uids = {"job_uid": f"{name}-job-{attempt}", "pod_uid": f"{name}-pod-{attempt}"}
    evaluation = queued(name, phase=Phase.RUNNING, attempt=attempt, slot=slot, **uids)
    fields: dict[str, Any] = {"reason": "Starting", "attempts": (first,), "started_at": first["startedAt"]}
    if published or stage:
        reported = REPORTED | {"scores"} if published else REPORTED
        fields |= {"reported": reported, "reported_attempt": attempt, "stage": stage}
    return replace(evaluation, **(fields | changes))


def job_of(evaluation: Evaluation, *, attempt: int = 0, slot: int = 0, **changes: Any) -> AttemptJob:
    """The Job of the evaluation's current attempt, or of the given one."""
    number = attempt or evaluation.attempt
    name = names.job_name(evaluation=evaluation.name, uid=evaluation.uid, attempt=number)
    uid = evaluation.job_uid if not attempt else f"{evaluation.name}-job-{attempt}"
    job = AttemptJob(
        uid=uid,
        name=name,
        version="20",
        evaluation_uid=evaluation.uid,
        evaluation=evaluation.name,
        attempt=number,
        slot=slot,
    )
    return replace(job, **changes)


def pod_of(evaluation: Evaluation, *, attempt: int = 0, slot: int = 0, **changes: Any) -> Pod:
    """The pod of the evaluation's current attempt, or of the given one, with an open gate."""
    number = attempt or evaluation.attempt
    uid = f"{evaluation.name}-pod-{number}"
    job = f"{evaluation.name}-job-{number}"
    pod = Pod(uid=uid, name=uid, version="30", evaluation_uid=evaluation.uid, attempt=number, slot=slot, job_uid=job)
    return replace(pod, **changes)


def gated(evaluation: Evaluation, *, attempt: int = 0, **changes: Any) -> Pod:
    """The pod as its Job made it, with a closed gate."""
    return pod_of(evaluation, attempt=attempt, **({"gate": 0} | changes))


def working(evaluation: Evaluation, **changes: Any) -> Pod:
    """A pod whose evaluator runs."""
    fields: dict[str, Any] = {"phase": "Running", "node": "n1", "evaluator": ContainerState(running=True)}
    return pod_of(evaluation, **(fields | changes))


def ended(evaluation: Evaluation, exit_code: int | None, *, ended_as: str = "", **changes: Any) -> Pod:
    """A pod whose containers have ended; without an exit code nothing is known of the evaluator."""
    container = (
        None
        if exit_code is None
        else ContainerState(exit_code=exit_code, ended_as=ended_as, ended_at="2026-01-01T01:00:00Z")
    )
    phase = "Failed" if exit_code != 0 else "Succeeded"
    return pod_of(evaluation, **({"phase": phase, "node": "n1", "evaluator": container} | changes))


def conditions(**statuses: tuple[str, str, str] | str) -> dict[str, PodCondition]:
    """`Ready="False"`, or `PodScheduled=("False", "Unschedulable", "why")`."""
    return {
        kind: PodCondition(*((status,) if isinstance(status, str) else status)) for kind, status in statuses.items()
    }


def retrying(
    name: str = "a", *, attempt: int = 1, next_attempt_at: str = "2026-01-01T12:00:10Z", **changes: Any
) -> Evaluation:
    """An evaluation that waits for its next attempt."""
    last = {"number": attempt, "jobName": f"{name}-job", "reason": "Interrupted", "message": "stopped"}
    message = f"attempt {attempt} of 3 ended as Interrupted: stopped"
    begun = {"attempt": attempt, "attempts": (last,), "started_at": "2026-01-01T11:00:00Z", "retries": 2}
    return queued(name, reason="Retrying", message=message, next_attempt_at=next_attempt_at, **(begun | changes))


def moment(seconds: float = 0.0) -> Now:
    """The moment `seconds` after the start of the test, on both clocks."""
    return Now(seconds, TODAY + timedelta(seconds=seconds))


def slot(
    index: int = 0, holder: Evaluation | None = None, *, attempt: int = 0, claimed_at: str = "", content: str = ""
) -> Slot:
    """A slot: free, or held by an attempt."""
    if holder is not None:
        content = str(Holder(holder.name, holder.uid, attempt or holder.attempt))
    return Slot(index, Register(names.slot_lease_name(index), content, "5"), claimed_at)


def world(*things: Evaluation | AttemptJob | Pod | Slot, concurrency: int = 1, now: float = 0.0) -> View:
    """A view of exactly these things, seen at `now`; there is a free slot 0 unless slots are given."""
    view = View(concurrency=concurrency)
    view.evaluations.replace([thing for thing in things if isinstance(thing, Evaluation)], "100")
    view.jobs.replace([thing for thing in things if isinstance(thing, AttemptJob)], "100")
    view.pods.replace([thing for thing in things if isinstance(thing, Pod)], "100")
    given = [thing for thing in things if isinstance(thing, Slot)] or [slot(index) for index in range(concurrency)]
    view.slots = {item.index: item for item in given}
    view.refresh(now)
    return view

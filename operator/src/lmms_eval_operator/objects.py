"""Evaluations, Jobs, pods and their events as the operator needs them: small projections of what the API server sends.

`view` holds them; `derive` and `plan` decide by them. Nothing here fails on a field that is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lmms_eval_core import names
from lmms_eval_core.crd import status_owners
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_core.redact import one_line
from lmms_eval_core.schema import Owner, read_moment

# The user's timers.
TIMERS: Final = frozenset({Reason.DEADLINE_EXCEEDED, Reason.STALLED})
# Anybody may have written it.
MAX_CANCELLED_BY: Final = 256
REPORTER_FIELDS: Final = frozenset(status_owners()[Owner.REPORTER])
# Of a Job whose pod has ended; it never gets another one, as its backoffLimit is 0.
SPENT_CONDITIONS: Final = frozenset({"Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One LMMEvaluation without its spec's payload and without its scores."""

    uid: str
    name: str
    version: str
    generation: int = 0
    created_at: str = ""
    first_seen: int = 0
    """The resourceVersion at which this process first saw it: the order of creation within a second."""
    priority: int = 0
    hold: bool = False
    cancel: bool = False
    deleting: bool = False
    cancelled_by: str = ""
    phase: Phase = Phase.QUEUED
    reason: str = ""
    message: str = ""
    attempt: int = 0
    slot: int | None = None
    job_uid: str = ""
    pod_uid: str = ""
    stopped_for: Reason | None = None
    retries: int = 0
    timeout_seconds: int | None = None
    stall_timeout_seconds: int | None = None
    next_attempt_at: str = ""
    started_at: str = ""
    attempts: tuple[Object, ...] = ()
    reported: frozenset[str] = frozenset()
    reported_attempt: int = 0
    stage: str = ""
    progressed_at: str = ""
    error: Object | None = None
    suspect: Object | None = None

    @property
    def terminal(self) -> bool:
        """Whether it has ended for good."""
        return self.phase in TERMINAL

    @property
    def unwanted(self) -> bool:
        """Whether it must not start, or must stop."""
        return self.cancel or self.deleting

    @property
    def stopping(self) -> bool:
        """Whether its running attempt is to end, whoever wants it."""
        return self.unwanted or self.stopped_for is not None

    @property
    def startable(self) -> bool:
        """Whether its next attempt may start."""
        return self.phase is Phase.QUEUED and not self.hold and not self.unwanted

    @property
    def speaks_of_this_attempt(self) -> bool:
        """Whether the reporter's fields are those of the current attempt."""
        return self.attempt > 0 and self.reported_attempt == self.attempt

    @property
    def published(self) -> bool:
        """Whether the scores of the current attempt have arrived: its files are stored, its run had ended well."""
        return self.speaks_of_this_attempt and "scores" in self.reported

    @property
    def node(self) -> str:
        """Where the current attempt runs, as the status has it."""
        return str(self.attempts[-1].get("node") or "") if self.attempts else ""


@dataclass(frozen=True, slots=True)
class Job:
    """The Job of one attempt."""

    uid: str
    name: str
    version: str
    evaluation_uid: str
    evaluation: str
    attempt: int
    slot: int
    processes: int | None = None
    gated: bool = True
    """Whether its pods begin behind our scheduling gate: those of releases before that did not."""
    spent: bool = False
    suspended: bool = False
    expires: bool = False
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a pod."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod, as the kubelet last said; `started` once its startup probe has passed."""

    image: str = ""
    running: bool = False
    started: bool = False
    waiting: str = ""
    message: str = ""
    exit_code: int | None = None
    ended_as: str = ""
    ended_at: str = ""

    @property
    def ended(self) -> bool:
        """Whether it has run and does no more."""
        return self.exit_code is not None


class Foreign(NamedTuple):
    """A container that somebody's webhook put into the pod. One of the pod's `init` containers ends with the others."""

    name: str
    container: Container
    init: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod of one attempt."""

    uid: str
    name: str
    version: str
    evaluation_uid: str
    attempt: int
    slot: int
    job_uid: str = ""
    gate: int | None = None
    """Where our scheduling gate is among the pod's; None once it is open."""
    phase: str = "Pending"
    node: str = ""
    deleting: bool = False
    reason: str = ""
    message: str = ""
    conditions: Mapping[str, Condition] | None = None
    evaluator: Container | None = None
    reporter: Container | None = None
    foreign: tuple[Foreign, ...] = ()
    memory_limited: bool = True
    """Whether the evaluator has a limit of memory, which it may have reached."""

    @property
    def terminal(self) -> bool:
        """Whether it holds no GPU, now or later: evaluator and reporter have ended, or it was deleted before it had a node."""
        if self.phase in ("Succeeded", "Failed"):
            return True
        # The API server binds no pod that is being deleted.
        return self.deleting and (not self.node or (_ended(self.evaluator) and _ended(self.reporter)))

    @property
    def kept_by(self) -> str:
        """The container that is not ours and keeps the pod, and the reporter in it, though the evaluator has ended; else ""."""
        if self.terminal or not _ended(self.evaluator):
            return ""
        return next((name for name, container, init in self.foreign if container.running and not init), "")

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type."""
        return (self.conditions or {}).get(kind)


@dataclass(frozen=True, slots=True)
class Event:
    """What a component said about an object."""

    reason: str
    message: str
    at: str


def evaluation(item: Object) -> Evaluation:
    """From the API server's JSON."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    progress = status.get("progress") or {}
    return Evaluation(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        generation=metadata.get("generation") or 0,
        created_at=metadata.get("creationTimestamp") or "",
        first_seen=ordinal(metadata["resourceVersion"]),
        priority=spec.get("priority") or 0,
        hold=bool(spec.get("hold")),
        cancel=bool(spec.get("cancel")),
        deleting="deletionTimestamp" in metadata,
        cancelled_by=one_line((metadata.get("annotations") or {}).get(names.ANNOTATION_CANCELLED_BY, ""), MAX_CANCELLED_BY),
        phase=Phase(status.get("phase") or Phase.QUEUED),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        attempt=status.get("attempt") or 0,
        slot=status.get("slot"),
        job_uid=status.get("jobUID") or "",
        pod_uid=status.get("podUID") or "",
        stopped_for=Reason(status["stoppedFor"]) if status.get("stoppedFor") in set(Reason) else None,
        retries=spec.get("retries") or 0,
        timeout_seconds=spec.get("timeoutSeconds"),
        stall_timeout_seconds=spec.get("stallTimeoutSeconds"),
        next_attempt_at=_moment(status, "nextAttemptAt"),
        started_at=_moment(status, "startedAt"),
        attempts=tuple(status.get("attempts") or ()),
        reported=REPORTER_FIELDS & status.keys(),
        reported_attempt=status.get("reportedAttempt") or 0,
        stage=progress.get("stage") or "",
        progressed_at=progress.get("updatedAt") or "",
        error=status.get("error"),
        suspect=status.get("suspect"),
    )


def job(item: Object) -> Job | None:
    """From the API server's JSON; None if its name and labels are not those of an attempt's Job."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    labels = metadata.get("labels") or {}
    attempt, slot = _number(labels, names.LABEL_ATTEMPT), _number(labels, names.LABEL_SLOT)
    name, uid = labels.get(names.LABEL_EVALUATION, ""), labels.get(names.LABEL_EVALUATION_UID, "")
    if attempt is None or slot is None or metadata["name"] != names.job_name(evaluation=name, uid=uid, attempt=attempt):
        return None
    return Job(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        evaluation_uid=uid,
        evaluation=name,
        attempt=attempt,
        slot=slot,
        processes=_number(metadata.get("annotations") or {}, names.ANNOTATION_PROCESSES),
        gated=_gate((spec.get("template") or {}).get("spec") or {}) is not None,
        spent=_spent(status),
        suspended=bool(spec.get("suspend")),
        expires=spec.get("ttlSecondsAfterFinished") is not None,
        deleting="deletionTimestamp" in metadata,
    )


def pod(item: Object) -> Pod | None:
    """From the API server's JSON; None if its labels are not those of an attempt."""
    metadata, status = item["metadata"], item.get("status") or {}
    labels = metadata.get("labels") or {}
    attempt, slot = _number(labels, names.LABEL_ATTEMPT), _number(labels, names.LABEL_SLOT)
    if attempt is None or slot is None:
        return None
    return Pod(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        evaluation_uid=labels.get(names.LABEL_EVALUATION_UID, ""),
        attempt=attempt,
        slot=slot,
        job_uid=next((owner["uid"] for owner in metadata.get("ownerReferences") or () if owner.get("controller")), ""),
        gate=_gate(item.get("spec") or {}),
        phase=status.get("phase") or "Pending",
        node=(item.get("spec") or {}).get("nodeName") or "",
        deleting="deletionTimestamp" in metadata,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        conditions={entry["type"]: _condition(entry) for entry in status.get("conditions") or ()},
        evaluator=_container(status.get("containerStatuses"), names.EVALUATOR_CONTAINER),
        reporter=_container(status.get("initContainerStatuses"), names.REPORTER_CONTAINER),
        foreign=(
            *_others(status.get("initContainerStatuses"), names.REPORTER_CONTAINER, init=True),
            *_others(status.get("containerStatuses"), names.EVALUATOR_CONTAINER, init=False),
        ),
        memory_limited=_limits_memory(item.get("spec") or {}),
    )


def event(item: Object) -> Event:
    """From the API server's JSON."""
    at = item.get("lastTimestamp") or item.get("eventTime") or (item.get("metadata") or {}).get("creationTimestamp") or ""
    return Event(item.get("reason") or "", item.get("message") or "", at)


def done(job: Job, pods: Sequence[Pod]) -> bool:
    """Whether a Job, of which these are all the pods, has none that has not ended, and gets no other one."""
    return job.spent or bool(pods and all(pod.terminal for pod in pods))


def ordinal(version: str) -> int:
    """A resourceVersion as a number: the API server promises that those of one resource can be compared so."""
    return int(version) if version.isdecimal() else 0


def _moment(status: Object, field: str) -> str:
    text = status.get(field)
    return str(text) if read_moment(text) else ""


def _number(labels: Mapping[str, str], label: str) -> int | None:
    text = labels.get(label, "")
    return int(text) if text.isdecimal() else None


def _gate(spec: Object) -> int | None:
    gates = [gate.get("name") for gate in spec.get("schedulingGates") or ()]
    return gates.index(names.SCHEDULING_GATE) if names.SCHEDULING_GATE in gates else None


def _spent(status: Object) -> bool:
    conditions = {entry["type"] for entry in status.get("conditions") or () if entry.get("status") == "True"}
    uncounted = status.get("uncountedTerminatedPods") or {}
    return bool(conditions & SPENT_CONDITIONS or status.get("failed") or status.get("succeeded") or any(uncounted.values()))


def _condition(entry: Object) -> Condition:
    return Condition(entry.get("status") or "", entry.get("reason") or "", entry.get("message") or "")


def _container(statuses: list[Object] | None, name: str) -> Container | None:
    for status in statuses or ():
        if status.get("name") == name:
            return _container_status(status)
    return None


def _others(statuses: list[Object] | None, ours: str, *, init: bool) -> Iterator[Foreign]:
    for status in statuses or ():
        if status.get("name") != ours:
            yield Foreign(status.get("name") or "", _container_status(status), init)


def _ended(container: Container | None) -> bool:
    return container is not None and container.ended


def _limits_memory(spec: Object) -> bool:
    """Whether the evaluator's memory is limited, by us or by the namespace's defaults."""
    own: Object = next((entry for entry in spec.get("containers") or () if entry.get("name") == names.EVALUATOR_CONTAINER), {})
    return "memory" in ((own.get("resources") or {}).get("limits") or {})


def _container_status(status: Object) -> Container:
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    return Container(
        image=status.get("image") or "",
        running=bool(state.get("running")),
        started=bool(status.get("started")),
        waiting=waiting.get("reason") or "",
        message=waiting.get("message") or ended.get("message") or "",
        exit_code=ended.get("exitCode"),
        ended_as=ended.get("reason") or "",
        ended_at=ended.get("finishedAt") or "",
    )

"""Evaluations, Jobs, pods and their events as the operator needs them: small projections of the API server's objects.

`view` holds them; `derive` and `plan` decide by them. Nothing here fails on a field that is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lmms_eval_core import names
from lmms_eval_core.crd import list_status_owners
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_core.redact import to_one_line
from lmms_eval_core.run import ResumePolicy
from lmms_eval_core.schema import Owner, parse_moment

# The user's timers.
TIMERS: Final = frozenset({Reason.DEADLINE_EXCEEDED, Reason.STALLED})
# Any user may have written it.
MAX_CANCELLED_BY: Final = 256
MAX_RESUME_REASON: Final = 256
REPORTER_FIELDS: Final = frozenset(list_status_owners()[Owner.REPORTER])
# What the status says of answers that outlive their attempt, in its progress and in its entry: those of earlier ones,
# and why its own are not kept. Each group is taken over when one of it is said for the first time.
RESUME_FACTS: Final = (frozenset({"resumed", "startedAnew"}), frozenset({"notKept"}))
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
    resumes: bool = True
    timeout_seconds: int | None = None
    stall_timeout_seconds: int | None = None
    free_attempts: int = 0
    next_attempt_at: str = ""
    started_at: str = ""
    attempts: tuple[Object, ...] = ()
    reported: frozenset[str] = frozenset()
    reported_attempt: int = 0
    stage: str = ""
    progressed_at: str = ""
    kept_answers: int = 0
    resume_facts: Object | None = None
    """What the reporter says of `RESUME_FACTS`, as in an attempt's entry."""
    error: Object | None = None
    suspect: Object | None = None
    has_gate: bool = False
    baseline: str = ""
    """The evaluation that its gate compares with, by name."""
    gate: Object | None = None
    """What the gate says, by the reporter."""

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended for good."""
        return self.phase in TERMINAL

    @property
    def is_unwanted(self) -> bool:
        """Whether it must not start, or must stop."""
        return self.cancel or self.deleting

    @property
    def is_stopping(self) -> bool:
        """Whether its running attempt is to end, whoever wants it."""
        return self.is_unwanted or self.stopped_for is not None

    @property
    def is_startable(self) -> bool:
        """Whether its next attempt may start."""
        return self.phase is Phase.QUEUED and not self.hold and not self.is_unwanted

    @property
    def has_report(self) -> bool:
        """Whether the reporter has reported for the current attempt."""
        return self.attempt > 0 and self.reported_attempt == self.attempt

    @property
    def is_published(self) -> bool:
        """Whether the scores of the current attempt have arrived: its files are stored, its run had ended well."""
        return self.has_report and "scores" in self.reported

    @property
    def allowed_attempts(self) -> int:
        """How many attempts it may have, if no further one spends no retry."""
        return self.retries + 1 + self.free_attempts

    @property
    def has_kept_answers(self) -> bool:
        """Whether the current attempt has answers of its own in the store that the next one can go on with.

        One that found all earlier answers of no use says nothing for the use of its own.
        """
        facts = self.resume_facts or {}
        goes_on = "resumed" in facts or "startedAnew" not in facts
        return self.resumes and self.has_report and self.kept_answers > 0 and goes_on

    @property
    def unrecorded_resume_facts(self) -> Object:
        """What the reporter says of answers, as far as the running attempt's entry says nothing of them."""
        if not self.attempts or self.phase is not Phase.RUNNING or not self.has_report:
            return {}
        return select_new_facts(self.resume_facts or {}, self.attempts[-1])

    @property
    def node(self) -> str:
        """Where the current attempt runs, as the status has it."""
        return str(self.attempts[-1].get("node") or "") if self.attempts else ""


@dataclass(frozen=True, slots=True)
class AttemptJob:
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
class PodCondition:
    """One condition of a pod."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ContainerState:
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
    def has_ended(self) -> bool:
        """Whether it has run and does no more."""
        return self.exit_code is not None


class ForeignContainer(NamedTuple):
    """A container that somebody's webhook put into the pod. One of the pod's `init` containers ends with the others."""

    name: str
    container: ContainerState
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
    conditions: Mapping[str, PodCondition] | None = None
    evaluator: ContainerState | None = None
    reporter: ContainerState | None = None
    foreign: tuple[ForeignContainer, ...] = ()
    memory_limited: bool = True
    """Whether the evaluator has a limit of memory, which it may have reached."""

    @property
    def is_terminal(self) -> bool:
        """Whether it holds no GPU, now or later: evaluator and reporter have ended, or it was deleted before it had a
        node.
        """
        if self.phase in ("Succeeded", "Failed"):
            return True
        # The API server binds no pod that is being deleted.
        return self.deleting and (not self.node or (_has_ended(self.evaluator) and _has_ended(self.reporter)))

    @property
    def keeping_container(self) -> str:
        """The container that is not ours and keeps the pod, and the reporter in it, though the evaluator has ended;
        else "".
        """
        if self.is_terminal or not _has_ended(self.evaluator):
            return ""
        return next((name for name, container, init in self.foreign if container.running and not init), "")

    def condition(self, kind: str) -> PodCondition | None:
        """The condition of this type."""
        return (self.conditions or {}).get(kind)


@dataclass(frozen=True, slots=True)
class Event:
    """An event that a component wrote about an object."""

    reason: str
    message: str
    at: str


def parse_evaluation(item: Object) -> Evaluation:
    """Parse the API server's JSON."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    progress = status.get("progress") or {}
    return Evaluation(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        generation=metadata.get("generation") or 0,
        created_at=metadata.get("creationTimestamp") or "",
        first_seen=parse_version(metadata["resourceVersion"]),
        priority=spec.get("priority") or 0,
        hold=bool(spec.get("hold")),
        cancel=bool(spec.get("cancel")),
        deleting="deletionTimestamp" in metadata,
        cancelled_by=to_one_line(
            (metadata.get("annotations") or {}).get(names.ANNOTATION_CANCELLED_BY, ""), MAX_CANCELLED_BY
        ),
        phase=Phase(status.get("phase") or Phase.QUEUED),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        attempt=status.get("attempt") or 0,
        slot=status.get("slot"),
        job_uid=status.get("jobUID") or "",
        pod_uid=status.get("podUID") or "",
        stopped_for=Reason(status["stoppedFor"]) if status.get("stoppedFor") in set(Reason) else None,
        retries=spec.get("retries") or 0,
        resumes=spec.get("resume") != ResumePolicy.NEVER,
        timeout_seconds=spec.get("timeoutSeconds"),
        stall_timeout_seconds=spec.get("stallTimeoutSeconds"),
        free_attempts=status.get("freeAttempts") or 0,
        next_attempt_at=_read_moment(status, "nextAttemptAt"),
        started_at=_read_moment(status, "startedAt"),
        attempts=tuple(status.get("attempts") or ()),
        reported=REPORTER_FIELDS & status.keys(),
        reported_attempt=status.get("reportedAttempt") or 0,
        stage=progress.get("stage") or "",
        progressed_at=progress.get("updatedAt") or "",
        kept_answers=progress.get("kept") or 0,
        resume_facts=_read_resume_facts(progress) or None,
        error=status.get("error"),
        suspect=status.get("suspect"),
        has_gate=bool(spec.get("gate")),
        baseline=str(((spec.get("gate") or {}).get("baseline") or {}).get("evaluation") or ""),
        gate=status.get("gate"),
    )


def parse_job(item: Object) -> AttemptJob | None:
    """Parse the API server's JSON; None if its name and labels are not those of an attempt's Job."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    labels = metadata.get("labels") or {}
    attempt, slot = _read_number(labels, names.LABEL_ATTEMPT), _read_number(labels, names.LABEL_SLOT)
    name, uid = labels.get(names.LABEL_EVALUATION, ""), labels.get(names.LABEL_EVALUATION_UID, "")
    if attempt is None or slot is None or metadata["name"] != names.job_name(evaluation=name, uid=uid, attempt=attempt):
        return None
    return AttemptJob(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        evaluation_uid=uid,
        evaluation=name,
        attempt=attempt,
        slot=slot,
        processes=_read_number(metadata.get("annotations") or {}, names.ANNOTATION_PROCESSES),
        gated=_find_gate((spec.get("template") or {}).get("spec") or {}) is not None,
        spent=_is_spent(status),
        suspended=bool(spec.get("suspend")),
        expires=spec.get("ttlSecondsAfterFinished") is not None,
        deleting="deletionTimestamp" in metadata,
    )


def parse_pod(item: Object) -> Pod | None:
    """Parse the API server's JSON; None if its labels are not those of an attempt."""
    metadata, status = item["metadata"], item.get("status") or {}
    labels = metadata.get("labels") or {}
    attempt, slot = _read_number(labels, names.LABEL_ATTEMPT), _read_number(labels, names.LABEL_SLOT)
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
        gate=_find_gate(item.get("spec") or {}),
        phase=status.get("phase") or "Pending",
        node=(item.get("spec") or {}).get("nodeName") or "",
        deleting="deletionTimestamp" in metadata,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        conditions={entry["type"]: _parse_condition(entry) for entry in status.get("conditions") or ()},
        evaluator=_find_container(status.get("containerStatuses"), names.EVALUATOR_CONTAINER),
        reporter=_find_container(status.get("initContainerStatuses"), names.REPORTER_CONTAINER),
        foreign=(
            *_list_foreign(status.get("initContainerStatuses"), names.REPORTER_CONTAINER, init=True),
            *_list_foreign(status.get("containerStatuses"), names.EVALUATOR_CONTAINER, init=False),
        ),
        memory_limited=_has_memory_limit(item.get("spec") or {}),
    )


def parse_event(item: Object) -> Event:
    """Parse the API server's JSON."""
    at = (
        item.get("lastTimestamp")
        or item.get("eventTime")
        or (item.get("metadata") or {}).get("creationTimestamp")
        or ""
    )
    return Event(item.get("reason") or "", item.get("message") or "", at)


def is_job_done(job: AttemptJob, pods: Sequence[Pod]) -> bool:
    """Return whether all pods of a Job have ended, which are `pods`, and it gets no other one."""
    return job.spent or bool(pods and all(pod.is_terminal for pod in pods))


def parse_version(version: str) -> int:
    """Return a resourceVersion as a number: the API server promises that those of one resource can be compared so."""
    return int(version) if version.isdecimal() else 0


def select_new_facts(facts: Object, entry: Object) -> Object:
    """Return those of `facts` of whose group the entry of an attempt says nothing."""
    new = frozenset[str]().union(*(group for group in RESUME_FACTS if not group & entry.keys()))
    return {name: fact for name, fact in facts.items() if name in new}


def _read_resume_facts(progress: Object) -> Object:
    facts = {name: progress[name] for group in RESUME_FACTS for name in sorted(group) if progress.get(name)}
    # The entries of five attempts share the status with everything else.
    return facts | {name: to_one_line(text, MAX_RESUME_REASON) for name, text in facts.items() if isinstance(text, str)}


def _read_moment(status: Object, field: str) -> str:
    text = status.get(field)
    return str(text) if parse_moment(text) else ""


def _read_number(labels: Mapping[str, str], label: str) -> int | None:
    text = labels.get(label, "")
    return int(text) if text.isdecimal() else None


def _find_gate(spec: Object) -> int | None:
    gates = [gate.get("name") for gate in spec.get("schedulingGates") or ()]
    return gates.index(names.SCHEDULING_GATE) if names.SCHEDULING_GATE in gates else None


def _is_spent(status: Object) -> bool:
    conditions = {entry["type"] for entry in status.get("conditions") or () if entry.get("status") == "True"}
    uncounted = status.get("uncountedTerminatedPods") or {}
    return bool(
        conditions & SPENT_CONDITIONS or status.get("failed") or status.get("succeeded") or any(uncounted.values())
    )


def _parse_condition(entry: Object) -> PodCondition:
    return PodCondition(entry.get("status") or "", entry.get("reason") or "", entry.get("message") or "")


def _find_container(statuses: list[Object] | None, name: str) -> ContainerState | None:
    for status in statuses or ():
        if status.get("name") == name:
            return _parse_container(status)
    return None


def _list_foreign(statuses: list[Object] | None, ours: str, *, init: bool) -> Iterator[ForeignContainer]:
    for status in statuses or ():
        if status.get("name") != ours:
            yield ForeignContainer(status.get("name") or "", _parse_container(status), init)


def _has_ended(container: ContainerState | None) -> bool:
    return container is not None and container.has_ended


def _has_memory_limit(spec: Object) -> bool:
    """Return whether the evaluator's memory is limited, by us or by the namespace's defaults."""
    own: Object = next(
        (entry for entry in spec.get("containers") or () if entry.get("name") == names.EVALUATOR_CONTAINER), {}
    )
    return "memory" in ((own.get("resources") or {}).get("limits") or {})


def _parse_container(status: Object) -> ContainerState:
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    return ContainerState(
        image=status.get("image") or "",
        running=bool(state.get("running")),
        started=bool(status.get("started")),
        waiting=waiting.get("reason") or "",
        message=waiting.get("message") or ended.get("message") or "",
        exit_code=ended.get("exitCode"),
        ended_as=ended.get("reason") or "",
        ended_at=ended.get("finishedAt") or "",
    )

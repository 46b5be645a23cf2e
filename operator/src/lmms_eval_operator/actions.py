"""What `plan` may ask for: each action is one write (or one look), with all that its precondition needs.

`apply` does them.
"""

from dataclasses import dataclass
from typing import Final

from lmms_eval_core.phases import Reason
from lmms_eval_operator.derive import Derived
from lmms_eval_operator.objects import AttemptJob, Evaluation, Pod
from lmms_eval_operator.slots import Slot


@dataclass(frozen=True, slots=True)
class Claim:
    """Start, step 1: swap the slot's Lease to the next attempt of `evaluation`; again, if that has changed since."""

    slot: Slot
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Start, step 2: create the Job of the next attempt, whose pods begin behind a scheduling gate, for `slot`."""

    slot: Slot
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class PutBack:
    """Give up a start whose pod the cluster refuses, for `cause`: the evaluation waits, and the slot goes to the next
    one.
    """

    slot: Slot
    evaluation: Evaluation
    cause: str


@dataclass(frozen=True, slots=True)
class MarkRunning:
    """Start, step 3: the status says Running, with the uids of Job and pod, if the evaluation is as it was at the
    claim.
    """

    evaluation: Evaluation
    job: AttemptJob
    pod: Pod


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Start, step 4: open the gate of the pod that the status names. Only this can put a pod on a GPU."""

    evaluation: Evaluation
    pod: Pod


@dataclass(frozen=True, slots=True)
class Stop:
    """Write into the status why a running attempt is to end: a timer of its user, or its slot is not its own
    (Interrupted).
    """

    evaluation: Evaluation
    reason: Reason


@dataclass(frozen=True, slots=True)
class DeletePod:
    """End a pod whose Job is gone, so that no suspension can reach it."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class EndPod:
    """End the pod of a running attempt: it is to stop, or a container that is not ours keeps it alive after its end."""

    evaluation: Evaluation
    pod: Pod


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job that no slot or no evaluation needs; after a live look."""

    job: AttemptJob


@dataclass(frozen=True, slots=True)
class ExpireJob:
    """Let Kubernetes delete a Job some time after its end; its results are published."""

    job: AttemptJob


@dataclass(frozen=True, slots=True)
class Report:
    """Write where an evaluation is, for people to read."""

    evaluation: Evaluation
    derived: Derived


@dataclass(frozen=True, slots=True)
class EndQueued:
    """Write the end of an evaluation that never started, or waits between attempts."""

    evaluation: Evaluation
    derived: Derived


@dataclass(frozen=True, slots=True)
class Finish:
    """Look at the running attempt live and, if it is over, write its end."""

    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Release:
    """Swap the slot's Lease free, after a live look unless the attempt was seen over."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """Read the events about a pod, or about a Job that gets no pod."""

    uid: str


@dataclass(frozen=True, slots=True)
class TellDefect:
    """A policy failed over one object: nothing is done about it until that ends, and its evaluation says so."""

    policy: str
    uid: str
    error: Exception


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Plan again after `seconds`, whatever happens."""

    seconds: float


Action = (
    Claim
    | CreateJob
    | PutBack
    | MarkRunning
    | OpenGate
    | Stop
    | DeletePod
    | EndPod
    | DeleteJob
    | ExpireJob
    | Report
    | EndQueued
    | Finish
    | Release
    | ReadEvents
    | TellDefect
    | LookAgain
)

# Completes "the operator could not", where one of them fails.
ACTION_PHRASES: Final[dict[type, str]] = {
    Claim: "take a slot for it",
    CreateJob: "create its Job",
    PutBack: "give its slot to the next one",
    MarkRunning: "write that its attempt starts",
    OpenGate: "let its pod start",
    Stop: "write that its run is to end",
    DeletePod: "delete its pod",
    EndPod: "end its pod",
    DeleteJob: "delete a Job that it does not need",
    ExpireJob: "leave its Job to Kubernetes",
    Report: "write where it is",
    EndQueued: "write its end",
    Finish: "write its end",
    Release: "free its slot",
    ReadEvents: "read the events of its pod",
    TellDefect: "decide what to do with it",
}


def identify(action: Action) -> str:
    """Return the kind of action and what it is about: the same if it is planned again for a newer state."""
    if isinstance(action, TellDefect):
        return f"TellDefect {action.policy} {action.uid}"
    about = next(getattr(action, name) for name in ("evaluation", "job", "pod", "slot", "uid") if hasattr(action, name))
    return f"{type(action).__name__} {getattr(about, 'uid', getattr(about, 'index', about))}"


def find_evaluation_uid(action: Action) -> str:
    """Return the uid of the evaluation that an action is about; "" if it is about none."""
    match action:
        case DeleteJob(job=job) | ExpireJob(job=job):
            return job.evaluation_uid
        case DeletePod(pod=pod):
            return pod.evaluation_uid
        case Release(slot=slot):
            return slot.holder.uid if slot.holder else ""
        case TellDefect(uid=uid):
            return uid
        case ReadEvents() | LookAgain():
            return ""
    return action.evaluation.uid

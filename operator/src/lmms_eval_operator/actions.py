"""What `plan` may ask for: each action is one write (or one look), with all that its precondition needs. `apply` does them."""

from dataclasses import dataclass

from lmms_eval_core.phases import Reason
from lmms_eval_operator.derive import Verdict
from lmms_eval_operator.objects import Evaluation, Job, Pod
from lmms_eval_operator.slots import Slot


@dataclass(frozen=True, slots=True)
class Claim:
    """Start, step 1: swap the slot's Lease to the next attempt of `evaluation`; again, if that has changed since."""

    slot: Slot
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Start, step 2: create the Job of the next attempt, suspended, for `slot`."""

    slot: Slot
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class MarkRunning:
    """Start, step 3: the status says Running, with the Job's name and uid, if the evaluation is as it was at the claim."""

    evaluation: Evaluation
    job: Job


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start, step 4: lift the suspension, if the Job is this very one and still new. Only this can put a pod on a GPU."""

    evaluation: Evaluation
    job: Job


@dataclass(frozen=True, slots=True)
class StopJob:
    """Suspend the Job of an evaluation for good: it is not wanted any more, or a timer of its user ended it."""

    evaluation: Evaluation
    job: Job
    timer: Reason | None = None


@dataclass(frozen=True, slots=True)
class StopOrphan:
    """Suspend a Job that no slot or no evaluation stands behind, for good; after a live look."""

    job: Job


@dataclass(frozen=True, slots=True)
class DeletePod:
    """End a pod whose Job is gone, so that no suspension can reach it."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Take away a Job that was stopped and has no pod."""

    job: Job


@dataclass(frozen=True, slots=True)
class ExpireJob:
    """Let Kubernetes take away a Job some time after its end; its results are published."""

    job: Job


@dataclass(frozen=True, slots=True)
class Report:
    """Write where an evaluation is, for people to read."""

    evaluation: Evaluation
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class EndQueued:
    """Write the end of an evaluation that never started, or waits between attempts."""

    evaluation: Evaluation
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Finish:
    """Look at the running attempt live and, if it is over, write its end. `job_gone`: its Job has been missing long enough."""

    evaluation: Evaluation
    job_gone: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Swap the slot's Lease free, after a live look unless the attempt was seen over."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """Read what components said about a pod, or about a Job that gets no pod."""

    uid: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Plan again after `seconds`, whatever happens."""

    seconds: float


Action = (
    Claim
    | CreateJob
    | MarkRunning
    | StartJob
    | StopJob
    | StopOrphan
    | DeletePod
    | DeleteJob
    | ExpireJob
    | Report
    | EndQueued
    | Finish
    | Release
    | ReadEvents
    | LookAgain
)

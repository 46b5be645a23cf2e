"""Every row of the table of endings, and every running reason, from what pods, Job and reporter say."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from deployment import ROOT
from operator_builders import TODAY, conditions, ended, gated, job_of, pod_of, queued, retrying, running, working

from lmms_eval_core.failures import ENDINGS
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.run import Stage
from lmms_eval_operator.derive import (
    FROM_OUTSIDE,
    MAX_FREE_ATTEMPTS,
    POD_DELETED,
    STOPPED,
    Derived,
    compute_next_attempt_at,
    derive,
    derive_queued,
    explain_missing_pod,
    find_pod_refusal,
    is_in_status,
)
from lmms_eval_operator.objects import AttemptJob, ContainerState, Evaluation, Event, ForeignContainer, Pod
from lmms_eval_operator.pod_wait import find_silent_uid

NODE_WAITS = "waiting for node n1 to start the containers"
NODE_NOT_READY = conditions(Ready="False", ContainersReady="True")
A = running("a")
Events = tuple[Event, ...] | None


def where(
    evaluation: Evaluation, job: AttemptJob | None, *pods: Pod, events: Events = None
) -> tuple[Phase, Reason, str]:
    derived = derive(evaluation, job, pods, events)
    return derived.phase, derived.reason, derived.message


def why(evaluation: Evaluation, *pods: Pod, events: Events = None) -> tuple[str, str]:
    """Reason and message of an attempt that runs."""
    phase, reason, message = where(evaluation, job_of(evaluation), *pods, events=events)
    assert phase is Phase.RUNNING
    return reason, message


def waits(reason: str, message: str = "", image: str = "img:1") -> ContainerState:
    return ContainerState(image=image, waiting=reason, message=message)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ((pod_of(A),), ("Starting", "")),
        (
            (pod_of(A, conditions=conditions(PodScheduled=("False", "Unschedulable", "0/3 nodes"))),),
            ("Unschedulable", "0/3 nodes"),
        ),
        (
            (
                pod_of(
                    A,
                    conditions=conditions(
                        PodScheduled=("False", "Unschedulable", 'persistentvolumeclaim "x" not found')
                    ),
                ),
            ),
            ("VolumePending", 'persistentvolumeclaim "x" not found'),
        ),
        ((pod_of(A, node="n1", conditions=conditions(PodScheduled="True")),), ("Starting", "")),
        ((pod_of(A, conditions=conditions(PodScheduled="True")),), ("Starting", "")),
        (
            (pod_of(A, node="n1", evaluator=waits("PodInitializing"), reporter=waits("ContainerCreating")),),
            ("Starting", ""),
        ),
        (
            (pod_of(A, node="n1", evaluator=waits("ErrImagePull", "no such host")),),
            ("ImagePullError", "cannot pull image img:1: no such host"),
        ),
        (
            (
                pod_of(
                    A,
                    node="n1",
                    evaluator=waits("ImagePullBackOff", 'Back-off pulling image "img:1": ErrImagePull: no such host'),
                ),
            ),
            ("ImagePullError", "cannot pull image img:1: no such host"),
        ),
        (
            (pod_of(A, node="n1", evaluator=waits("ImagePullBackOff", 'Back-off pulling image "img:1"')),),
            ("ImagePullError", 'cannot pull image img:1: Back-off pulling image "img:1"'),
        ),
        (
            (pod_of(A, node="n1", reporter=waits("InvalidImageName")),),
            ("ImagePullError", "cannot pull image img:1: InvalidImageName"),
        ),
        (
            (pod_of(A, node="n1", evaluator=waits("CreateContainerConfigError", 'secret "x" not found')),),
            ("Starting", 'container evaluator: secret "x" not found'),
        ),
        (
            (pod_of(A, node="n1", reporter=waits("CrashLoopBackOff")),),
            ("Starting", "container reporter: CrashLoopBackOff"),
        ),
        ((working(A),), ("Starting", "")),
        ((working(A, evaluator=ContainerState(exit_code=0)),), ("Publishing", "")),
        ((working(A, deleting=True),), ("Starting", "the pod is being deleted")),
        ((gated(A, conditions=conditions(PodScheduled=("False", "SchedulingGated", "gates"))),), ("Starting", "")),
    ],
)
def test_a_running_attempt_says_why_it_is_where_it_is(pods: tuple[Pod, ...], expected: tuple[str, str]) -> None:
    assert why(A, *pods) == expected


@pytest.mark.parametrize("stage", list(Stage))
def test_the_reporters_stage_is_the_reason_once_the_evaluator_runs(stage: Stage) -> None:
    evaluation = running("a", stage=stage)
    assert why(evaluation, working(evaluation)) == (stage.value, "")


def test_the_stage_of_an_earlier_attempt_or_an_unknown_one_is_not_believed() -> None:
    for evaluation in (running("a", stage="Evaluating", attempt=2, reported_attempt=1), running("a", stage="Dreaming")):
        assert why(evaluation, working(evaluation)) == ("Starting", "")


@pytest.mark.parametrize(
    "pod",
    [
        working(A, conditions=NODE_NOT_READY),
        working(A, conditions=NODE_NOT_READY, deleting=True),
        working(A, reason="NodeLost", deleting=True),
    ],
)
def test_a_silent_node_is_said_and_keeps_the_slot(pod: Pod) -> None:
    for evaluation in (A, running("a", cancel=True)):
        reason, message = why(evaluation, pod)
        assert reason == "NodeUnreachable" and "n1" in message


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), ("Starting", NODE_WAITS)),
        (
            (Event("Scheduled", "to n1", "1"), Event("Pulling", "Pulling image x", "2")),
            ("PullingImage", "Pulling image x"),
        ),
        (
            (Event("Pulling", "Pulling image x", "1"), Event("Pulled", "done", "2")),
            ("Starting", NODE_WAITS),
        ),
        ((Event("FailedMount", "no such volume", "3"), Event("Pulled", "", "2")), ("VolumePending", "no such volume")),
        ((Event("FailedCreatePodSandBox", "no network", "3"),), ("Starting", "no network")),
    ],
)
def test_events_explain_a_pod_that_stays_in_creation(events: tuple[Event, ...], expected: tuple[str, str]) -> None:
    assert why(A, pod_of(A, node="n1", evaluator=waits("ContainerCreating")), events=events) == expected


RUNS = ContainerState(running=True)
WEBHOOKS = ForeignContainer("istio-proxy", RUNS, init=False)


def test_the_evaluators_image_is_pulled_once_the_reporter_has_started() -> None:
    events = (Event("Unhealthy", "Startup probe failed: not yet", "1"), Event("Pulling", "Pulling image x", "2"))
    pod = pod_of(A, node="n1", reporter=ContainerState(running=True, started=True), evaluator=waits("PodInitializing"))
    assert why(A, pod, events=events) == ("PullingImage", "Pulling image x")


@pytest.mark.parametrize(
    ("pods", "events", "expected"),
    [
        ((pod_of(A),), (), "waiting for the scheduler, which has not looked at the pod yet"),
        (
            (pod_of(A, conditions=conditions(PodScheduled=("False", "SchedulingGated", "gates"))),),
            (),
            "waiting for whoever holds the pod by a scheduling gate",
        ),
        (
            (pod_of(A, node="n1", reporter=RUNS, evaluator=waits("PodInitializing")),),
            (Event("Unhealthy", "Startup probe failed: no bucket", "1"),),
            "waiting for the reporter, which makes sure that results can be stored: Startup probe failed: no bucket",
        ),
        (
            (pod_of(A, node="n1", reporter=RUNS),),
            (),
            "waiting for the reporter, which makes sure that results can be stored",
        ),
        (
            (pod_of(A, node="n1", foreign=(ForeignContainer("wait-for-it", RUNS, init=True),)),),
            (),
            "waiting for container wait-for-it, which is not part of the evaluation, to end",
        ),
        (
            (
                pod_of(
                    A, node="n1", foreign=(ForeignContainer("istio-init", waits("CrashLoopBackOff", "no"), init=True),)
                ),
            ),
            None,
            "container istio-init: no",
        ),
    ],
)
def test_whoever_has_to_act_next_is_named(pods: tuple[Pod, ...], events: Events, expected: str) -> None:
    assert why(A, *pods, events=events) == ("Starting", expected)


def test_who_keeps_a_job_without_a_pod_is_said() -> None:
    events = (Event("FailedCreate", "forbidden: quota", "1"), Event("Other", "", "2"))
    assert explain_missing_pod(job_of(A)) == "waiting for the Job controller to create the pod"
    assert (find_pod_refusal(()), find_pod_refusal(events)) == ("", "forbidden: quota")
    assert explain_missing_pod(job_of(A, suspended=True)).startswith(
        "the Job was suspended by somebody else; it goes on when that lifts"
    )


def test_only_the_pod_that_was_written_down_counts() -> None:
    second = gated(A, uid="second")
    assert why(A, second, working(A)) == why(A, working(A), second) == ("Starting", "")
    assert where(A, job_of(A), second)[1] == "PodDeleted"
    assert where(A, job_of(A), ended(A, 65), working(A, uid="second"))[1] == "TaskNotFound"


def test_of_an_attempt_from_before_the_gate_the_pod_without_one_counts() -> None:
    old = running("a", pod_uid="")
    assert why(old, gated(old, uid="second"), working(old)) == ("Starting", "")
    assert why(old, working(old), ended(old, 0, uid="first")) == ("Starting", "")
    assert where(old, job_of(old), ended(old, 65))[1] == "TaskNotFound"
    assert where(old, job_of(old), gated(old))[1] == "PodDeleted"


def test_a_container_of_somebody_else_that_keeps_the_pod_is_named() -> None:
    reason, message = why(A, working(A, evaluator=ContainerState(exit_code=0), reporter=RUNS, foreign=(WEBHOOKS,)))
    assert reason == "Publishing"
    assert (
        message == "container istio-proxy, which is not part of the evaluation, keeps the pod alive and is being ended"
    )


def test_a_container_of_somebody_else_troubles_nobody_once_the_evaluator_runs() -> None:
    crashing = ForeignContainer("istio-proxy", waits("CrashLoopBackOff"), init=False)
    assert why(A, working(A, foreign=(crashing,))) == ("Starting", "")


@pytest.mark.parametrize(
    ("deleting", "reporter", "over"),
    [
        (True, ContainerState(exit_code=0), True),
        (True, RUNS, False),
        (True, None, False),
        (False, ContainerState(exit_code=0), False),
    ],
)
def test_an_attempt_is_over_when_evaluator_and_reporter_have_ended_for_good(
    deleting: bool, reporter: ContainerState | None, over: bool
) -> None:
    pod = working(A, evaluator=ContainerState(exit_code=70), reporter=reporter, foreign=(WEBHOOKS,), deleting=deleting)
    assert derive(A, job_of(A), [pod]).has_ended is over
    if over:
        assert where(A, job_of(A), pod)[:2] == (Phase.FAILED, Reason.EVALUATION_ERROR)


def test_a_kill_in_a_pod_that_we_ended_for_its_other_container_is_no_deletion() -> None:
    run = running("a", retries=0)
    pod = ended(run, 137, deleting=True, foreign=(WEBHOOKS,))
    assert where(run, job_of(run), pod)[1] == "Interrupted"
    assert where(run, job_of(run), ended(run, 137, deleting=True))[1] == "PodDeleted"


def test_a_readiness_gate_of_somebody_else_is_no_silent_node() -> None:
    waits_for_gate = conditions(Ready=("False", "ReadinessGatesNotReady", "gate"), ContainersReady="True")
    assert why(A, working(A, conditions=waits_for_gate)) == ("Starting", "")


def test_a_kill_without_a_limit_is_the_nodes_distress_and_tried_again() -> None:
    run = running("a", retries=1)
    derived = derive(run, job_of(run), [ended(run, 137, ended_as="OOMKilled", memory_limited=False)])
    assert (derived.phase, derived.reason, derived.attempt_reason) == (
        Phase.QUEUED,
        Reason.RETRYING,
        Reason.NODE_OUT_OF_MEMORY,
    )
    assert "no limit of its own on node n1; set spec.resources.memory" in derived.message
    derived = derive(run, job_of(run), [ended(run, 137, ended_as="OOMKilled")])
    assert (derived.phase, derived.reason) == (Phase.FAILED, Reason.OUT_OF_MEMORY)


@pytest.mark.parametrize(
    ("pod", "uid"),
    [
        (gated(A), ""),
        (pod_of(A), "a-pod-1"),
        (pod_of(A, conditions=conditions(PodScheduled=("False", "Unschedulable", "0/3"))), ""),
        (pod_of(A, node="n1"), "a-pod-1"),
        (pod_of(A, node="n1", evaluator=waits("ErrImagePull")), ""),
        (working(A), ""),
        (working(A, evaluator=ContainerState(exit_code=0)), ""),
        (ended(A, 0), ""),
    ],
)
def test_events_are_read_for_what_pod_status_does_not_explain(pod: Pod, uid: str) -> None:
    assert find_silent_uid(pod) == uid


@pytest.mark.parametrize("wanted", [{"cancel": True}, {"deleting": True}])
def test_an_unwanted_attempt_is_cancelling_until_its_pod_is_gone(wanted: dict[str, Any]) -> None:
    evaluation = running("a", **wanted)
    assert why(evaluation, working(evaluation))[0] == "Cancelling"
    assert where(evaluation, job_of(evaluation))[:2] == (Phase.CANCELLED, Reason.CANCELLED_BY_USER)
    unbound = gated(evaluation, deleting=True)
    assert where(evaluation, job_of(evaluation), unbound)[:2] == (Phase.CANCELLED, Reason.CANCELLED_BY_USER)
    assert where(evaluation, None, ended(evaluation, 143))[:2] == (Phase.CANCELLED, Reason.CANCELLED_BY_USER)
    assert where(evaluation, job_of(evaluation), ended(evaluation, 65))[:2] == (
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
    )


def test_who_cancelled_is_said() -> None:
    assert where(running("a", cancel=True, cancelled_by="ann"), None)[2] == "cancelled by ann"
    assert where(running("a", cancel=True), None)[2] == "cancelled by spec.cancel"
    assert where(running("a", deleting=True), None)[2] == "deleted before it ended"


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending.exit_code not in (None, 0)])
def test_each_exit_code_of_the_runner_has_its_reason(ending: Any) -> None:
    phase, reason, message = where(A, job_of(A), ended(A, ending.exit_code))
    assert (phase, reason) == (Phase.FAILED, ending.reason)
    assert ending.meaning in message


DISRUPTED = "DisruptionTarget"


@pytest.mark.parametrize(
    ("pod", "reason", "told"),
    [
        (ended(A, 137), "Interrupted", "(exit code 137) on node n1"),
        (ended(A, 137, ended_as="OOMKilled"), "OutOfMemory", "out of memory"),
        (ended(A, 0), "ResultsMissing", "published no scores"),
        (ended(A, None), "Interrupted", "signal"),
        (
            ended(A, None, reason="UnexpectedAdmissionError", message="no healthy devices"),
            "Interrupted",
            "no healthy devices",
        ),
        (ended(A, 137, reason="Evicted", message="disk use exceeds"), "Evicted", "disk use exceeds"),
        (
            ended(A, 143, conditions=conditions(DisruptionTarget=("True", "PreemptionByScheduler", "by x"))),
            "Preempted",
            "by x",
        ),
        (
            ended(A, 143, conditions=conditions(DisruptionTarget=("True", "EvictionByEvictionAPI", "drain"))),
            "Preempted",
            "drain",
        ),
        (ended(A, 143, reason="Terminated", message="node shutdown"), "Preempted", "node shutdown"),
        (
            ended(A, None, conditions=conditions(DisruptionTarget=("True", "DeletionByTaintManager", "gone"))),
            "NodeLost",
            "gone",
        ),
        (
            ended(A, None, conditions=conditions(DisruptionTarget=("True", "DeletionByPodGC", "gone"))),
            "NodeLost",
            "gone",
        ),
        (
            ended(A, 143, deleting=True, conditions=conditions(DisruptionTarget="False")),
            "PodDeleted",
            "pod was deleted",
        ),
        (ended(A, 65, deleting=True), "TaskNotFound", "task"),
    ],
)
def test_what_befell_the_pod_is_the_reason(pod: Pod, reason: str, told: str) -> None:
    phase, said, message = where(A, job_of(A), pod)
    assert (phase, said) == (Phase.FAILED, reason)
    assert told in message


@pytest.mark.parametrize(
    ("job", "pods", "reason"),
    [
        (None, (), "JobDeleted"),
        (None, (ended(A, 143, deleting=True),), "JobDeleted"),
        (job_of(A, deleting=True), (ended(A, 143, deleting=True),), "JobDeleted"),
        (job_of(A, spent=True), (), "PodDeleted"),
        (job_of(A), (pod_of(A, deleting=True),), "PodDeleted"),
    ],
)
def test_what_befell_the_job_is_the_reason(job: AttemptJob | None, pods: tuple[Pod, ...], reason: str) -> None:
    assert where(A, job, *pods)[:2] == (Phase.FAILED, reason)
    lost_its_slot = running("a", stopped_for=Reason.INTERRUPTED)
    assert where(lost_its_slot, job, *pods)[:2] == (Phase.FAILED, Reason.INTERRUPTED)
    assert where(lost_its_slot, job, *pods)[2].startswith(STOPPED)


@pytest.mark.parametrize("pods", [[0], [75], [137], [143], [73], [69], [None], []])
@pytest.mark.parametrize("cancel", [False, True])
def test_published_scores_are_never_thrown_away(pods: list[int | None], cancel: bool) -> None:
    evaluation = running("a", published=True, cancel=cancel)
    job = job_of(evaluation, spent=True)
    found = [ended(evaluation, code) for code in pods]
    assert where(evaluation, job, *found) == (Phase.COMPLETED, Reason.SUCCEEDED, "")
    assert where(evaluation, None, *found)[0] is Phase.COMPLETED


def test_a_failure_that_the_runner_names_stays_one_though_there_are_scores() -> None:
    evaluation = running("a", published=True)
    assert where(evaluation, job_of(evaluation), ended(evaluation, 72))[:2] == (Phase.FAILED, Reason.ALL_ANSWERS_FAILED)


def test_scores_of_an_earlier_attempt_do_not_count() -> None:
    evaluation = running("a", attempt=2, published=True, reported_attempt=1)
    assert where(evaluation, job_of(evaluation), ended(evaluation, 0))[:2] == (Phase.FAILED, Reason.RESULTS_MISSING)


def test_the_reporter_names_the_culprit() -> None:
    error = {"class": "TaskNotFound", "message": "no task nonsense"}
    evaluation = running("a", stage="Starting", error=error)
    assert where(evaluation, job_of(evaluation), ended(evaluation, 65))[2] == "no task nonsense"
    earlier = running("a", attempt=2, error=error)
    assert "no task nonsense" not in where(earlier, job_of(earlier), ended(earlier, 65))[2]


def test_what_the_cluster_did_is_told_in_its_own_words() -> None:
    evaluation = running("a", stage="Evaluating", error={"class": "Interrupted", "message": "asked to end"})
    deleted = ended(evaluation, 75, deleting=True)
    assert where(evaluation, job_of(evaluation), deleted)[1:] == (
        "PodDeleted",
        f"{POD_DELETED} (exit code 75) on node n1",
    )
    assert where(evaluation, job_of(evaluation), ended(evaluation, 75))[1:] == ("Interrupted", "asked to end")


R = running("a", retries=2)


def again(evaluation: Evaluation, *pods: Pod, job: AttemptJob | None) -> tuple[Phase, Reason, Reason | None]:
    derived = derive(evaluation, job, pods)
    return derived.phase, derived.reason, derived.attempt_reason


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending.exit_code not in (None, 0)])
def test_the_class_of_a_failure_decides_whether_it_is_tried_again(ending: Any) -> None:
    expected = (Phase.QUEUED, Reason.RETRYING, ending.reason) if ending.retry else (Phase.FAILED, ending.reason, None)
    assert again(R, ended(R, ending.exit_code), job=job_of(R)) == expected


@pytest.mark.parametrize(
    ("job", "pods", "cause"),
    [
        (None, (), Reason.JOB_DELETED),
        (job_of(R, spent=True), (), Reason.POD_DELETED),
        (job_of(R), (ended(R, 0),), Reason.RESULTS_MISSING),
        (
            job_of(R),
            (ended(R, 137, reason="Evicted", message="The node was low on resource: memory."),),
            Reason.EVICTED,
        ),
        (job_of(R), (ended(R, None, reason="NodeLost"),), Reason.NODE_LOST),
        (job_of(R), (ended(R, 143, deleting=True),), Reason.POD_DELETED),
    ],
)
def test_what_the_cluster_did_is_tried_again(job: AttemptJob | None, pods: tuple[Pod, ...], cause: Reason) -> None:
    assert again(R, *pods, job=job) == (Phase.QUEUED, Reason.RETRYING, cause)


@pytest.mark.parametrize(
    "said",
    [
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        'Container evaluator exceeded its local ephemeral storage limit "1Gi". ',
        'Usage of EmptyDir volume "run" exceeds the limit "1Gi". ',
    ],
)
def test_an_eviction_for_what_the_pod_wrote_itself_would_come_again(said: str) -> None:
    evicted = ended(R, 137, reason="Evicted", message=said)
    assert again(R, evicted, job=job_of(R)) == (Phase.FAILED, Reason.EVICTED, None)
    assert derive(R, job_of(R), [evicted]).message.endswith("raise spec.resources.ephemeralStorage")


def test_out_of_memory_is_not_tried_again_unless_the_runner_can_go_on() -> None:
    assert again(R, ended(R, 137, ended_as="OOMKilled"), job=job_of(R)) == (Phase.FAILED, Reason.OUT_OF_MEMORY, None)
    assert again(R, ended(R, 68, ended_as="OOMKilled"), job=job_of(R)) == (Phase.FAILED, Reason.OUT_OF_MEMORY, None)
    retried = (Phase.QUEUED, Reason.RETRYING, Reason.INTERRUPTED)
    assert again(R, ended(R, 75, ended_as="OOMKilled"), job=job_of(R)) == retried


@pytest.mark.parametrize(
    ("job", "pods"), [(None, ()), (job_of(R), (ended(R, 143, deleting=True),)), (job_of(R), (ended(R, 73),))]
)
def test_a_failure_that_would_come_again_is_final_whatever_befell_the_pod_after_it(
    job: AttemptJob | None, pods: tuple[Pod, ...]
) -> None:
    error = {"class": "EvaluationError", "message": "it raised"}
    known = running("a", retries=2, stage="Publishing", error=error)
    assert where(known, job, *pods) == (Phase.FAILED, Reason.EVALUATION_ERROR, "it raised")
    earlier = running("a", attempt=2, retries=2, error=error)
    assert where(earlier, None)[1] is Reason.RETRYING
    interrupted = running("a", retries=2, stage="Publishing", error={"class": "Interrupted", "message": "stopped"})
    assert where(interrupted, job, *pods)[1] is Reason.RETRYING


def test_attempts_are_used_up_one_by_one_and_the_last_cause_is_the_reason() -> None:
    second, third = running("a", attempt=2, retries=2), running("a", attempt=3, retries=2)
    derived = derive(second, job_of(second), [ended(second, 71)])
    assert (derived.phase, derived.message) == (
        Phase.QUEUED,
        "attempt 2 of 3 ended as GPUError: a CUDA or NCCL fault other than memory",
    )
    derived = derive(third, job_of(third), [ended(third, 71)])
    assert (derived.phase, derived.reason) == (Phase.FAILED, Reason.GPU_ERROR)
    assert derived.message == "a CUDA or NCCL fault other than memory (after 3 attempts)"
    assert derived.attempt_message == "a CUDA or NCCL fault other than memory"


def keeping(kept: int = 3, **changes: Any) -> Evaluation:
    """An evaluation that runs with no retry left; its attempt has answers in the store."""
    fields: dict[str, Any] = {"retries": 0, "stage": "Evaluating", "kept_answers": kept}
    return running("a", **(fields | changes))


RESUMED = {"resumed": {"answers": 120, "fromAttempt": 1, "exactness": "exact"}}
ANEW = {"startedAnew": "weights differ from attempt 1"}


@pytest.mark.parametrize(
    ("cause", "job", "pod"),
    [
        (Reason.INTERRUPTED, True, {"exit_code": 137}),
        (Reason.INTERRUPTED, True, {"exit_code": 75}),
        (Reason.JOB_DELETED, False, None),
        (Reason.POD_DELETED, True, None),
        (Reason.EVICTED, True, {"exit_code": 137, "reason": "Evicted", "message": "The node was low on memory."}),
        (Reason.NODE_LOST, True, {"exit_code": None, "reason": "NodeLost"}),
        (Reason.PREEMPTED, True, {"exit_code": 143, "reason": "Preempting"}),
        (Reason.NODE_OUT_OF_MEMORY, True, {"exit_code": 137, "ended_as": "OOMKilled", "memory_limited": False}),
    ],
)
def test_an_attempt_that_kept_answers_and_was_ended_from_outside_spends_no_retry(
    cause: Reason, job: bool, pod: dict[str, Any] | None
) -> None:
    run, idle = keeping(), keeping(kept=0)
    pods = [ended(run, **pod)] if pod else []
    derived = derive(run, job_of(run) if job else None, pods)
    assert (derived.phase, derived.attempt_reason, derived.free) == (Phase.QUEUED, cause, True)
    assert derived.message.startswith(f"attempt 1 of 2 ended as {cause}, which spends no retry as it kept answers: ")
    derived = derive(idle, job_of(idle) if job else None, pods)
    assert (derived.phase, derived.reason, derived.free) == (Phase.FAILED, cause, False)


def test_the_guide_says_which_ends_spend_a_retry() -> None:
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| (only|always)", (ROOT / "docs" / "guide.md").read_text(), re.MULTILINE
    )
    told = {when: set(re.findall(r"\w+", names)) for names, when in rows}
    retried = {ending.reason for ending in ENDINGS if ending.retry}
    assert told == {"only": FROM_OUTSIDE, "always": retried - FROM_OUTSIDE}
    assert retried >= FROM_OUTSIDE


@pytest.mark.parametrize("exit_code", [69, 71, 73, 0])
def test_what_may_be_the_runs_own_doing_spends_a_retry_whatever_it_kept(exit_code: int) -> None:
    run = keeping(retries=1)
    derived = derive(run, job_of(run), [ended(run, exit_code)])
    assert (derived.phase, derived.free) == (Phase.QUEUED, False)
    last = keeping()
    assert derive(last, job_of(last), [ended(last, exit_code)]).phase is Phase.FAILED


@pytest.mark.parametrize(
    "change",
    [
        {"resumes": False},
        {"reported_attempt": 0},
        {"resume_facts": ANEW},
        {"free_attempts": MAX_FREE_ATTEMPTS, "attempt": MAX_FREE_ATTEMPTS + 1, "reported_attempt": 51},
    ],
)
def test_answers_that_help_no_further_attempt_save_no_retry(change: dict[str, Any]) -> None:
    run = keeping(**change)
    derived = derive(run, job_of(run), [ended(run, 137)])
    assert (derived.phase, derived.reason, derived.free) == (Phase.FAILED, Reason.INTERRUPTED, False)


@pytest.mark.parametrize("facts", [RESUMED, RESUMED | ANEW])
def test_an_attempt_that_went_on_spends_no_retry_though_some_answers_did_not_count(facts: dict[str, Any]) -> None:
    run = keeping(attempt=2, free_attempts=1, resume_facts=facts)
    assert derive(run, job_of(run), [ended(run, 137)]).free


def test_an_eviction_for_its_own_disk_use_is_final_whatever_it_kept() -> None:
    run = keeping(retries=2)
    evicted = ended(run, 137, reason="Evicted", message='Usage of EmptyDir volume "run" exceeds the limit "1Gi". ')
    assert again(run, evicted, job=job_of(run)) == (Phase.FAILED, Reason.EVICTED, None)


def test_attempts_that_spent_no_retry_are_added_to_those_that_there_may_be() -> None:
    run = running("a", attempt=4, retries=2, free_attempts=2)
    derived = derive(run, job_of(run), [ended(run, 137)])
    assert (derived.phase, derived.free) == (Phase.QUEUED, False)
    assert derived.message.startswith("attempt 4 of 5 ended as Interrupted: ")
    last = running("a", attempt=5, retries=2, free_attempts=2)
    derived = derive(last, job_of(last), [ended(last, 71)])
    assert derived.message.endswith(" (after 5 attempts, 2 of which spent no retry)")


def test_the_wait_begins_anew_after_an_attempt_that_spent_no_retry() -> None:
    def wait(*, free: bool, **changes: Any) -> float:
        due = compute_next_attempt_at(running("a", **changes), free=free, first_seconds=10, now=TODAY)
        return (datetime.fromisoformat(due) - TODAY).total_seconds()

    assert [wait(attempt=number, free=False) for number in (1, 2, 3, 9)] == [10, 20, 40, 300]
    assert wait(attempt=9, free=True, free_attempts=2) == 10
    assert [wait(attempt=9, free=False, free_attempts=number) for number in (8, 7)] == [10, 20]


def test_what_waits_after_an_attempt_that_spent_no_retry_goes_on_saying_so() -> None:
    run = keeping()
    derived = derive(run, job_of(run), [ended(run, 137)])
    last = {"number": 1, "reason": "Interrupted", "message": derived.attempt_message, "free": True}
    evaluation = replace(retrying("a"), attempts=(last,), retries=0, free_attempts=1, message=derived.message)
    assert is_in_status(evaluation, derive_queued(evaluation))


def test_what_an_attempt_has_from_earlier_ones_is_reported_once() -> None:
    run = running("a", stage="Evaluating", reason="Evaluating", resume_facts=RESUMED)
    here = Derived(Phase.RUNNING, Reason.EVALUATING)
    assert not is_in_status(run, here)
    full = {"notKept": "No space left on device"}
    later = replace(run, resume_facts=RESUMED | full, attempts=({"number": 1, **RESUMED},))
    assert later.unrecorded_resume_facts == full and not is_in_status(later, here)
    assert is_in_status(replace(later, attempts=({"number": 1, **RESUMED, **full},)), here)
    for facts in (RESUMED, ANEW, {"resumed": {"answers": 1, "fromAttempt": 1, "exactness": "exact"}}):
        assert is_in_status(replace(run, attempts=({"number": 1, **facts},)), here)
    for change in ({"reported_attempt": 0}, {"attempts": ()}):
        assert is_in_status(replace(run, **change), here)
    waiting = Derived(Phase.QUEUED, Reason.RETRYING)
    assert is_in_status(replace(run, phase=Phase.QUEUED, reason="Retrying"), waiting)


def test_an_unwanted_evaluation_is_not_tried_again() -> None:
    evaluation = running("a", retries=2, cancel=True)
    assert again(evaluation, ended(evaluation, 137), job=job_of(evaluation)) == (
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
        None,
    )


def test_what_waits_for_its_next_attempt_says_what_became_of_the_last_one() -> None:
    evaluation = retrying("a", attempt=1)
    assert derive_queued(evaluation).reason is Reason.RETRYING
    assert is_in_status(evaluation, derive_queued(evaluation))
    assert derive_queued(retrying("a", hold=True)).reason is Reason.ON_HOLD


@pytest.mark.parametrize(
    ("timer", "while_it_stops", "told"),
    [
        (Reason.DEADLINE_EXCEEDED, "Cancelling", "spec.timeoutSeconds (60) passed since the first start"),
        (Reason.STALLED, "Stalled", "no progress for spec.stallTimeoutSeconds (30)"),
    ],
)
def test_the_users_timers_end_an_evaluation_for_good(timer: Reason, while_it_stops: str, told: str) -> None:
    timers: dict[str, Any] = {"timeout_seconds": 60, "stall_timeout_seconds": 30, "stopped_for": timer}
    evaluation = running("a", retries=2, **timers)
    job = job_of(evaluation)
    assert where(evaluation, job, working(evaluation)) == (
        Phase.RUNNING,
        while_it_stops,
        f"{told}: waiting for the pod to end",
    )
    for pods in ((), (ended(evaluation, 75),), (ended(evaluation, 137),)):
        assert where(evaluation, job, *pods) == (Phase.FAILED, timer, told)
    assert where(evaluation, job, ended(evaluation, 65))[1] is Reason.TASK_NOT_FOUND
    cancelled = running("a", cancel=True, **timers)
    assert where(cancelled, job)[0] is Phase.CANCELLED
    assert where(cancelled, job, working(cancelled))[:2] == (Phase.RUNNING, Reason.CANCELLING)
    done = running("a", published=True, **timers)
    assert where(done, job)[0] is Phase.COMPLETED


def test_the_facts_of_an_attempt() -> None:
    derived = derive(A, job_of(A), [ended(A, 65)])
    assert (derived.has_ended, derived.facts.node, derived.facts.exit_code) == (True, "n1", 65)
    assert derived.facts.ended_at == "2026-01-01T01:00:00Z"
    assert derive(A, job_of(A), [working(A)]).facts.node == "n1"
    assert queued("a").node == ""

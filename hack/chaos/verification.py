"""Verification of a campaign: lost evaluations, overlaps and wrong states. Pure.

Each rule is a function that yields a sentence for every violation. The rules compare the records of what was done with
what was observed and with the final state.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from chaos.final_state import FinalState
from chaos.observer import BoundPod, ClusterObserver, EvaluationState, PodRun
from chaos.records import CampaignRecords, EvaluationRecord, RefusedEvaluation
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import TERMINAL, Phase, Reason

Object = dict[str, Any]


class ObservedEvaluation(NamedTuple):
    """One evaluation: what was done to it, what was observed, and the final object, which is None if it is gone."""

    record: EvaluationRecord
    history: Sequence[EvaluationState]
    pod_runs: Sequence[PodRun]
    final_object: Object | None
    bound_pods: Sequence[BoundPod] = ()

    @property
    def name(self) -> str:
        """The evaluation's name."""
        return self.record.evaluation.name

    @property
    def status(self) -> Object:
        """The final status; empty if the evaluation is gone."""
        return dict(self.final_object["status"]) if self.final_object else {}

    @property
    def phase(self) -> str:
        """The final phase; "" if the evaluation is gone."""
        return str(self.status.get("phase", ""))

    @property
    def attempts(self) -> list[Object]:
        """The entries of ended attempts in the final status."""
        return list(self.status.get("attempts", ()))

    @property
    def allowed_attempts(self) -> int:
        """How many attempts the evaluation may have: those that spent no retry come on top."""
        free: list[int] = [self.status.get("freeAttempts", 0), *(state.free_attempts for state in self.history)]
        return self.record.evaluation.retries + 1 + max(free)

    @property
    def is_lost(self) -> bool:
        """Whether the evaluation has not ended, is gone without a deletion, or still exists after one."""
        if self.final_object is None:
            return not self.record.deleted
        return self.record.deleted or self.phase not in TERMINAL


class CampaignResult(NamedTuple):
    """Counts, and in `lost`, `overlapping` and `wrong_states` a sentence for each violation."""

    submitted: int
    refused: int
    end_counts: Counter[str]
    attempts: int
    unobserved_ends: int
    """How many pods' ends no watch saw."""
    event_counts: Counter[str]
    """How often each client action and fault took place."""
    lost: list[str]
    overlapping: list[str]
    wrong_states: list[str]

    @property
    def has_passed(self) -> bool:
        """Whether there is no violation."""
        return not (self.lost or self.overlapping or self.wrong_states)


def verify_campaign(
    records: CampaignRecords,
    observer: ClusterObserver,
    final_state: FinalState,
    *,
    slots: int,
) -> CampaignResult:
    """Return the counts of a campaign and all violations."""
    evaluations = join_observations(records, observer, final_state)
    pod_runs = observer.pod_runs.values()
    overlapping = [*find_pod_overlaps(pod_runs, slots=slots), *find_lock_overlaps(final_state.slot_journal)]
    wrong = [f"{item.name} {violation}" for item in evaluations for violation in find_violations(item)]
    for refusal in records.refused:
        wrong += [f"{refusal.evaluation.name} {violation}" for violation in find_refusal_violations(refusal)]
    return CampaignResult(
        submitted=len(evaluations) + len(records.refused),
        refused=len(records.refused),
        end_counts=Counter(classify_end(item) for item in evaluations),
        attempts=sum(run.evaluator_started for run in pod_runs),
        unobserved_ends=sum(not run.end for run in pod_runs),
        event_counts=records.event_counts,
        lost=[describe_loss(item) for item in evaluations if item.is_lost],
        overlapping=overlapping,
        wrong_states=[*wrong, *final_state.leftovers, *final_state.missing_results],
    )


def join_observations(
    records: CampaignRecords,
    observer: ClusterObserver,
    final_state: FinalState,
) -> list[ObservedEvaluation]:
    """Return every accepted evaluation with all that is known of it."""
    return [
        ObservedEvaluation(
            record,
            observer.histories.get(record.uid, []),
            [run for run in observer.pod_runs.values() if run.evaluation_uid == record.uid],
            final_state.evaluations.get(record.uid),
            [pod for pod in observer.bound_pods if pod.evaluation_uid == record.uid],
        )
        for record in records.evaluations.values()
    ]


def classify_end(item: ObservedEvaluation) -> str:
    """Return "lost", "deleted" or the terminal phase."""
    if item.is_lost:
        return "lost"
    return item.phase if item.phase in TERMINAL else "deleted"


def describe_loss(item: ObservedEvaluation) -> str:
    """Return a sentence for a lost evaluation."""
    return f"{item.name} is {item.phase or 'gone'} ({item.status.get('reason')})"


def find_violations(item: ObservedEvaluation) -> Iterator[str]:
    """Yield a sentence for each rule that the evaluation violates."""
    rules = [
        check_terminal_phase_is_final,
        check_attempt_count,
        check_one_bound_pod_per_attempt,
        check_retried_reasons,
        check_hold,
        check_expected_refusal,
    ]
    if item.phase in TERMINAL:
        rules += [
            check_interruptions_have_a_fault,
            check_completed,
            check_scores,
            check_failed,
            check_cancelled_by_request,
            check_cancellation_took_effect,
        ]
    for rule in rules:
        yield from rule(item)


def check_terminal_phase_is_final(item: ObservedEvaluation) -> Iterator[str]:
    """A terminal phase never changes."""
    ends = [number for number, state in enumerate(item.history) if state.phase in TERMINAL]
    if ends and len({state.phase for state in item.history[ends[0] :]}) > 1:
        yield f"went on after its end: {item.history[ends[0] :]}"


def check_attempt_count(item: ObservedEvaluation) -> Iterator[str]:
    """There are no more attempts than allowed, neither in the status nor in the kubelet's reports."""
    observed = [state.attempt for state in item.history] + [run.attempt for run in item.pod_runs]
    highest = max([item.status.get("attempt", 0), *observed])
    if highest > item.allowed_attempts:
        yield f"had {highest} attempts, and {item.allowed_attempts} were allowed"


def check_one_bound_pod_per_attempt(item: ObservedEvaluation) -> Iterator[str]:
    """Of an attempt's pods, whoever created them, the scheduling gate of at most one is removed."""
    numbers = [pod.attempt for pod in item.bound_pods]
    if len(set(numbers)) < len(numbers):
        yield f"had two pods with a node in one attempt: {sorted(pod.pod for pod in item.bound_pods)}"


def check_retried_reasons(item: ObservedEvaluation) -> Iterator[str]:
    """A deterministic failure is never retried."""
    for attempt in item.attempts[:-1]:
        if not is_retryable(attempt.get("reason", "")):
            yield f"was tried again after attempt {attempt['number']} had ended as {attempt.get('reason')}"


def check_hold(item: ObservedEvaluation) -> Iterator[str]:
    """No evaluation starts while it is on hold."""
    if item.record.started_on_hold:
        yield "started while it was on hold"


def check_expected_refusal(item: ObservedEvaluation) -> Iterator[str]:
    """Admission does not accept a kind that it has to refuse."""
    if text := item.record.evaluation.kind.refusal:
        yield f"was accepted, and admission had to say that it {text}"


def find_refusal_violations(refusal: RefusedEvaluation) -> Iterator[str]:
    """Yield a sentence if the refusal was unexpected, or its message is not the kind's."""
    text = refusal.evaluation.kind.refusal
    if not text:
        yield f"was refused, and nothing is wrong with it: {refusal.message}"
    elif text not in refusal.message:
        yield f"was refused without the words {text!r}: {refusal.message}"


def check_interruptions_have_a_fault(item: ObservedEvaluation) -> Iterator[str]:
    """No more attempts are interrupted than faults hit the evaluation; faults of other components interrupt none."""
    kind = item.record.evaluation.kind
    interrupted = [
        attempt["reason"]
        for attempt in item.attempts
        if is_retryable(attempt.get("reason", ""))
        and not (attempt["reason"] == Reason.UNREACHABLE and attempt["number"] <= kind.fails_first)
    ]
    if len(interrupted) > item.record.fault_hits:
        yield f"was hit {item.record.fault_hits} times, and its attempts ended as {', '.join(interrupted)}"


def check_completed(item: ObservedEvaluation) -> Iterator[str]:
    """A completed evaluation is of a kind that can complete, and has everything published."""
    if item.phase != Phase.COMPLETED:
        return
    kind, missing = item.record.evaluation.kind, {"scores", "artifacts", "summary"} - item.status.keys()
    if kind.end is not Reason.SUCCEEDED or item.status["attempt"] <= kind.fails_first:
        yield f"completed, though its run cannot: attempt {item.status['attempt']} of kind {kind.name}"
    if missing:
        yield f"completed without {', '.join(sorted(missing))}"
    if "Complete" not in list_true_conditions(item):
        yield f"completed, and its conditions are {list_true_conditions(item)}"


def check_scores(item: ObservedEvaluation) -> Iterator[str]:
    """A completed evaluation has the scores of an undisturbed run, whichever attempts gave its answers."""
    expected = item.record.evaluation.kind.scores
    found = {
        task: {metric: entry["value"] for metric, entry in metrics.items()}
        for task, metrics in item.status.get("scores", {}).items()
    }
    if item.phase == Phase.COMPLETED and found != expected:
        yield f"completed with the scores {found}, and an undisturbed run has {expected}"


def check_failed(item: ObservedEvaluation) -> Iterator[str]:
    """A failed evaluation has the reason of its kind, or has used all its attempts."""
    if item.phase != Phase.FAILED:
        return
    # What cannot be run ends before its first attempt.
    reason, attempt, expected = item.status["reason"], item.status.get("attempt", 0), item.record.evaluation.kind.end
    if is_retryable(reason) and attempt < item.allowed_attempts:
        yield f"failed as {reason} in attempt {attempt} of {item.allowed_attempts}"
    if not is_retryable(reason) and reason != expected:
        yield f"failed as {reason}, and its kind fails as {expected}"
    if "Failed" not in list_true_conditions(item):
        yield f"failed, and its conditions are {list_true_conditions(item)}"


def check_cancelled_by_request(item: ObservedEvaluation) -> Iterator[str]:
    """A cancelled evaluation was cancelled by a client."""
    if item.phase == Phase.CANCELLED and item.record.cancelled is None:
        yield "was cancelled by nobody"


def check_cancellation_took_effect(item: ObservedEvaluation) -> Iterator[str]:
    """A cancelled evaluation starts no further attempt.

    It ends as Cancelled, or, if it was running, as Completed or with a deterministic failure.
    """
    snapshot = item.record.cancelled
    if snapshot is None or snapshot.phase in TERMINAL:
        return
    if item.status.get("attempt", 0) > snapshot.attempt:
        when = f"while {snapshot.phase} in attempt {snapshot.attempt}"
        yield f"was cancelled {when}, and had attempt {item.status['attempt']}"
    if snapshot.phase == Phase.QUEUED and item.phase != Phase.CANCELLED:
        yield f"was cancelled while it was queued, and is {item.phase}"
    if item.phase == Phase.FAILED and is_retryable(item.status["reason"]):
        yield f"was cancelled, and failed as {item.status['reason']}"


def is_retryable(reason: str) -> bool:
    """Whether an attempt that ended with this reason may be followed by another."""
    return reason in BY_REASON and BY_REASON[Reason(reason)].retry


def list_true_conditions(item: ObservedEvaluation) -> list[str]:
    """Return the types of the conditions whose status is True."""
    return [entry["type"] for entry in item.status.get("conditions", ()) if entry["status"] == "True"]


def find_pod_overlaps(pod_runs: Iterable[PodRun], *, slots: int) -> Iterator[str]:
    """Yield a sentence for each pod that started while all slots were in use, by the kubelet's times.

    The times are whole seconds, so an overlap within one second is not found. Pods whose end was not observed are left
    out; the slot journal covers them.
    """
    known = sorted((run for run in pod_runs if run.end), key=lambda run: run.start)
    for number, run in enumerate(known):
        earlier = [other for other in known[:number] if run.start < other.end]
        if len(earlier) >= slots:
            others = ", ".join(describe_run(other) for other in earlier)
            yield f"{describe_run(run)} started while {others} ran"


def describe_run(run: PodRun) -> str:
    """Return evaluation, attempt and times of a run."""
    return f"{run.evaluation} attempt {run.attempt} ({run.start[11:19]} to {run.end[11:19] or '?'})"


def find_lock_overlaps(slot_journal: str) -> Iterator[str]:
    """Yield a sentence for each run that found the locks of all slots held by running processes."""
    for line in slot_journal.splitlines():
        entry = json.loads(line)
        if entry["event"] == "overlaps":
            yield f"{entry['evaluation']} attempt {entry['attempt']} found every slot taken by a living process"

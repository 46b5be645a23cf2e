"""Whether an evaluation ended as it had to, after all that was done to it. Pure: one rule a function, a sentence a breach."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chaos.observer import Bound, Run, State
from chaos.records import Entry, Refusal
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import TERMINAL, Phase, Reason

Object = dict[str, Any]


class Case(NamedTuple):
    """One evaluation: what was done to it, what was seen of it, and what it is at the end (None if it is gone)."""

    entry: Entry
    history: Sequence[State]
    runs: Sequence[Run]
    item: Object | None
    bound: Sequence[Bound] = ()

    @property
    def status(self) -> Object:
        """Its last status."""
        return dict(self.item["status"]) if self.item else {}

    @property
    def phase(self) -> str:
        """Its last phase."""
        return str(self.status.get("phase", ""))

    @property
    def attempts(self) -> list[Object]:
        """How its attempts ended."""
        return list(self.status.get("attempts", ()))

    @property
    def allowed(self) -> int:
        """How many attempts it may have."""
        return self.entry.submission.retries + 1

    @property
    def lost(self) -> bool:
        """Whether it was accepted, and has not come to an end."""
        return (self.item is None) != self.entry.deleted or (self.item is not None and self.phase not in TERMINAL)


def breaches(case: Case) -> Iterator[str]:
    """What is wrong about it, if anything is."""
    rules = [ended_stays_ended, attempts_are_counted, one_pod_of_an_attempt_has_a_node, only_what_may_pass_is_tried_again]
    rules += [hold_is_kept, poison_is_refused]
    if case.phase in TERMINAL:
        rules += [failures_have_a_cause, completed_has_scores, failed_says_why, cancelled_was_asked_for, cancel_is_honoured]
    for rule in rules:
        yield from rule(case)


def ended_stays_ended(case: Case) -> Iterator[str]:
    """Terminal phases never change."""
    ends = [number for number, state in enumerate(case.history) if state.phase in TERMINAL]
    if ends and len({state.phase for state in case.history[ends[0] :]}) > 1:
        yield f"went on after its end: {case.history[ends[0] :]}"


def attempts_are_counted(case: Case) -> Iterator[str]:
    """Never more attempts than allowed, by its own count and by the kubelet's."""
    highest = max(
        [case.status.get("attempt", 0), *(state.attempt for state in case.history), *(run.attempt for run in case.runs)]
    )
    if highest > case.allowed:
        yield f"had {highest} attempts, and {case.allowed} were allowed"


def one_pod_of_an_attempt_has_a_node(case: Case) -> Iterator[str]:
    """However many pods an attempt has, and whoever made them, the gate of one is opened."""
    numbers = [bound.attempt for bound in case.bound]
    if len(set(numbers)) < len(numbers):
        yield f"had two pods with a node in one attempt: {sorted(bound.pod for bound in case.bound)}"


def only_what_may_pass_is_tried_again(case: Case) -> Iterator[str]:
    """A deterministic failure is never tried twice."""
    for attempt in case.attempts[:-1]:
        if not may_pass(attempt.get("reason", "")):
            yield f"was tried again after attempt {attempt['number']} had ended as {attempt.get('reason')}"


def hold_is_kept(case: Case) -> Iterator[str]:
    """Nothing starts while it is on hold."""
    if case.entry.started_on_hold:
        yield "started while it was on hold"


def poison_is_refused(case: Case) -> Iterator[str]:
    """What admission has to refuse is not there to be run."""
    if words := case.entry.submission.kind.refused:
        yield f"was accepted, and admission had to say that it {words}"


def refusal_breaches(refusal: Refusal) -> Iterator[str]:
    """What is wrong about what admission said."""
    words = refusal.submission.kind.refused
    if not words:
        yield f"was refused, and nothing is wrong with it: {refusal.sentence}"
    elif words not in refusal.sentence:
        yield f"was refused without the words {words!r}: {refusal.sentence}"


def failures_have_a_cause(case: Case) -> Iterator[str]:
    """Not more attempts were interrupted than it was struck. A dead operator, kubelet or API server interrupts nothing."""
    own = case.entry.submission.kind.fails_first
    interrupted = [
        attempt["reason"]
        for attempt in case.attempts
        if may_pass(attempt.get("reason", "")) and not (attempt["reason"] == Reason.UNREACHABLE and attempt["number"] <= own)
    ]
    if len(interrupted) > case.entry.hits:
        yield f"was struck {case.entry.hits} times, and its attempts ended as {', '.join(interrupted)}"


def completed_has_scores(case: Case) -> Iterator[str]:
    """Completed: by a kind of run that can, with everything published."""
    if case.phase != Phase.COMPLETED:
        return
    kind, missing = case.entry.submission.kind, {"scores", "artifacts", "summary"} - case.status.keys()
    if kind.end is not Reason.SUCCEEDED or case.status["attempt"] <= kind.fails_first:
        yield f"completed, though its run cannot: attempt {case.status['attempt']} of kind {kind.name}"
    if missing:
        yield f"completed without {', '.join(sorted(missing))}"
    if "Complete" not in conditions(case):
        yield f"completed, and its conditions are {conditions(case)}"


def failed_says_why(case: Case) -> Iterator[str]:
    """Failed: as its kind does, or with its attempts used up."""
    if case.phase != Phase.FAILED:
        return
    reason, attempt = case.status["reason"], case.status["attempt"]
    if may_pass(reason) and attempt < case.allowed:
        yield f"failed as {reason} in attempt {attempt} of {case.allowed}"
    if not may_pass(reason) and reason != case.entry.submission.kind.end:
        yield f"failed as {reason}, and its kind fails as {case.entry.submission.kind.end}"
    if "Failed" not in conditions(case):
        yield f"failed, and its conditions are {conditions(case)}"


def cancelled_was_asked_for(case: Case) -> Iterator[str]:
    """Nothing is cancelled by itself."""
    if case.phase == Phase.CANCELLED and case.entry.cancelled is None:
        yield "was cancelled by nobody"


def cancel_is_honoured(case: Case) -> Iterator[str]:
    """Once asked to stop, no further attempt; it completed, if its results were there, or failed for good, or is cancelled."""
    asked = case.entry.cancelled
    if asked is None or asked.phase in TERMINAL:
        return
    if case.status.get("attempt", 0) > asked.attempt:
        yield f"was cancelled while {asked.phase} in attempt {asked.attempt}, and had attempt {case.status['attempt']}"
    if asked.phase == Phase.QUEUED and case.phase != Phase.CANCELLED:
        yield f"was cancelled while it was queued, and is {case.phase}"
    if case.phase == Phase.FAILED and may_pass(case.status["reason"]):
        yield f"was cancelled, and failed as {case.status['reason']}"


def may_pass(reason: str) -> bool:
    """Whether the table of endings allows another attempt after this one."""
    return reason in BY_REASON and BY_REASON[Reason(reason)].retry


def conditions(case: Case) -> list[str]:
    """Types of the conditions that hold."""
    return [entry["type"] for entry in case.status.get("conditions", ()) if entry["status"] == "True"]

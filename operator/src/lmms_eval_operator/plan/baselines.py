"""Which evaluations wait for their baseline: it is there and has not ended. Pure.

Both may be submitted at once, whatever their order in the queue. Where baselines lead round in a circle, nobody in the
circle waits: each then finds a baseline without results.
"""

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator.derive import Derived, derive_queued
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.view import View


def is_waiting_for_baseline(view: View, evaluation: Evaluation) -> bool:
    """Return whether an evaluation is not to start yet."""
    return evaluation.baseline != "" and _find_awaited(view, evaluation) is not None


def derive_without_baseline(view: View) -> dict[str, Derived]:
    """Return, by uid, where those of the queue are that wait for a baseline and for nothing before it."""
    found = {}
    for evaluation in view.evaluations.list_gated():
        is_next = evaluation.is_startable and derive_queued(evaluation).reason is Reason.WAITING_FOR_TURN
        awaited = _find_awaited(view, evaluation) if is_next else None
        if awaited is not None:
            message = f"its baseline {awaited.name} is {awaited.phase} ({awaited.reason})"
            found[evaluation.uid] = Derived(Phase.QUEUED, Reason.WAITING_FOR_BASELINE, message)
    return found


def _find_awaited(view: View, evaluation: Evaluation) -> Evaluation | None:
    """Return the baseline, if it has not ended and does not itself wait for this evaluation."""
    baseline = view.evaluations.find_named(evaluation.baseline)
    seen, following = set(), baseline
    while following is not None and following.uid not in seen:
        if following.uid == evaluation.uid:
            return None
        seen.add(following.uid)
        following = view.evaluations.find_named(following.baseline)
    return baseline

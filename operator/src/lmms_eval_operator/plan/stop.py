"""What is to end: the queued end at once, of the running the pod is deleted. `finish` writes their end."""

from collections.abc import Iterator

from lmms_eval_core.phases import Phase
from lmms_eval_operator.actions import Action, EndPod, EndQueued
from lmms_eval_operator.clock import Now
from lmms_eval_operator.derive import cancelled
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.view import View


def stop(view: View, now: Now) -> Iterator[Action]:
    """Cancelled and deleted evaluations, and runs that a timer or a lost slot ends (`Stop`).

    The Job stays: it keeps the logs. Another pod that its controller makes has a gate that nobody opens.
    """

    def end(evaluation: Evaluation) -> Iterator[Action]:
        pod = view.own_pod(evaluation)
        if evaluation.phase is Phase.RUNNING and pod is not None and not (pod.terminal or pod.deleting):
            yield EndPod(evaluation, pod)
        if evaluation.phase is Phase.QUEUED and evaluation.cancel:
            yield EndQueued(evaluation, cancelled(evaluation))

    return each(end, (evaluation for evaluation in view.evaluations.restless() if evaluation.stopping))

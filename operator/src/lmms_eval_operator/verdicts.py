"""The verdict of a gate, set at every end: the reporter's, or that nobody has judged. Pure.

A reporter judges what it published. Where there is none, as for an evaluation that failed, or where it is of a release
that knows no gates, a script that waits for the verdict would wait for ever.
"""

from typing import Final, NamedTuple

from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase
from lmms_eval_core.quality_gate.verdict import GateReason, GateVerdict
from lmms_eval_operator.derive import Derived
from lmms_eval_operator.objects import Evaluation

# Of the condition GatePassed.
CONDITION_STATUS: Final = {
    GateVerdict.PASSED: "True",
    GateVerdict.FAILED: "False",
    GateVerdict.INCONCLUSIVE: "Unknown",
}
NOT_JUDGED: Final = "the reporter has not judged the results: it was ended before, or is of a release without gates"


class Verdict(NamedTuple):
    """What the status says of a gate, or is to say."""

    verdict: GateVerdict
    reason: str
    message: str
    is_reported: bool = False

    def to_wire(self) -> Object:
        """Return `status.gate`."""
        return {"verdict": self.verdict.value, "reason": self.reason, "message": self.message}


def find_verdict(evaluation: Evaluation, derived: Derived) -> Verdict | None:
    """Return the verdict of an evaluation that ends; None without a gate."""
    if not evaluation.has_gate:
        return None
    if derived.phase is not Phase.COMPLETED:
        message = f"there are no results to judge: the evaluation is {derived.phase} ({derived.reason})"
        return Verdict(GateVerdict.INCONCLUSIVE, GateReason.NOT_COMPLETED, message)
    reported = evaluation.gate or {}
    if not evaluation.has_report or reported.get("verdict") not in set(GateVerdict):
        return Verdict(GateVerdict.INCONCLUSIVE, GateReason.NOT_JUDGED, NOT_JUDGED)
    reason, message = (str(reported.get(name) or "") for name in ("reason", "message"))
    return Verdict(GateVerdict(reported["verdict"]), reason or GateReason.NOT_JUDGED, message, is_reported=True)

"""The evaluations that the workload submits, drawn from a seed, and how each may end. Pure.

Some are poison pills: input that is refused at admission, ends as InvalidSpec or runs like any other, and that must
never block the evaluations behind it.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from chaos.stub.lmms_eval.answers import TASK, compute_undisturbed_scores
from chaos.stub.lmms_eval.behaviour import StubEnding
from lmms_eval_core import names
from lmms_eval_core.phases import Reason


class EvaluationKind(NamedTuple):
    """A kind of evaluation: how it controls the stand-in for lmms-eval, and how it ends if it is not interrupted."""

    name: str
    env: dict[str, str]
    end: Reason = Reason.SUCCEEDED
    task: str = TASK
    fails_first: int = 0
    """How many attempts fail without any fault, with a reason that is retried."""
    spec: Mapping[str, Any] = {}
    labels: Mapping[str, str] = {}
    refusal: str = ""
    """Part of the message with which admission refuses it; "" for a kind that admission accepts."""

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """The scores with which it completes, by task and metric, whatever happens to its attempts."""
        return compute_undisturbed_scores(StubEnding(self.env.get("STUB_ENDING", StubEnding.WELL)))


# Labels that the operator itself sets, and extreme but valid ones.
ODD_LABELS: Final = {
    names.LABEL_EVALUATION: "another",
    names.LABEL_EVALUATION_UID: "nobody",
    names.LABEL_SLOT: "0",
    names.LABEL_ATTEMPT: "9" * 63,
    "a.b-c/D_e.f": "V_." + "x" * 60,
    "empty": "",
}
HUGE_NUMBER: Final = "9" * 4096
MANY_ARGUMENTS: Final = {f"padding_{number}": "x" * 4000 for number in range(15)}


def _model_args(**arguments: str) -> Mapping[str, Any]:
    return {"modelArgs": arguments}


HUGE_SIZES: Final = _model_args(tensor_parallel_size=HUGE_NUMBER, data_parallel_size=HUGE_NUMBER)
CONTROL_CHARACTERS: Final = _model_args(prompt="a\x1b[2J\x00")

# Each kind with its weight. The order is part of what a seed means.
KINDS: Final = (
    (10, EvaluationKind("good", {})),
    (2, EvaluationKind("stubborn", {"STUB_STUBBORN": "1"})),
    (1, EvaluationKind("suspect", {"STUB_ENDING": "suspect"})),
    (2, EvaluationKind("flaky", {"STUB_UNREACHABLE_ATTEMPTS": "1"}, fails_first=1)),
    (1, EvaluationKind("away", {"STUB_UNREACHABLE_ATTEMPTS": "99"}, Reason.UNREACHABLE, fails_first=99)),
    (2, EvaluationKind("raises", {"STUB_ENDING": "raise"}, Reason.EVALUATION_ERROR)),
    (1, EvaluationKind("silent", {"STUB_ENDING": "silent"}, Reason.EVALUATION_ERROR)),
    (1, EvaluationKind("swallows", {"STUB_ENDING": "swallow"}, Reason.ALL_ANSWERS_FAILED)),
    (1, EvaluationKind("no-task", {}, Reason.TASK_NOT_FOUND, task="no_such_task")),
    (1, EvaluationKind("huge", {}, spec=HUGE_SIZES, refusal="is too large")),
    (1, EvaluationKind("control", {}, spec=CONTROL_CHARACTERS, refusal="without control characters")),
    (1, EvaluationKind("crowd", {}, Reason.INVALID_SPEC, spec={"processes": 64})),
    (1, EvaluationKind("deep", {}, spec=_model_args(prompt="[{" * 2000))),
    (1, EvaluationKind("wide", {}, spec={"modelArgs": MANY_ARGUMENTS})),
    (1, EvaluationKind("labels", {}, labels=ODD_LABELS)),
)


class PlannedEvaluation(NamedTuple):
    """One evaluation to submit."""

    name: str
    kind: EvaluationKind
    retries: int
    manifest: dict[str, Any]


def generate_evaluations(seed: int) -> Iterator[PlannedEvaluation]:
    """Yield evaluations without end; equal seeds give equal evaluations."""
    # The text and the order of the draws are part of what a seed means: a change of either changes every campaign.
    random, number = Random(f"{seed}/submissions"), 0
    while True:
        number += 1
        (kind,) = random.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])
        seconds, retries = random.uniform(1, 5), random.choice([0, 1, 2, 2])
        yield build_evaluation(number, kind, seconds=seconds, retries=retries, random=random)


def build_evaluation(
    number: int,
    kind: EvaluationKind,
    *,
    seconds: float,
    retries: int,
    random: Random,
) -> PlannedEvaluation:
    """Return an evaluation that requests no GPU, so that only the operator, not the scheduler, prevents overlaps."""
    name = f"{kind.name}-{number:03}"
    env = {"STUB_SECONDS": f"{seconds:.1f}", **kind.env}
    spec = {
        "model": "stub",
        "tasks": [kind.task],
        "gpus": 0,
        "retries": retries,
        "priority": random.choice([0, 0, 0, 10, -10]),
        "env": [{"name": key, "value": value} for key, value in env.items()],
        **kind.spec,
    }
    metadata = {"name": name, "labels": dict(kind.labels)}
    manifest = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
    return PlannedEvaluation(name, kind, retries, manifest)
